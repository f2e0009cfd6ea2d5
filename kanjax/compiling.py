"""Compilation of programs that run once or for short.

On a CPU most of the time of a small study is compilation, and most of that is spent on
making programs quick that are run once. Results differ from those of the default by
rounding alone.
"""

import functools
from typing import Any

import jax

# The older way to make loops compiles sooner; later compilers do not know the option.
_LOOPS: dict[str, Any] = (
    {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}
)

SOON = {"xla_backend_optimization_level": 0, **_LOOPS}
"""Compiled 5 to 8 times as soon as by default (measured with jax 0.10), and several
times slower where entries are computed one by one; products of matrices are as quick.
"""

BALANCED = {"xla_backend_optimization_level": 1, **_LOOPS}
"""Compiled in under half of the time (measured with jax 0.10), and up to twice
slower.
"""

jit_soon = functools.partial(jax.jit, compiler_options=SOON)
"""``jax.jit`` with the options :data:`SOON`."""

jit_balanced = functools.partial(jax.jit, compiler_options=BALANCED)
"""``jax.jit`` with the options :data:`BALANCED`."""

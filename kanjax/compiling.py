"""Compiler options for programs that run once or for short.

On a CPU most of the time of a small study is compilation, and most of that is spent on
making programs quick that are run once. The options are for ``jax.jit``; results differ
from those of the default by rounding alone.
"""

SOON = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
}
"""Compiled 5 to 8 times as soon as by default (measured), and several times slower
where entries are computed one by one; products of matrices are as quick."""

BALANCED = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
}
"""Compiled in under half of the time (measured), and up to twice slower."""

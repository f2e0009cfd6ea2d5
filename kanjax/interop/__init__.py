"""Models to and from flax (linen and nnx) and equinox.

``to_*`` makes a model of kanjax a module of another library, to be trained by that
library's own loop. ``from_*`` makes another library's module a pair ``(apply,
params)`` that every analysis of kanjax takes; :func:`from_flax_with_state` gives the
batch statistics as well, for ``kj.training.fit(..., state=)``. ``record_*`` gives
what the layers of such a module put out, as :func:`kanjax.taps.record` does for ours.
The libraries are imported when a function needs them; ``pip install kanjax[interop]``
installs them.
"""

from kanjax.interop.functions import (
    Apply,
    ApplyWithState,
    Functional,
    Stateful,
    from_equinox,
    from_flax,
    from_flax_with_state,
)
from kanjax.interop.modules import to_equinox, to_linen, to_nnx
from kanjax.interop.recording import record_equinox, record_flax

__all__ = [
    "Apply",
    "ApplyWithState",
    "Functional",
    "Stateful",
    "from_equinox",
    "from_flax",
    "from_flax_with_state",
    "record_equinox",
    "record_flax",
    "to_equinox",
    "to_linen",
    "to_nnx",
]

"""Which code serves a kernel: an argument, or one environment variable."""

import os

BACKENDS = ("auto", "xla", "pallas", "triton", "mosaic", "interpret")
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
VARIABLE = "KANJAX_KERNELS"


def resolve(backend: str | None) -> str:
    """Return the backend asked for, by argument or else by ``KANJAX_KERNELS``, else
    "auto".

    Raises:
        ValueError: for a name that is not in ``BACKENDS``.
    """
    name, where = backend, "backend"
    if name is None:
        name, where = os.environ.get(VARIABLE) or "auto", VARIABLE
    if name not in BACKENDS:
        raise ValueError(f"{where} must be one of {', '.join(BACKENDS)}; got {name!r}.")
    return name


def wants_kernels(backend: str, platform: str) -> bool:
    """Whether a backend asks for a kernel where a program runs."""
    return backend == "interpret" or (backend != "xla" and platform in ("cuda", "tpu"))

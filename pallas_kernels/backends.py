"""Which code serves a kernel: an argument, or one environment variable."""

import os

BACKENDS = ("auto", "xla", "triton", "mosaic", "pallas", "interpret")
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


def kernels(backend: str, platform: str) -> tuple[str, ...]:
    """Return the kernels to ask in turn where a program runs; XLA serves after them.

    "triton" is Triton through jax-triton; "mosaic" and "gpu" (through Triton as well)
    are Pallas' for NVIDIA GPUs, "tpu" is Pallas' for TPUs, "interpret" emulates "gpu".
    """
    if backend == "interpret":
        return ("interpret",)
    if backend == "xla" or platform not in ("cuda", "tpu"):
        return ()
    if platform == "tpu":
        return ("tpu",)
    others = {"pallas": ("gpu",), "mosaic": ("mosaic", "triton")}
    return others.get(backend, ("triton",))

"""A jax that says it has an NVIDIA GPU, for all that is lowered for one."""

import os
import sys

import jax
import jaxlib.gpu_triton
import pytest

from pallas_kernels import triton_calls


class Pretended:
    """Stands for a kernel, its parameters or its call."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def to_proto(self, *_):
        return b"a call"


NAMES = (
    "TritonKernel",
    "TritonKernelCall",
    "create_array_parameter",
    "create_scalar_parameter",
    "get_serialized_metadata",
)


@pytest.fixture
def nvidia_gpu():
    """Let jax-triton compile for an A100; only what would run there is pretended."""
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setattr(jaxlib.gpu_triton, name, Pretended, raising=False)
        capability = "get_compute_capability"
        patch.setattr(jaxlib.gpu_triton, capability, lambda _: 80, raising=False)
        _forget()
        yield
    # An older jax-triton changes the environment where it is imported.
    os.environ.clear()
    os.environ.update(before)
    _forget()


def _forget():
    triton_calls._absent.cache_clear()
    triton_calls.log.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "jax_triton"]:
        del sys.modules[name]
    jax.clear_caches()

"""Compiling, not running, is what these tests would spend their time on."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def quick_compilation(request):
    """Compile without most optimisations, but where a test measures memory."""
    if request.module.__name__.endswith(("test_paths", "test_subspaces")):
        yield
        return
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)

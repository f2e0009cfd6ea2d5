"""Compiling, not running, is what most tests here would spend their time on."""

import jax
import pytest


@pytest.fixture(autouse=True)
def quick_compilation(request):
    if request.node.get_closest_marker("slow"):
        yield
        return
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)

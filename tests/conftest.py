"""Four simulated CPU devices, quick compilation, and keys and precision by fixture."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# LAPACK's threads wait in a busy loop, on cores where the other worker compiles.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Optimizing takes longer than what it saves, in processes that tests start as well;
# `make test-optimized` compiles as users do.
OPTIMIZED = bool(os.environ.get("KANJAX_TEST_OPTIMIZED"))
if not OPTIMIZED:
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import jax  # noqa: E402
import platformdirs  # noqa: E402
import pytest  # noqa: E402
from jax._src.interpreters import mlir  # noqa: E402

from kanjax import compilation_cache  # noqa: E402

make_ir_context = mlir.make_ir_context
CONTEXT = functools.cache(make_ir_context)


def share_context() -> mlir.ir.Context:
    """Give programs one context till they go, but one inside another its own."""
    nested = mlir.ir.Context.current is not None
    return make_ir_context() if nested else CONTEXT()


FLAGS = ["--xla_force_host_platform_device_count=4"]
if jax.__version_info__ < (0, 11) and not OPTIMIZED:
    # The older way to make loops compiles twice as fast. A flag that a later compiler
    # does not know would end it.
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
    FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")
    # jax makes a context for each program, a sixth of all processor time.
    mlir.make_ir_context = share_context
# Each once, also in workers, which begin with the flags of the first process.
FLAGS = [*os.environ.get("XLA_FLAGS", "").split(), *FLAGS]
os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys(FLAGS))


def keep_programs() -> None:
    """Keep what is compiled outside of the checkout, for all workers and later runs.

    Processes that tests start find the folder where jax looks.
    """
    os.environ["KANJAX_CACHE_DIR"] = platformdirs.user_cache_dir("kanjax-tests")
    folder = compilation_cache.use()
    # Commands that tests call have no folder of their own.
    os.environ["KANJAX_CACHE_DIR"] = ""
    if folder is not None:
        options = {"jax_compilation_cache_dir": folder, **compilation_cache.OPTIONS}
        os.environ.update({name.upper(): str(options[name]) for name in options})


keep_programs()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first, so that no worker is left alone with one in the end."""
    here = pathlib.Path(__file__).parent

    def order(item: pytest.Item) -> tuple[bool, bool]:
        return not item.get_closest_marker("slow"), item.path.parent != here

    items.sort(key=order)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture
def x64():
    """Run a test in double precision."""
    with jax.enable_x64(True):
        yield


# What was compiled since programs were let go of, and how much of it is held at most.
COMPILED: list[str] = []
MOST = 2000


def note(event: str, *_: Any, fun_name: str = "", **__: Any) -> None:
    if "backend_compile" in event:
        COMPILED.append(fun_name)


jax.monitoring.register_event_duration_secs_listener(note)


@pytest.fixture
def compilations():
    """Give a function that calls another and counts the programs compiled for it."""

    def count(call: Callable[[], Any]) -> int:
        before = len(COMPILED)
        jax.block_until_ready(call())
        return len(COMPILED) - before

    return count


@pytest.fixture(autouse=True)
def compilation(request: pytest.FixtureRequest):
    """Optimise what marked tests compile, all of it."""
    if request.node.get_closest_marker("optimized"):
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", not OPTIMIZED)


@pytest.fixture(autouse=True, scope="module")
def refuse_rank_promotion():
    """Let arrays of different ranks meet by written axes alone, as users may ask."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Let go of what files compiled."""
    yield
    forget_many_programs()


def forget_many_programs() -> None:
    """Let go of programs if there are many: too many at once end a process."""
    if len(COMPILED) > MOST:
        jax.clear_caches()
        # It holds the constants of its programs.
        CONTEXT.cache_clear()
        COMPILED.clear()

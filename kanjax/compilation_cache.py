"""Compiled programs kept between runs of the command line.

Of the processor time of a small study most is compilation. An import of the library
never turns the cache on: a command does.
"""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import time

import jax
import platformdirs

VARIABLE = "KANJAX_CACHE_DIR"
DAYS = 60
"""How long a program stays that no command asks for."""
# Many small programs take as long as a few large ones.
OPTIONS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def use() -> pathlib.Path | None:
    """Keep what is compiled from here on in the user's cache folder, and return it.

    ``KANJAX_CACHE_DIR`` names another folder, or, if it is empty, none. In the folder
    each processor, version of jax and set of flags has its own, so that machines may
    share a home. jax's own ``JAX_COMPILATION_CACHE_DIR`` goes before all this.

    Returns:
        The folder; None if there is none or it cannot be written, and nothing is kept.
    """
    theirs = jax.config.values["jax_compilation_cache_dir"]
    if theirs is not None:
        return pathlib.Path(theirs)
    root = os.environ.get(VARIABLE, platformdirs.user_cache_dir("kanjax"))
    if not root:
        return None
    folder = pathlib.Path(root).expanduser() / "programs" / _setting()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _forget(folder.parent)
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    for name, value in OPTIONS.items():
        jax.config.update(name, value)
    return folder


def _setting() -> str:
    """Return a name for all that compiled code depends on beside the program."""
    flags = os.environ.get("XLA_FLAGS", "")
    jaxlib = importlib.metadata.version("jaxlib")
    parts = jax.__version__, jaxlib, flags, _processor()
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"jax-{jax.__version__}-{platform.machine()}-{digest[:12]}"


def _processor() -> str:
    """Return the processor's model and features, as far as the system tells them."""
    try:
        told = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return " ".join(platform.uname()[i] for i in (0, 4, 5))
    kinds = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    lines = {line for line in told.splitlines() if line.startswith(kinds)}
    return "\n".join(sorted(lines))


def _forget(programs: pathlib.Path) -> None:
    """Remove what has not been read for a while, of whatever version."""
    oldest = time.time() - DAYS * 86_400
    for path in programs.glob("jax-*/*-cache"):
        if path.stat().st_atime < oldest:
            path.unlink(missing_ok=True)

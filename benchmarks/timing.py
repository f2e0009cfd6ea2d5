"""Timing of several candidates in turn, and a record of where it was done.

Candidates take turns, so that whatever else the machine does hits all alike. The
minimum over a candidate's runs is its time; the median tells how quiet the machine was.
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

PACKAGES = ("kanjax", "jax", "jaxlib", "numpy", "optax")
LAUNCHES = 32
"""How many runs follow each other on an accelerator before they are waited for: what it
takes to start a run hides behind the run before."""


def block(candidate: Callable[[], Any], seconds: float) -> list[float]:
    """Durations in seconds of back-to-back runs of at least that long, at least one."""
    durations: list[float] = []
    while sum(durations) < seconds or not durations:
        began = time.perf_counter()
        candidate()
        durations.append(time.perf_counter() - began)
    return durations


def interleave(
    blocks: Mapping[str, Callable[[], Sequence[float]]], rounds: int
) -> dict[str, dict[str, Any]]:
    """Let each candidate run a block in every round.

    Args:
        blocks: for each candidate, what runs a block and returns the durations in
            seconds. The caller has warmed it up: compilation is not told apart here.
        rounds: the number of rounds.

    Returns:
        For each candidate :func:`summary` of all its durations.
    """
    durations: dict[str, list[float]] = {name: [] for name in blocks}
    for _ in range(rounds):
        for name, run in blocks.items():
            durations[name].extend(run())
    return {name: summary(values) for name, values in durations.items()}


def summary(durations: Sequence[float]) -> dict[str, Any]:
    """The minimum and median in milliseconds, and the number of repeats."""
    return {
        "min_ms": round(min(durations) * 1e3, 4),
        "median_ms": round(statistics.median(durations) * 1e3, 4),
        "repeats": len(durations),
    }


def peak_growth_mb(run: Callable[[], Any]) -> float:
    """By how many megabytes three runs raise the peak memory of this process."""
    before = peak_bytes()
    for _ in range(3):
        run()
    return round((peak_bytes() - before) / 1e6, 1)


def peak_bytes() -> int:
    """The peak memory of this process."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # On Linux getrusage starts from the peak of the process that started this one.
        line = next(r for r in status.read_text().splitlines() if r.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if platform.system() == "Darwin" else usage * 1024


def environment(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """The date, the machine and the versions of the packages that are installed."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions(packages),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def write_json(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """Write a result whole or not at all: to a file beside it, then renamed."""
    # The peers' Python, which only takes times, has neither kanjax nor jax.
    from kanjax import files

    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, allow_nan=False)
    files.write_text(target, text + "\n")


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

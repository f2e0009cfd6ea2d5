"""Peak resident memory of ``kanjax study`` on a large generated table."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import timing

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLUMNS = 20
SAMPLE_SECONDS = 0.05


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study in a process of its own and write the result.

    Raises:
        SystemExit: if the study fails.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/memory.json"
    )
    parser.add_argument("--rows", type=int)
    parser.add_argument("--steps", type=int)
    options = parser.parse_args(argv)
    rows = options.rows or (200 if options.quick else 100_000)
    steps = options.steps or (5 if options.quick else 300)
    with tempfile.TemporaryDirectory() as folder:
        table = pathlib.Path(folder) / "table.csv"
        write_table(table, rows)
        command = [sys.executable, "-m", "kanjax.cli", "study"]
        command += ["--data", str(table), "--target", "y"]
        command += ["--out", str(pathlib.Path(folder) / "run"), "--steps", str(steps)]
        if options.quick:
            command += ["--members", "2"]
        measured = run(command, pathlib.Path(folder) / "log.txt")
    result = {
        "benchmark": "memory",
        "environment": timing.environment(),
        "rows": rows,
        "columns": COLUMNS,
        "steps": steps,
        **measured,
    }
    for name, value in measured.items():
        print(f"{name}: {value}")
    timing.write_json(options.out, result)


def write_table(path: pathlib.Path, rows: int) -> None:
    """Write ``COLUMNS`` random features and a target ``y`` that four of them make."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (rows, COLUMNS))
    y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + np.exp(x[:, 3])
    y += 0.1 * rng.standard_normal(rows)
    header = ",".join([f"x{i}" for i in range(COLUMNS)] + ["y"])
    table = np.column_stack([x, y])
    np.savetxt(path, table, "%.6g", delimiter=",", header=header, comments="")


def run(command: Sequence[str], log: pathlib.Path) -> dict[str, Any]:
    """The peak memory and the duration of a command.

    ``peak_process_gb`` is the largest of a single process (``ru_maxrss``), known of the
    command and its descendants that have ended; never less than this script's own.
    ``peak_sampled_gb`` is the sum over the command and its living descendants, sampled;
    None where there is no ``/proc``.
    """
    began = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT
        )
    done = threading.Event()
    peaks = [0]

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            peaks[0] = max(peaks[0], _resident(process.pid))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    _, status, usage = os.wait4(process.pid, 0)
    done.set()
    sampler.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text()[-2000:]
        raise SystemExit(f"the study ended with {process.returncode}:\n{tail}")
    # In bytes on macOS, in kilobytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "peak_process_gb": round(usage.ru_maxrss * unit / 1e9, 3),
        "peak_sampled_gb": round(peaks[0] / 1e9, 3) if peaks[0] else None,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _resident(pid: int) -> int:
    """The resident bytes of a process and its descendants."""
    try:
        status = pathlib.Path(f"/proc/{pid}/statm").read_text().split()
        tasks = pathlib.Path(f"/proc/{pid}/task")
        children = " ".join(
            (task / "children").read_text() for task in tasks.iterdir()
        ).split()
    except (OSError, IndexError):
        return 0
    own = int(status[1]) * os.sysconf("SC_PAGE_SIZE") if len(status) > 1 else 0
    return own + sum(_resident(int(child)) for child in children)


if __name__ == "__main__":
    main()

"""What ``import kanjax`` costs beyond ``import jax``, in fresh processes."""

import argparse
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import timing

ROOT = pathlib.Path(__file__).resolve().parents[1]
STATEMENTS = {"jax": "import jax", "kanjax": "import jax, kanjax"}
HEAVY = (
    "equinox",
    "flax",
    "matplotlib",
    "orbax",
    "pandas",
    "sklearn",
    "sympy",
)
PROBE = """
import json, sys, time
began = time.perf_counter()
{statement}
seconds = time.perf_counter() - began
print(json.dumps([seconds, [name for name in {heavy} if name in sys.modules]]))
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Import both in turn and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repeat")
    parser.add_argument(
        "--out", type=pathlib.Path, default="benchmarks/results/import_time.json"
    )
    options = parser.parse_args(argv)
    loaded: dict[str, list[str]] = {}

    def fresh(name: str) -> list[float]:
        probe = PROBE.format(statement=STATEMENTS[name], heavy=HEAVY)
        done = subprocess.run(
            [sys.executable, "-c", probe],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        seconds, loaded[name] = json.loads(done.stdout)
        return [seconds]

    blocks = {name: lambda name=name: fresh(name) for name in STATEMENTS}
    times = timing.interleave(blocks, 1 if options.quick else 5)
    beyond = times["kanjax"]["min_ms"] - times["jax"]["min_ms"]
    result = {
        "benchmark": "import_time",
        "environment": timing.environment(),
        "times": times,
        "beyond_jax_ms": round(beyond, 1),
        "looked_for": list(HEAVY),
        "loaded_by_jax": loaded["jax"],
        "loaded_by_kanjax": loaded["kanjax"],
    }
    print(f"import kanjax: {beyond:.0f} ms beyond jax; loads {loaded['kanjax']}")
    timing.write_json(options.out, result)


if __name__ == "__main__":
    main()

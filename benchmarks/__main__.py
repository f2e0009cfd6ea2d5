"""Run all benchmarks, or those that are named: ``python -m benchmarks [NAME ...]``."""

import argparse
import pathlib
import subprocess
import sys
from collections.abc import Sequence

NAMES = (
    "import_time",
    "kan_layer",
    "kan_family",
    "kat",
    "kernels",
    "ensemble",
    "memory",
    "landscape",
    "ntk",
    "network_kernels",
    "representation",
    "hopfield",
    "spin_glasses",
    "symbolic",
    "pinn",
    "derivatives",
    "burgers",
    "kan_initialization",
    "tables",
)
WITH_PEERS = (
    "kan_layer",
    "kan_family",
    "kat",
    "kernels",
    "landscape",
    "representation",
    "hopfield",
    "symbolic",
    "network_kernels",
)
OWNERS = {"hopfield_layers": "hopfield", "kat_rational": "kat", "flashkat": "kernels"}
"""The benchmark that has a single peer with a source."""
FAMILY = ("af_kan", "faster_kan", "cm_kan")
"""The peers of kan_family; all others are of kan_layer."""
ROOT = pathlib.Path(__file__).resolve().parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run each in a process of its own, so that none meets another's caches.

    Returns:
        The number of benchmarks that failed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument(
        "--out", type=pathlib.Path, default=ROOT / "benchmarks/results", help="a folder"
    )
    parser.add_argument("--peer-python", help="for those with peers: has them")
    parser.add_argument(
        "--ntk-peer-python", help="for ntk: has neural-tangents and a jax for it"
    )
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="PEER=FOLDER",
        help="for kan_layer, kan_family, kat, kernels, hopfield: a peer from a folder",
    )
    options = parser.parse_args(argv)
    for name in options.names:
        if name not in NAMES:
            parser.error(f"benchmark {name!r} is unknown; known: {', '.join(NAMES)}.")
    failed = 0
    for name in options.names or NAMES:
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        command += ["--out", str((options.out / f"{name}.json").resolve())]
        command += ["--quick"] if options.quick else []
        if name in WITH_PEERS and options.peer_python:
            command += ["--peer-python", options.peer_python]
        if name == "ntk" and options.ntk_peer_python:
            command += ["--peer-python", options.ntk_peer_python]
        for source in options.source:
            peer, separator, folder = source.partition("=")
            absolute = str(pathlib.Path(folder).resolve()) if separator else folder
            owner = OWNERS.get(peer, "kan_family" if peer in FAMILY else "kan_layer")
            if name == owner:
                own = f"{peer}{separator}{absolute}" if peer not in OWNERS else absolute
                command += ["--source", own]
        print(f"== {name}", flush=True)
        failed += subprocess.run(command, cwd=ROOT).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))

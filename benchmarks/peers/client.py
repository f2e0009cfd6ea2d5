"""A peer's script as a subprocess in another Python."""

import contextlib
import json
import os
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

NAMES = ("efficient_kan", "fast_kan", "pykan", "jaxkan")
"""The peers of the KAN layer."""
ROOT = pathlib.Path(__file__).resolve().parents[2]


class PeerError(RuntimeError):
    """A peer that was there and then failed."""


class Peer:
    """One peer; ``absent`` is None, or why it cannot be timed."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self._process = process
        greeting = self._read()
        self.absent: str | None = greeting.get("absent")
        self.versions: dict[str, str] = greeting.get("versions", {})

    @property
    def entry(self) -> dict[str, Any]:
        """What a result says of it: its versions, or why it is absent."""
        return {"absent": self.absent} if self.absent else {"versions": self.versions}

    def warm_up(self, shape: tuple[int, ...], mode: str) -> None:
        """Build the layer of that shape (batch, in, out) and run it twice."""
        self._ask(shape, mode, None)

    def block(self, shape: tuple[int, ...], mode: str, seconds: float) -> list[float]:
        """Durations in seconds of a block of repeats of at least that long."""
        return self._ask(shape, mode, seconds)

    def ask(self, **request: Any) -> dict[str, Any]:
        """The peer's answer to any request."""
        answer = self._send(request)
        if "absent" in answer:
            raise PeerError(f"{self.name}: {answer['absent']}")
        return answer

    def _ask(
        self, shape: tuple[int, ...], mode: str, seconds: float | None
    ) -> list[float]:
        answer = self._send({"shape": list(shape), "mode": mode, "seconds": seconds})
        if "durations" not in answer:
            raise PeerError(f"{self.name}: {answer.get('absent')}")
        return answer["durations"]

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        return {"absent": f"its process ended with exit code {code}"}


@contextlib.contextmanager
def start(name: str, python: str, source: str | None = None) -> Iterator[Peer]:
    """Run a peer's script, till the end of the block.

    Args:
        name: one of ``NAMES``.
        python: an interpreter that can import the peer.
        source: a folder to import it from, if it is not installed.
    """
    command = [python, "-W", "ignore", "-m", f"benchmarks.peers.{name}"]
    if source:
        command += ["--source", source]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Peer(name, process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

"""Runs blocks of repeats when told to, one line of JSON for each line of request.

A request is ``{"shape": [batch, in, out], "mode": ..., "seconds": ...}``, with null
seconds for a warm-up; the answer is ``{"durations": [...]}``. Nothing here needs more
than the standard library, since it runs in the peers' Python.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import timing

Runs = dict[str, Callable[[], Any]]


def main(
    make: Callable[[tuple[int, ...]], Runs],
    packages: Iterable[str],
    toy: tuple[int, ...] = (2, 2, 2),
    block: Callable[[Callable[[], Any], float], list[float]] = timing.block,
) -> None:
    """Serve until the input ends; say first that the peer is there, or why not.

    Args:
        make: maps a shape, (batch, in, out), to what one repeat of each mode calls.
        packages: those whose versions are told.
        toy: a shape that is made at once, to see that the peer is there.
        block: what takes the durations of a block of repeats.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", help="a folder that the peer is imported from")
    source = parser.parse_args().source
    if source:
        sys.path.insert(0, source)
    replies = _own_stdout()
    prepared: dict[tuple[int, ...], Runs] = {}
    try:
        make(toy)
    except ImportError as error:
        _reply(replies, {"absent": str(error)})
        return
    _reply(replies, {"versions": timing.versions(packages)})
    for line in sys.stdin:
        request = json.loads(line)
        shape = tuple(request["shape"])
        if shape not in prepared:
            prepared[shape] = make(shape)
        run = prepared[shape][request["mode"]]
        if request["seconds"] is None:
            for _ in range(2):
                run()
            _reply(replies, {"durations": []})
        else:
            _reply(replies, {"durations": block(run, request["seconds"])})


def answer(answers: Callable[..., dict[str, Any]], packages: Iterable[str]) -> None:
    """Serve requests that are the arguments of a function, till the input ends."""
    replies = _own_stdout()
    found = timing.versions(packages)
    absent = [package for package in packages if package not in found]
    if absent:
        _reply(replies, {"absent": f"{', '.join(absent)} is not installed"})
        return
    _reply(replies, {"versions": found})
    for line in sys.stdin:
        _reply(replies, answers(**json.loads(line)))


def _own_stdout() -> io.TextIOBase:
    """A file for the replies; what a library prints goes to stderr instead."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def _reply(replies: io.TextIOBase, answer: dict[str, Any]) -> None:
    replies.write(json.dumps(answer) + "\n")
    replies.flush()

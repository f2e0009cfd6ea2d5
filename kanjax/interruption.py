"""Ctrl-C as a question that a long command asks between its stages.

Python answers SIGINT with a KeyboardInterrupt wherever the program is: inside jax's
garbage-collection hook it is lost, and while XLA compiles it comes late or ends the
process in a segmentation fault. Here a thread reads the signals, so that a second one
ends the process at once even then, and nothing is raised but by ``check``.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STATUS = 130
"""The exit status of a program that SIGINT ended, as shells have it."""

_SHOW_CURSOR = b"\r\x1b[K\x1b[?25h"


class Interruption:
    """Whether somebody has pressed Ctrl-C, and what to say then.

    Attributes:
        asked: set by the first Ctrl-C.
        hint: how to go on; it changes as the work does.
    """

    def __init__(self, hint: str) -> None:
        self.asked = threading.Event()
        self.hint = hint

    def check(self) -> None:
        """Stop here if asked to.

        Raises:
            KeyboardInterrupt: after a Ctrl-C.
        """
        if self.asked.is_set():
            raise KeyboardInterrupt


@contextmanager
def watched(hint: str = "", *, stages: bool = False) -> Iterator[Interruption]:
    """Watch for Ctrl-C while the block runs; after one, to the end of the process.

    Args:
        hint: how to go on, for the last line.
        stages: whether the block calls ``check`` between stages. Then a second Ctrl-C
            ends the process at once, with exit status 130; else the first does.
    """
    interruption = Interruption(hint)
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may have handlers.
        yield interruption
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def read() -> None:
        with reader:
            while signals := reader.recv(1):
                if signals[0] != signal.SIGINT:
                    continue
                if interruption.asked.is_set() or not stages:
                    _write(line(interruption))
                    os._exit(STATUS)
                interruption.asked.set()
                _write("stopping after this stage; Ctrl-C again ends it at once")

    threading.Thread(target=read, daemon=True).start()
    # Python writes the signal's number there at once, whatever the main thread does.
    old_writer = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    old_handler = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield interruption
    finally:
        if not interruption.asked.is_set():
            signal.signal(signal.SIGINT, old_handler)
            signal.set_wakeup_fd(old_writer)
            writer.close()


def line(interruption: Interruption) -> str:
    """Return the last line of a command that was interrupted."""
    return f"interrupted; {interruption.hint}" if interruption.hint else "interrupted"


def leave() -> None:
    """End the process with what it has written, and no more of Python's own steps."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(STATUS)


def _write(message: str) -> None:
    # Not by print, which the main thread may be in the middle of.
    cursor = _SHOW_CURSOR if sys.stderr.isatty() else b""
    os.write(2, cursor + f"kanjax: {message}\n".encode())

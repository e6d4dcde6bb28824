"""SIGINT and SIGTERM, turned into a clean end.

Only the main thread of a program can receive signals; in any other, these context managers do nothing.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bertsmith.errors import Interrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let a stop signal end the body, wherever it is, by raising :class:`Interrupted` with ``message``."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not cut the tidying up short
        raise KeyboardInterrupt

    try:
        with _handled(interrupt):
            yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None


@contextmanager
def collected() -> Iterator[list[int]]:
    """Collect stop signals in a list for the body to look at; a second one of a kind does what it did before."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])

    with _handled(remember):
        yield received


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)

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


class Stopped(KeyboardInterrupt):
    """A stop signal came; raised wherever the main thread is.

    KeyboardInterrupt itself will not do: CPython notes where it passes through ``exec``, as in the making of a dataclass, and
    kills itself with SIGINT at the end, whatever had caught it.
    """


def until_stopped(work: Callable[[], int], stopped: int) -> int:
    """Return the exit code of the work of a whole process, or ``stopped`` if a stop signal ends it, wherever it is.

    From then on, and once the work is done, such signals mean nothing: the process only has its end before it.
    """
    came: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        _interrupt(number, frame)

    try:
        for number in STOP_SIGNALS:
            signal.signal(number, stop)
        code = work()
        _ignore_stop_signals()
    except BaseException:
        if not came:
            raise
        return stopped
    # An interruption may have become another error on its way, as it does in the making of a class.
    return stopped if came and code else code


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _ignore_stop_signals()  # a second Ctrl-C must not cut the tidying up short
    raise Stopped


def _ignore_stop_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let a stop signal end the body, wherever it is, by raising :class:`Interrupted` with ``message``."""
    try:
        with _handled(_interrupt):
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

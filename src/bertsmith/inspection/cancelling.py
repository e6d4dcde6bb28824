"""Answers that nobody waits for any more."""

from collections.abc import Callable

IsCancelled = Callable[[], bool]


def never() -> bool:
    """Say that somebody waits for the answer."""
    return False


class Cancelled(Exception):
    """Nobody waits for the answer any more."""

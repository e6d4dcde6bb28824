"""Who waits for an answer: they are told how far it is, and may leave before it is there."""

import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate

TOKENS_AT_ONCE = 1024
"""What is computed between two looks at who waits: more are hardly quicker."""


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


class Watcher:
    """Somebody who waits for an answer. ``share`` is how much of it is computed, None before it is begun."""

    def __init__(self) -> None:
        self._gone = threading.Event()
        self.share: float | None = None

    def leave(self) -> None:
        """Wait no longer."""
        self._gone.set()

    def reach(self, share: float) -> None:
        """Say that this share of the answer is computed; :class:`Cancelled` where nobody waits for the rest."""
        if self._gone.is_set():
            raise Cancelled
        self.share = share


NOBODY = Watcher()


def in_parts(lengths: Sequence[int], watcher: Watcher) -> Iterator[slice]:
    """Yield runs of sequences of these lengths, each of :data:`TOKENS_AT_ONCE` tokens at most or of one sequence.

    Before each, the watcher is told how much is done; :class:`Cancelled` where nobody waits for the rest.
    """
    ends = [0, *accumulate(lengths)]
    first = 0
    while first < len(lengths):
        last = first + 1
        while last < len(lengths) and ends[last + 1] - ends[first] <= TOKENS_AT_ONCE:
            last += 1
        watcher.reach(ends[first] / ends[-1])
        yield slice(first, last)
        first = last

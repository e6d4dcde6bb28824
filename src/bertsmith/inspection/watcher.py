"""Who waits for an answer: they are told how far it is, and may leave before it is there."""

import threading


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

"""What cannot be shown, in a form that a page can say in any language; and answers that nobody waits for."""

from collections.abc import Callable
from typing import Any

from bertsmith.errors import InputError

IsCancelled = Callable[[], bool]


def never() -> bool:
    """Say that somebody waits for the answer."""
    return False


class Refusal(InputError):
    """A request that cannot be answered: a ``code`` that names the reason, the message, and the values in it."""

    def __init__(self, code: str, message: str, **values: Any) -> None:
        super().__init__(message)
        self.code, self.values = code, values

    def as_json(self) -> dict[str, Any]:
        """Return what a page gets instead of an answer."""
        return {"error": {"code": self.code, "message": str(self), "values": self.values}}


class Cancelled(Exception):
    """Nobody waits for the answer any more."""

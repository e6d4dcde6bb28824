"""Every error that bertsmith raises on purpose.

    BertsmithError                 the root; its message is meant for the user as it stands
    ├── UsageError                 a wrong flag, or flags that contradict each other (exit code 2)
    │   └── ConfigError            an unknown or ill-typed key in a configuration
    ├── InputError                 the user's data cannot be read: names file, line or byte, value and remedy
    │   └── Refusal                a request cannot be answered; with a code, so that a page can say why in any language
    ├── ArtifactError              a directory or file of a bertsmith format is missing or of another kind
    │   ├── DamagedError           ... is truncated or altered
    │   └── MismatchError          ... was made with another tokenizer, size or setting than the one at hand
    ├── BusyError                  another process writes into this directory
    ├── StorageError               the disk is full, read-only, forbidden or faulty
    ├── DivergedError              the loss became NaN or exploded
    └── Interrupted                stopped by a signal, everything saved; the same command resumes (exit code 75)

Messages name the file, line or field, the value found and what to do about it.
"""

from typing import Any


class BertsmithError(Exception):
    """Root of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(BertsmithError):
    """A wrong flag, or flags that contradict each other."""

    exit_code = 2


class ConfigError(UsageError):
    """An unknown or ill-typed key in a configuration."""


class InputError(BertsmithError):
    """The user's data cannot be read."""


class Refusal(InputError):
    """A request that cannot be answered: a ``code`` that names the reason, the message, and the values in it."""

    def __init__(self, code: str, message: str, **values: Any) -> None:
        super().__init__(message)
        self.code, self.values = code, values

    def as_json(self) -> dict[str, Any]:
        """Return what a page gets instead of an answer."""
        return {"error": {"code": self.code, "message": str(self), "values": self.values}}


class ArtifactError(BertsmithError):
    """A directory or file of a bertsmith format is missing or of another kind."""


class DamagedError(ArtifactError):
    """A directory or file is truncated or altered."""


class MismatchError(ArtifactError):
    """Two things that must fit together do not."""


class BusyError(BertsmithError):
    """Another process writes into this directory."""


class StorageError(BertsmithError):
    """The disk is full, read-only, forbidden or faulty."""


class DivergedError(BertsmithError):
    """The loss became NaN or exploded."""


class Interrupted(BertsmithError):
    """Stopped by a signal with everything saved; the same command resumes."""

    exit_code = 75

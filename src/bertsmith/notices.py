"""What a user should know of a file or directory, said once however often it is opened."""

import functools
import logging

_log = logging.getLogger("bertsmith")


@functools.cache
def say_once(message: str, level: int = logging.WARNING) -> None:
    """Log a message, unless this process has logged the same before."""
    _log.log(level, "%s", message)

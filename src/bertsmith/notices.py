"""What a user should know of a file or directory, said once however often it is opened."""

import functools
import logging

_log = logging.getLogger("bertsmith")


@functools.cache
def say_once(message: str) -> None:
    """Log a warning, unless this process has logged the same before."""
    _log.warning("%s", message)

"""Standard input for verbs that read a file more than once, or by several processes: it is copied to a file first."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bertsmith.files import storage_errors

PathT = TypeVar("PathT", str, Path)


@contextmanager
def with_standard_input(paths: Sequence[PathT]) -> Iterator[list[PathT]]:
    """Give the paths with a file of what standard input holds, plain text, in the place of ``-``; it is gone afterwards."""
    if not any(str(path) == "-" for path in paths):
        yield list(paths)
        return
    with tempfile.TemporaryDirectory(prefix="bertsmith-") as directory:
        copy = Path(directory) / "stdin.txt"
        with storage_errors(copy), copy.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield [type(path)(copy) if str(path) == "-" else path for path in paths]

"""Excel's files (.xlsx) as rows of text: the first sheet, written as CSV would have it."""

import datetime
import io
import logging
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from bertsmith.errors import InputError, UsageError
from bertsmith.progress import ProgressTask
from bertsmith.sources.streams import check_is_file, open_bytes

_log = logging.getLogger("bertsmith")


def read_spreadsheet(path: str | Path, progress: ProgressTask) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of the first sheet that hold something, each with its number and as many fields as the first has.

    Raises:
        InputError: no file, or none of this kind; a row has more fields than the first.
        UsageError: the openpyxl package is missing.
    """
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise UsageError(
            f"reading {path} needs the openpyxl package: pip install 'bertsmith[excel]'; or save the sheet as CSV UTF-8"
        ) from None
    if str(path) == "-":
        raise InputError("standard input: a spreadsheet is not read from a pipe; give its path")
    check_is_file(Path(path))
    try:
        with open_bytes(Path(path), progress) as file:
            book = openpyxl.load_workbook(io.BytesIO(file.read()), read_only=True, data_only=True)
        sheet, *others = book.worksheets
        if others:
            _log.info("%s: the first of %d sheets, %r, is read", path, 1 + len(others), sheet.title)
        yield from _rows(sheet.iter_rows(values_only=True), str(path))
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, SyntaxError, EOFError) as error:
        raise InputError(f"{path} is no spreadsheet of Excel's (.xlsx) or is damaged: {error}; save it again") from None


def _rows(rows: Iterator[tuple[Any, ...]], name: str) -> Iterator[tuple[int, list[str]]]:
    filled = ((number, fields) for number, row in enumerate(rows, 1) if any(fields := [_text(value) for value in row]))
    first = next(filled, (1, [""]))
    # Sheets are often wider than what is written in them.
    n_columns = max(place for place, field in enumerate(first[1], 1) if field or place == 1)
    for number, fields in chain([first], filled):
        if any(fields[n_columns:]):
            raise InputError(
                f"{name}:{number} has {len(fields)} fields where the first row has {n_columns}; name each column in the "
                "first row"
            )
        yield number, [*fields[:n_columns], *[""] * (n_columns - len(fields))]


def _text(value: Any) -> str:
    """Return a cell as CSV has it."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)

"""Tables row by row, in bounded memory: CSV, TSV, JSON, JSON lines, Parquet, Arrow, and plain text, a row a line; Excel's."""

import csv
import difflib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from bertsmith.errors import InputError, UsageError
from bertsmith.progress import SILENT_TASK, ProgressTask
from bertsmith.sources.columnar import COLUMNAR, open_columnar
from bertsmith.sources.headers import ROWS_LOOKED_AT, Heading
from bertsmith.sources.json_objects import json_objects
from bertsmith.sources.spreadsheets import read_spreadsheet
from bertsmith.sources.streams import (
    LONGEST_LINE,
    UTF8,
    Decoding,
    extension,
    input_name,
    known_extension,
    read_input,
    read_lines,
    read_text,
)

_log = logging.getLogger("bertsmith")


@dataclass(slots=True)
class Record:
    """One row: what stands in each column, text or any value of JSON or Arrow, and the line where it begins, or its number."""

    values: Mapping[str, Any]
    path: str
    line: int

    @property
    def source(self) -> str:
        """``file:line``."""
        return f"{self.path}:{self.line}"

    def text(self, column: str) -> str:
        """Return the text in a column; :class:`InputError` if there is none."""
        value = self.values.get(column)
        if isinstance(value, str):
            return value
        if column not in self.values:
            raise unknown_column(self.source, column, self.values, "add it, or take the row out")
        return self.as_text(value, column)

    def as_text(self, value: Any, column: str) -> str:
        """Return a ``value`` that stands in the column; :class:`InputError` if it is no text."""
        if isinstance(value, str):
            return value
        raise InputError(
            f"{self.source}: the column {column!r} holds {value!r:.60} where text is expected; write text, or take the row out"
        )


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under ``columns`` (of JSON, the keys of the first object; none of an empty file).

    ``path`` is what messages call the table, and ``read`` yields the rows, of Parquet and Arrow with the named columns alone.
    Where no row names the columns, they are called by their numbers from 1, and ``sample`` has the first rows.
    """

    path: str
    format: str
    columns: tuple[str, ...]
    is_empty: bool
    read: Callable[[Sequence[str]], Iterator[Record]]
    sample: Sequence[Sequence[str]] = ()

    @property
    def rows(self) -> Iterator[Record]:
        """The rows with all of their columns."""
        return self.with_columns(*self.columns)

    def with_columns(self, *names: str | None) -> Iterator[Record]:
        """Return the rows with what stands in these columns, and perhaps in others; None and unknown names are left out.

        Raises:
            InputError: two columns have one of the names; from the rows, what is wrong with them.
        """
        known = set(names)
        wanted = [column for column in self.columns if column in known]
        # Spreadsheets write several columns without a name.
        if twice := next((name for name, count in Counter(wanted).items() if name and count > 1), None):
            raise InputError(f"{self.path}: two columns are named {twice!r}; rename one, so that it is clear which is meant")
        return self.read(wanted)

    def check_columns(self, **columns: str | None) -> None:
        """Raise :class:`InputError` where one of the columns is missing, each given under the name of its flag."""
        for flag, column in columns.items():
            if column is not None and column not in self.columns:
                raise unknown_column(self.path, column, self.columns, f"choose one with --{flag}")


def unknown_column(place: str, column: str, columns: Iterable[str], remedy: str) -> InputError:
    """Return the error for a column that is not one of the ``columns``."""
    near = difflib.get_close_matches(column, columns := list(columns), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"{place} has no column {column!r}; {hint}its columns are {quoted(columns)}; {remedy}")


def quoted(names: Iterable[str]) -> str:
    """Return names as messages list them."""
    return ", ".join(map(repr, names)) or "none"


@dataclass(frozen=True, slots=True)
class Layout:
    """A kind of CSV or TSV file that needs a reading of its own, known by its first row (fields joined with tabs)."""

    name: str
    first_row: re.Pattern[str]
    columns: tuple[str, ...] | None = None
    """The columns of a file without a header; otherwise the first row is the header."""
    uneven: Literal["refused", "read", "left out"] = "refused"
    """What is done with rows that have not as many fields as the header: those with the wanted columns may be read."""


def open_table(
    path: str | Path,
    format: str | None = None,  # noqa: A002
    layouts: Sequence[Layout] = (),
    decoding: Decoding = UTF8,
    progress: ProgressTask = SILENT_TASK,
    delimiter: str | None = None,
    heading: Heading = Heading(),  # noqa: B008 (it never changes)
    skip_broken: bool = False,
) -> Table:
    """Open a table whose rows are read as they are asked for, in bounded memory.

    Args:
        path: a file, also compressed, or ``-`` for standard input (but of Parquet and Arrow).
        format: one of csv, tsv (no quoting, as in GLUE), xlsx, jsonl and json (lines, or one array of objects), parquet, arrow
            (file or stream) and txt (one text a line, column ``text``, blank lines left out). By default, the extension says
            it, and .txt with tabs between columns is tsv where the first row may be none of names; standard input is txt.
        layouts: kinds of CSV and TSV files to look out for; all others have a header and rows of its length.
        decoding: how bytes become text.
        progress: is told the bytes read of the file as it stands.
        delimiter: what stands between the fields of a CSV whose header has it. Otherwise a first line such as ``sep=;`` says
            it, or else it is the first of comma, semicolon, tab and ``|`` that the header has.
        heading: whether the first row of CSV, TSV or xlsx names the columns.
        skip_broken: whether rows of CSV and TSV that are longer or shorter than the first are left out, with a warning.

    Raises:
        InputError: a file that is missing or of an unknown kind, here; what cannot be read, here or from the rows.
        UsageError: ``format`` is unknown.
    """
    name, kind = input_name(path), format or ("txt" if str(path) == "-" else None)
    if kind is None:
        kind = _FORMATS[known_extension(Path(path), _FORMATS, "rename the file or give its --format")]
    dialect = _Dialect(layouts, delimiter, heading, skip_broken)
    if kind == "txt" and format is None and str(path) != "-" and heading.is_there is not True:
        return _from_text_with_tabs(read_input(path, decoding, progress), name, dialect)
    if kind in _READERS:
        return _READERS[kind](read_input(path, decoding, progress), name, dialect)
    if kind == "xlsx":
        return _of_fields(read_spreadsheet(path, progress), name, "xlsx", dialect, "name each column in the first row")
    if kind not in COLUMNAR:
        raise UsageError(f"unknown format {kind!r}; the formats are {', '.join((*_READERS, 'xlsx', *COLUMNAR))}")
    columns, n_rows, rows = open_columnar(path, kind, decoding, progress)
    return Table(
        name, kind, tuple(columns), not n_rows, lambda wanted: (Record(values, name, row) for row, values in rows(wanted))
    )


# Text and JSON.


@dataclass(frozen=True, slots=True)
class _Dialect:
    """What is known before reading of how a CSV or TSV file is written."""

    layouts: Sequence[Layout]
    delimiter: str | None
    heading: Heading
    skip_broken: bool


def table_of(records: Iterator[Record], path: str, format: str) -> Table:  # noqa: A002
    """Return the table of records as they come; the first has its columns."""
    first = next(records, None)
    rows = chain([first], records) if first else records
    return Table(path, format, tuple(first.values) if first else (), first is None, lambda _: rows)


def _from_text(pieces: Iterator[str], name: str, _: _Dialect) -> Table:
    lines = enumerate(read_lines(pieces, name), 1)
    rows = (Record({"text": line.removesuffix("\n")}, name, number) for number, line in lines if not line.isspace())
    return table_of(rows, name, "txt")


def _from_text_with_tabs(pieces: Iterator[str], name: str, dialect: _Dialect) -> Table:
    """Read text as TSV where its first line names known columns, or tabs surely part all of its lines alike."""
    lines, heading = read_lines(pieces, name), dialect.heading
    head = list(islice(lines, ROWS_LOOKED_AT))
    rows = [line.rstrip("\n").split("\t") for line in head if not line.isspace()]
    n_columns = len(rows[0]) if rows else 1
    is_even = {*map(len, rows)} == {n_columns} and (heading.tabs or n_columns > 2)
    if n_columns > 1 and (is_even or heading.has_known(rows[0])):
        return _from_tsv(chain(head, lines), name, dialect)
    if n_columns > 1:
        _log.info("%s is read as plain text; say --format tsv if the tabs in its lines part columns", name)
    return _from_text(chain(head, lines), name, dialect)


def _from_json(pieces: Iterator[str], name: str, _: _Dialect) -> Table:
    return table_of((Record(values, name, line) for line, values in json_objects(pieces, name)), name, "json")


# CSV and TSV.

_HEADER, _NO_HEADER = (Layout(name, re.compile("")) for name in ("a table with a header", "a table without one"))
_Row = tuple[int, list[str]]
"""The line on which a row begins, and its fields."""


_DELIMITERS = (",", ";", "\t", "|")
_SEP_LINE = re.compile(r'"?sep=(?P<delimiter>.)"?\n?', re.IGNORECASE)  # Excel's own, which it hides


def _from_csv(pieces: Iterator[str], name: str, dialect: _Dialect) -> Table:
    csv.field_size_limit(LONGEST_LINE)
    lines = read_lines(pieces, name)
    header, n_before = next(lines, ""), 0
    if said := _SEP_LINE.fullmatch(header):
        header, n_before = next(lines, ""), 1
    while header == "\n":
        header, n_before = next(lines, ""), n_before + 1
    tried = (dialect.delimiter, said and said["delimiter"], *_DELIMITERS)
    delimiter = next((one for one in tried if one and len(next(csv.reader([header], delimiter=one), [])) > 1), ",")
    rows = _csv_rows(csv.reader(chain([header], lines), delimiter=delimiter, strict=True), name, n_before)
    hint = f"is a quotation mark not closed, or a text with {delimiter!r} not quoted?"
    return _of_fields(rows, name, "csv", dialect, hint)


def _csv_rows(rows: Any, name: str, n_before: int) -> Iterator[_Row]:
    """Yield what a CSV reader reads behind the first ``n_before`` lines; rows without a field are left out."""
    line = 1 + n_before
    try:
        for row in rows:
            if row:
                yield line, row
            line = rows.line_num + 1 + n_before
    except csv.Error as error:
        raise InputError(f"{name}:{line}: {error}; is a quotation mark not closed?") from None


def _from_tsv(pieces: Iterator[str], name: str, dialect: _Dialect) -> Table:
    lines = enumerate(read_lines(pieces, name), 1)
    rows = ((number, line.removesuffix("\n").split("\t")) for number, line in lines if line != "\n")
    return _of_fields(rows, name, "tsv", dialect, "is there a tab or a line break in a text?")


def _of_fields(rows: Iterator[_Row], name: str, format: str, dialect: _Dialect, hint: str) -> Table:  # noqa: A002
    """Put rows under the header that is the first of them, or that their layout has; its names are without blanks around."""
    first = next(rows, (1, []))
    layout = next((one for one in dialect.layouts if one.first_row.fullmatch("\t".join(first[1]))), _HEADER)
    without_header, heading = _NO_HEADER, dialect.heading
    if dialect.skip_broken:
        layout, without_header = (replace(one, uneven="left out") for one in (layout, _NO_HEADER))
    if first[1] and (heading.is_there is False or (layout.name == _HEADER.name and heading.may_be_missing(first[1]))):
        head = list(islice(rows, ROWS_LOOKED_AT))
        rows = chain(head, rows)
        sample = [row for _, row in (first, *head) if len(row) == len(first[1])]
        if not heading.names_columns(*sample):
            numbers = tuple(map(str, range(1, len(first[1]) + 1)))
            if heading.is_there is None:
                shown = ", ".join(f"{number} ({field!r:.40})" for number, field in zip(numbers, first[1], strict=True))
                _log.info("%s: the first row is data and names no columns, so these are called %s", name, shown)
            read = partial(_records, chain([first], rows), numbers, without_header, name, hint)
            return Table(name, format, numbers, False, read, sample)
    second = first if layout.columns else next(rows, None)
    columns = layout.columns or tuple(map(str.strip, first[1]))
    rows = chain([second], rows) if second else rows
    return Table(name, format, columns, second is None, partial(_records, rows, columns, layout, name, hint))


def _records(
    rows: Iterator[_Row], columns: Sequence[str], layout: Layout, name: str, hint: str, wanted: Sequence[str]
) -> Iterator[Record]:
    known = set(wanted)
    places = [(column, place) for place, column in enumerate(columns) if column in known]
    n_columns, n_needed = len(columns), 1 + max((place for _, place in places), default=-1)
    left_out: list[int] = []
    for line, row in rows:
        if len(row) == n_columns or (layout.uneven == "read" and len(row) >= n_needed):
            yield Record({column: row[place] for column, place in places}, name, line)
        elif layout.uneven == "left out":
            left_out.append(line)
        else:
            first = "first row" if layout.name == _NO_HEADER.name else "header"
            raise InputError(f"{name}:{line} has {len(row)} fields where the {first} has {n_columns}: {row!r:.60}; {hint}")
    if left_out:
        _log.warning("%s: left out %d broken rows of %s, the first %s:%d", name, len(left_out), layout.name, name, left_out[0])


def count_lines(path: str | Path, format: str | None = None) -> int:  # noqa: A002
    """Return the number of lines of a file of text, whatever its encoding; 0 of others and of standard input, read but once."""
    kind = format or extension(Path(path)).removeprefix(".")
    if kind in (*COLUMNAR, "feather", "xlsx") or not Path(path).is_file():
        return 0
    return sum(1 for _ in read_lines(read_text(Path(path), Decoding("replace")), str(path)))


_READERS: dict[str, Callable[[Iterator[str], str, _Dialect], Table]] = {
    "csv": _from_csv,
    "tsv": _from_tsv,
    "jsonl": _from_json,
    "json": _from_json,
    "txt": _from_text,
}
_FORMATS = {f".{name}": name for name in (*_READERS, "xlsx", *COLUMNAR)} | {".feather": "arrow"}

"""Tables of labelled or unlabelled examples, row by row as they come: CSV, TSV, JSON, Parquet, plain text, Hugging Face
datasets."""

import csv
import importlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from bertsmith.errors import InputError, UsageError
from bertsmith.text.json_objects import json_lines, json_objects
from bertsmith.text.streams import COMPRESSIONS, LONGEST_LINE, check_is_file, extension, input_name, read_input, read_lines

_NO_ROWS = "holds no rows; give a file with at least one example"
_log = logging.getLogger("bertsmith")


@dataclass(frozen=True, slots=True)
class Record:
    """One row: what stands in each column, text or, of JSON and of a hub dataset, any JSON value.

    ``source`` is ``file:line``, the line on which the row begins (of a hub dataset, the row, from 1).
    """

    values: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under ``columns`` (of JSON, the keys of the first object); ``path`` names the table in messages.

    Of a Parquet file, ``selected`` reads some columns alone.
    """

    path: str
    columns: tuple[str, ...]
    rows: Iterator[Record]
    selected: Callable[[Iterable[str]], Iterator[Record]] | None = None

    def with_columns(self, *names: str | None) -> Iterator[Record]:
        """Return the rows with what stands in these columns, and perhaps in others; None and unknown names are left out."""
        return self.selected(name for name in names if name in self.columns) if self.selected else self.rows


def read_table(path: str | Path, format: str | None = None) -> Table:  # noqa: A002
    """Open a table whose rows are read as they are asked for, in bounded memory.

    Args:
        path: a file, also compressed; ``-`` for standard input; or ``hub:NAME[@CONFIG]:SPLIT`` for a dataset that the
            ``datasets`` package opens, of the Hugging Face hub or in a local directory.
        format: one of csv, tsv (no quoting, as in GLUE), jsonl, json (lines, or one array of objects), parquet (of a file
            as it stands) and txt (one text a line, column ``text``, blank lines left out). By default, the extension says
            it; standard input is txt.

    Raises:
        InputError: a file that is missing, empty or of an unknown kind, here; a row that does not fit, here or from the rows.
        UsageError: ``format`` is unknown, or the ``datasets`` package is missing.
    """
    source = input_name(path)
    if source.startswith(_HUB_PREFIX):
        records = _from_hub(source)
    elif (name := table_format(path, format)) == _PARQUET:
        return _parquet_table(Path(path))
    else:
        records = _READERS[name](read_input(path), source)
    first = next(records, None)
    if first is None:
        raise InputError(f"{source} {_NO_ROWS}")
    return Table(source, tuple(first.values), chain([first], records))


def table_format(path: str | Path, format: str | None = None) -> str:  # noqa: A002
    """Return which of the formats of :func:`read_table` ``path`` is read as.

    Raises:
        InputError: the extension is unknown, and so perhaps is the file.
        UsageError: ``format`` is.
    """
    formats = (*_READERS, _PARQUET)
    if format is not None:
        if format not in formats:
            raise UsageError(f"unknown format {format!r}; the formats are {', '.join(formats)}")
        return format
    if str(path) == "-":
        return "txt"
    suffix = extension(Path(path))
    if suffix[1:] not in formats:
        check_is_file(Path(path))
        known = " ".join(f".{name}" for name in _READERS)
        raise InputError(
            f"{path} has no extension that says how to read it: known are {known}, each also {' '.join(COMPRESSIONS)}, "
            "and .parquet; rename the file or give its --format"
        )
    return suffix[1:]


def _from_text(pieces: Iterator[str], source: str) -> Iterator[Record]:
    for number, line in enumerate(read_lines(pieces, source), 1):
        if not line.isspace():
            yield Record({"text": line.removesuffix("\n")}, f"{source}:{number}")


# CSV and TSV.


@dataclass(frozen=True, slots=True)
class _Headerless:
    """A kind of file without a header, known by its first row (fields joined with tabs)."""

    first_row: re.Pattern[str]
    columns: list[str]
    more_fields: bool = False


_RETRIEVED = r"\d+\t\d+\t[^\t]*[^\t\d][^\t]*\t[^\t]*"
_HEADERLESS = (
    # CoLA, train and dev
    _Headerless(re.compile(r"[^\t]*\t[01]\t\*?\t[^\t]+"), ["source", "label", "mark", "sentence"]),
    # STS-B, test_with_gold; some of its rows end in fields that name the sources of the sentences
    _Headerless(
        re.compile(r"([^\t]*\t){3}\d+\t[0-5](\.\d+)?(\t[^\t]+){2}(\t[^\t]*)*"),
        ["genre", "filename", "year", "old_index", "score", "sentence1", "sentence2"],
        more_fields=True,
    ),
    # MS MARCO, top1000, and as it is labelled
    _Headerless(re.compile(_RETRIEVED), ["qid", "pid", "query", "passage"]),
    _Headerless(re.compile(rf"{_RETRIEVED}\t[^\t]*"), ["qid", "pid", "query", "passage", "label"]),
)
# Some questions of the file that GLUE publishes hold line breaks; all who train on it leave the broken rows out.
_QQP = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]


def _from_csv(pieces: Iterator[str], source: str) -> Iterator[Record]:
    hint = "is a quotation mark not closed, or a text with a comma not quoted?"
    return _from_rows(_csv_rows(pieces, source), source, hint)


def _from_tsv(pieces: Iterator[str], source: str) -> Iterator[Record]:
    lines = enumerate(read_lines(pieces, source), 1)
    rows = ((number, line.removesuffix("\n").split("\t")) for number, line in lines if line != "\n")
    return _from_rows(rows, source, "is there a tab or a line break in a text?")


def _csv_rows(pieces: Iterator[str], source: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(LONGEST_LINE)
    rows = csv.reader(read_lines(pieces, source), strict=True)
    line = 1
    try:
        for row in rows:
            if row:
                yield line, row
            line = rows.line_num + 1
    except csv.Error as error:
        raise InputError(f"{source}:{line}: {error}; is a quotation mark not closed?") from None


def _from_rows(rows: Iterator[tuple[int, list[str]]], source: str, hint: str) -> Iterator[Record]:
    """Put the rows, each with its line, under the header that is the first of them, or that a headerless file should have."""
    first = next(rows, None)
    if first is None:
        return
    columns = first[1]
    headerless = next((kind for kind in _HEADERLESS if kind.first_row.fullmatch("\t".join(columns))), None)
    if headerless:
        columns, rows = headerless.columns, chain([first], rows)
    _check_header(columns, f"{source}:{first[0]}")
    broken: list[int] = []
    for line, row in rows:
        if len(row) == len(columns) or (headerless and headerless.more_fields and len(row) > len(columns)):
            yield Record(dict(zip(columns, row, strict=False)), f"{source}:{line}")
        elif columns == _QQP:
            broken.append(line)
        else:
            raise InputError(f"{source}:{line} has {len(row)} fields where the header has {len(columns)}; {hint}")
    if broken:
        _log.warning("%s: left out %d broken rows of QQP, the first %s:%d", source, len(broken), source, broken[0])


def _check_header(columns: list[str], place: str) -> None:
    # Spreadsheets write several columns without a name.
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{place}: two columns are named {twice!r}; rename one, so that it is clear which is meant")


def _from_json(pieces: Iterator[str], source: str) -> Iterator[Record]:
    return (Record(values, f"{source}:{line}") for line, values in json_objects(pieces, source))


def _from_json_lines(pieces: Iterator[str], source: str) -> Iterator[Record]:
    return (Record(values, f"{source}:{line}") for line, values in json_lines(pieces, source))


_READERS: dict[str, Callable[[Iterator[str], str], Iterator[Record]]] = {
    "csv": _from_csv,
    "tsv": _from_tsv,
    "jsonl": _from_json_lines,
    "json": _from_json,
    "txt": _from_text,
}

# Parquet.

_PARQUET = "parquet"


def _parquet_table(path: Path) -> Table:
    if path.suffix in COMPRESSIONS or str(path) == "-":
        raise InputError(f"{input_name(path)}: Parquet is read from its end; give a file that is not compressed around it")
    with _open_parquet(path) as file:
        columns, n_rows = file.schema_arrow.names, file.metadata.num_rows
    if not n_rows:
        raise InputError(f"{path} {_NO_ROWS}")
    selected = partial(_parquet_rows, path)
    return Table(str(path), tuple(columns), selected(columns), selected)


def _parquet_rows(path: Path, columns: Iterable[str]) -> Iterator[Record]:
    number = 0
    with _open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=256, columns=list(columns)):
            for values in batch.to_pylist():
                number += 1
                yield Record(values, f"{path}:{number}")


@contextmanager
def _open_parquet(path: Path) -> Iterator[Any]:
    """Open a Parquet file; what is wrong with it, here or while it is read, is an :class:`InputError`."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a Parquet file, or is damaged: {error}") from None


# The Hugging Face hub.

_HUB_PREFIX = "hub:"
_HUB_NAME = re.compile(r"hub:(?P<name>.+?)(?:@(?P<config>[^@:/]+))?:(?P<split>[^:/\[]+(?:\[.*\])?)")


def _from_hub(address: str) -> Iterator[Record]:
    dataset, names = _load(address)
    for number, row in enumerate(dataset, 1):
        values = {column: _named(value, names[column]) if column in names else value for column, value in row.items()}
        yield Record(values, f"{address}:{number}")


def _load(address: str) -> tuple[Iterable[dict[str, Any]], dict[str, list[str]]]:
    """Return a dataset and, of each column with class labels, their names."""
    parts = _HUB_NAME.fullmatch(address)
    if parts is None:
        raise InputError(f"{address} does not say which dataset is meant; write hub:NAME:SPLIT or hub:NAME@CONFIG:SPLIT")
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise UsageError(f"reading {address} needs the datasets package: pip install 'bertsmith[hub]'") from None
    try:
        dataset = datasets.load_dataset(parts["name"], parts["config"], split=parts["split"])
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(f"cannot read {address}: {error}") from error
    inner = {column: getattr(feature, "feature", feature) for column, feature in dataset.features.items()}
    return dataset, {column: kind.names for column, kind in inner.items() if isinstance(kind, datasets.ClassLabel)}


def _named(label: Any, names: list[str]) -> Any:
    """Return the name of a class label, or of each in a list; None for -1, which marks an unlabelled example."""
    if isinstance(label, list):
        return [_named(one, names) for one in label]
    return None if label is None or label < 0 else names[label]

"""Tables of labelled or unlabelled examples: files of any kind, in the layouts of the usual benchmarks, and Hugging Face
datasets."""

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from bertsmith.config import Config
from bertsmith.errors import InputError
from bertsmith.sources.headers import Heading
from bertsmith.sources.hub_datasets import HUB_PREFIX, open_hub_dataset
from bertsmith.sources.streams import Decoding
from bertsmith.sources.tables import Layout, Table, open_table

_RETRIEVED = r"\d+\t\d+\t(?!\d+\t\d+(?:\t|$))[^\t]+\t[^\t]*"  # a query or a passage may be a number, but not both
_QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
_LAYOUTS = (
    Layout("CoLA, train and dev", re.compile(r"[^\t]*\t[01]\t\*?\t[^\t]+"), ("source", "label", "mark", "sentence")),
    # Some of its rows end in fields that name the sources of the sentences.
    Layout(
        "STS-B, test_with_gold",
        re.compile(r"([^\t]*\t){3}\d+\t[0-5](\.\d+)?(\t[^\t]+){2}(\t[^\t]*)*"),
        ("genre", "filename", "year", "old_index", "score", "sentence1", "sentence2"),
        uneven="read",
    ),
    Layout("MS MARCO, top1000", re.compile(_RETRIEVED), ("qid", "pid", "query", "passage")),
    Layout("MS MARCO, labelled", re.compile(rf"{_RETRIEVED}\t[^\t]*"), ("qid", "pid", "query", "passage", "label")),
    # Some questions of the file that GLUE publishes hold line breaks; all who train on it leave the broken rows out.
    Layout("QQP", re.compile(_QQP), uneven="left out"),
)


_DELIMITER_NAMES = {"tab": "\t", "\\t": "\t"}


class TableConfig(Config):
    """How tables are written."""

    delimiter: str | None = None
    """What stands between the columns of CSV, a character or tab; found by itself where it is one of , ; | and tab."""
    encoding: str | None = None
    """Encoding of text, such as gb18030; UTF-8, or what a byte-order mark says, unless given."""
    header: bool = True
    """Take the first row for the names of the columns, unless it is plainly data; else they are numbers from 1."""
    skip_broken: bool = False
    """Leave out rows of CSV and TSV with more or fewer fields than the first, and say how many, instead of stopping."""

    @pydantic.field_validator("delimiter")
    @classmethod
    def _is_one_character(cls, value: str | None) -> str | None:
        if value is not None and (len(_DELIMITER_NAMES.get(value, value)) != 1 or value in '"\r\n'):
            raise ValueError("a delimiter is one character such as ; or the word tab")
        return value

    @pydantic.field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        try:
            b" ".decode(value or "utf-8")
        except LookupError:
            raise ValueError("no such encoding is known; gb18030 (GBK), big5, shift_jis and utf-16 are") from None
        return value

    @property
    def decoding(self) -> Decoding:
        """How the bytes become text."""
        encoding = self.encoding and codecs.lookup(self.encoding).name
        return Decoding(
            remedy="give its --encoding, or convert it to UTF-8", encoding=None if encoding == "utf-8" else encoding
        )


class RowConfig(TableConfig):
    """How tables are written, and what their rows are called."""

    id: str | None = None
    """Column of what a row is called in predictions; "id", "idx", "guid", "pair_ID" and their like are found by themselves."""


IDS = ("id", "ID", "index", "idx", "guid", "pairID", "pair_ID")


def id_of(values: Mapping[str, Any], config: RowConfig, otherwise: object, known: Sequence[str] = IDS) -> str:
    """Return what a row calls itself in the column that is named, or else in one of the ``known``, or else something."""
    names = known if config.id is None else (config.id,)
    return str(next((values[name] for name in names if isinstance(values.get(name), str | int | float)), otherwise))


ColumnsT = TypeVar("ColumnsT", bound=TableConfig)


def read_table(
    path: str | Path,
    format: str | None = None,  # noqa: A002
    layouts: Sequence[Layout] = (),
    config: TableConfig = TableConfig(),  # noqa: B008 (it never changes)
    heading: Heading = Heading(),  # noqa: B008
) -> Table:
    """Open a table that has rows, as :func:`~bertsmith.sources.tables.open_table` does.

    ``path`` may also be ``hub:NAME[@CONFIG]:SPLIT`` for a dataset that the ``datasets`` package opens, of the Hugging Face
    hub or in a local directory. ``layouts`` are looked out for besides those of the usual benchmarks.

    Raises:
        InputError: as ``open_table``; or the table is empty.
        UsageError: ``format`` is unknown, or the ``datasets`` package is missing.
    """
    if str(path).startswith(HUB_PREFIX):
        table = open_hub_dataset(str(path))
    else:
        delimiter = _DELIMITER_NAMES.get(config.delimiter or "", config.delimiter)
        heading = heading if config.header else Heading(is_there=False)
        table = open_table(
            path,
            format,
            (*layouts, *_LAYOUTS),
            delimiter=delimiter,
            decoding=config.decoding,
            heading=heading,
            skip_broken=config.skip_broken,
        )
    if table.is_empty:
        raise InputError(f"{table.path} holds no rows; give a file with at least one example")
    return table


def read_columns(
    path: str | Path,
    format: str | None,  # noqa: A002
    config: ColumnsT,
    known: Iterable[str],
    layouts: Sequence[Layout] = (),
    *,
    labelled: bool,
) -> tuple[Table, ColumnsT]:
    """Open a table as :func:`read_table` does; return with it the settings, in which columns given by number have their names.

    Raises:
        InputError: as ``read_table``.
        UsageError: as ``read_table``.
    """
    own = {name: value for name, value in config if name not in TableConfig.model_fields and isinstance(value, str)}
    parts = {part.strip() for value in own.values() for part in (value, *value.split(","))}
    named = {part for part in parts if not part.isdecimal()}
    # Labelled, a file is a table, whatever it is called.
    table = read_table(path, format, layouts, config, Heading(None, {*known, *named}, tabs=labelled or parts > named))

    def name_of(part: str) -> str:
        number = int(part) if part.strip().isdecimal() and part not in table.columns else 0
        return table.columns[number - 1] if 0 < number <= len(table.columns) else part

    if isinstance(config, RowConfig):
        table.check_columns(id=config.id and name_of(config.id))
    changed = {name: ",".join(map(name_of, value.split(","))) for name, value in own.items() if value not in table.columns}
    return table, config.model_copy(update=changed)

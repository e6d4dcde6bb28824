"""Tables of labelled or unlabelled examples: files of any kind, in the layouts of the usual benchmarks, and Hugging Face
datasets."""

import re
from collections.abc import Sequence
from pathlib import Path

import pydantic

from bertsmith.config import Config
from bertsmith.errors import InputError
from bertsmith.sources.hub_datasets import HUB_PREFIX, open_hub_dataset
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

    @pydantic.field_validator("delimiter")
    @classmethod
    def _is_one_character(cls, value: str | None) -> str | None:
        if value is not None and (len(_DELIMITER_NAMES.get(value, value)) != 1 or value in '"\r\n'):
            raise ValueError("a delimiter is one character such as ; or the word tab")
        return value


def read_table(
    path: str | Path,
    format: str | None = None,  # noqa: A002
    layouts: Sequence[Layout] = (),
    config: TableConfig = TableConfig(),  # noqa: B008 (it never changes)
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
        table = open_table(path, format, (*layouts, *_LAYOUTS), delimiter=delimiter)
    if table.is_empty:
        raise InputError(f"{table.path} holds no rows; give a file with at least one example")
    return table

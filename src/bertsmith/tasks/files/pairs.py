"""Texts that belong together, and texts that do not: pairs, triplets and scored pairs, from tables."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bertsmith.errors import InputError
from bertsmith.sources.example_tables import IDS, id_of, read_columns
from bertsmith.sources.tables import Record, Table
from bertsmith.tasks.files.texts import KNOWN, LABELS, LAYOUTS, Columns, LeftOut, text_columns

# Before those of other tasks; the first that a table has are taken.
_LAYOUTS = (("anchor", "positive"), ("query", "positive"), ("query", "passage"), *LAYOUTS)
_KNOWN = {*KNOWN, "anchor", "positive", "query", "passage"}
_NEGATIVE = re.compile(r"negatives|negative_?\d*")


@dataclass(frozen=True, slots=True)
class PairExample:
    """Texts whose vectors are compared; ``source`` is ``file:line``.

    ``texts`` are an anchor, the text that belongs to it and any number of texts that do not; or two texts with the ``score`` of
    how alike they are; or, where nothing is to be learnt from it, one text or two.
    """

    texts: tuple[str, ...]
    score: float | None
    id: str
    source: str


def read_pairs(
    path: str | Path,
    columns: Columns,
    *,
    labelled: bool,
    format: str | None = None,  # noqa: A002
) -> Iterator[PairExample]:
    """Yield the examples of a table (see :func:`~bertsmith.sources.example_tables.read_table`).

    Labelled, a table with columns negative, negative_1, … or negatives (in JSON a list) has triplets, any other one with a
    column of labels has scored pairs, and the rest have pairs. Rows with an empty text or a label to be skipped are left
    out, and a warning says how many. Unlabelled, a row is a text or a pair.

    Raises:
        InputError: as ``read_table``; a column is missing; a score is no number; nothing is left.
        UsageError: as ``read_table``.
    """
    table, columns = read_columns(path, format, columns, _KNOWN, labelled=labelled)
    if table.format == "txt":
        columns = Columns()  # plain text has no names to choose from
    text, pair = text_columns(table, columns, _LAYOUTS)
    table.check_columns(text=text, pair=pair, label=columns.label if labelled else None)
    if not labelled:
        for number, record in enumerate(table.with_columns(text, pair, columns.id, *IDS)):
            texts = (record.text(text), *(() if pair is None else (record.text(pair),)))
            yield PairExample(texts, None, id_of(record.values, columns, number), record.source)
        return
    if pair is None:
        raise InputError(f"{table.path} has one column of texts, {text!r}, where a pair is needed; name the other with --pair")
    yield from _labelled(table, text, pair, _score_column(table, columns, (text, pair)), columns)


def _score_column(table: Table, columns: Columns, taken: tuple[str, str]) -> str | None:
    """Return the column of the scores; None where the table has triplets or plain pairs."""
    if columns.label is not None:
        return columns.label
    if any(_NEGATIVE.fullmatch(name) for name in table.columns):
        return None
    return next((name for name in LABELS if name in table.columns and name not in taken), None)


def _labelled(table: Table, text: str, pair: str, label: str | None, columns: Columns) -> Iterator[PairExample]:
    left_out, n_examples = LeftOut(), 0
    negatives = filter(_NEGATIVE.fullmatch, table.columns)
    for number, record in enumerate(table.with_columns(text, pair, label, *negatives, columns.id, *IDS)):
        value = None if label is None else record.values.get(label)
        if isinstance(value, str) and value.strip() in columns.skip_labels:
            left_out.add(f"labelled {value.strip()!r}", record.source)
            continue
        texts = (record.text(text), record.text(pair), *(() if label else _negatives(record)))
        score = None if label is None else _score(record, label)
        if not all(one.strip() for one in texts):
            left_out.add("with an empty text", record.source)
            continue
        n_examples += 1
        yield PairExample(texts, score, id_of(record.values, columns, number), record.source)
    left_out.end(table.path, n_examples)


def _negatives(record: Record) -> Iterator[str]:
    """Yield the texts that do not belong to the anchor; a row may have fewer than others."""
    for name, value in record.values.items():
        if not _NEGATIVE.fullmatch(name):
            continue
        for text in value if isinstance(value, list) else [value]:
            if text is not None and record.as_text(text, name):
                yield text


def _score(record: Record, label: str) -> float:
    value = record.values.get(label)
    try:
        score = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise InputError(
            f"{record.source}: {label!r} = {value!r:.60} is no number that says how alike the texts are; for pairs without "
            "scores, leave the column out"
        )
    return score

"""Texts and pairs of texts with their labels, from tables in the layouts of the usual benchmarks or with columns named."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertsmith.errors import InputError
from bertsmith.sources.example_tables import IDS, RowConfig, id_of, read_columns
from bertsmith.sources.headers import roles_of
from bertsmith.sources.tables import Record, Table, quoted
from bertsmith.tasks.files.labels import LabelCell, LabelNotes, LabelReading, Tallied, one_class

_log = logging.getLogger("bertsmith")

# Columns of a text and its pair; the first that a table has are taken.
LAYOUTS: tuple[tuple[str, str | None], ...] = (
    ("#1 String", "#2 String"),  # MRPC
    ("question1", "question2"),  # QQP
    ("question", "sentence"),  # QNLI
    ("question", "answer"),  # WikiQA
    ("sentence1", "sentence2"),  # MNLI, RTE, WNLI, STS-B, PAWS; OCNLI, CMNLI, AFQMC, LCQMC
    ("premise", "hypothesis"),  # SNLI and MNLI of the hub, XNLI, ANLI
    ("sentence_A", "sentence_B"),  # SICK
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("title1_zh", "title2_zh"),  # fake-news pairs
    ("word1", "word2"),
    ("sentence", None),  # SST-2, CoLA; TNEWS
    ("text_a", None),  # ChnSentiCorp
    ("text", None),  # AG News, IMDB, Yelp
    ("review", None),
    ("content", None),
    ("comment_text", None),  # Jigsaw
)
LABELS = ("Quality", "is_duplicate", "gold_label", "label", "labels", "score", "similarity_score", "sentiment")
KNOWN = {*LABELS, *IDS, *(name for layout in LAYOUTS for name in layout if name)}


class Columns(RowConfig):
    """Which columns of the data hold what."""

    text: str | None = None
    """Column of the text; found by itself in the layouts of the usual benchmarks."""
    pair: str | None = None
    """Column of the second text of a pair; given with --format txt, lines are a text, a tab and its pair."""
    label: str | None = None
    """Column of the label; found by itself in the layouts of the usual benchmarks. For several labels also columns of a 1 or a
    0 each, with commas between their names."""
    skip_labels: tuple[str, ...] = ("-",)
    """Labels whose rows are left out; "-" marks those on which annotators did not agree."""


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text, or a pair of texts, with its label.

    ``label`` is None when unlabelled, else what the reading of labels makes of the cell: the name of a class, a list of names,
    or a number. ``id`` is what the column of ids
    says, or else the row's number from 0. ``source`` is ``file:line``.
    """

    text: str
    pair: str | None
    label: Any
    id: str
    source: str


def read_texts(
    path: str | Path,
    columns: Columns,
    *,
    labelled: bool,
    format: str | None = None,  # noqa: A002
    read_label: LabelReading = one_class,
    label_columns: Sequence[str] = (),
) -> Iterator[TextExample]:
    """Open a table (see :func:`~bertsmith.sources.example_tables.read_table`) and return its examples, read lazily.

    Unlabelled, every row is an example. Labelled, rows with an empty text or a label of ``columns.skip_labels`` are left out;
    a warning at the end says how many; another one, which labels are read otherwise than they are written. ``read_label`` says
    what a cell of the column of labels means. Where no such column is named, and the table has all ``label_columns``, what
    stands in these is the label, by their names.

    Raises:
        InputError: as ``read_table``; a column is missing or none found, here; from the examples, a text that is none, a
            missing or impossible label, or no example left.
        UsageError: as ``read_table``.
    """
    table, columns = read_columns(path, format, columns, KNOWN, labelled=labelled)
    if table.format == "txt":
        # Plain text has no names to choose from, whatever those of the training file were.
        columns = columns.model_copy(update={"text": "text"})
        if columns.pair is not None:
            table = _split_at_tabs(table, columns.pair)
    names = label_columns if columns.label is None else [name.strip() for name in columns.label.split(",")]
    if labelled and len(names) > 1 and columns.label not in table.columns and set(names) <= set(table.columns):
        columns = columns.model_copy(update={"label": ",".join(names)})
        table = _with_listed_label(table, ",".join(names), names)
    chosen = _choose(table, columns, labelled)
    rows = enumerate(table.with_columns(chosen.text, chosen.pair, chosen.label, columns.id, *IDS))
    if labelled:
        return _labelled(table.path, rows, chosen, read_label)
    return (_example(record, chosen, number, None) for number, record in rows)


def _split_at_tabs(table: Table, pair: str) -> Table:
    def split(record: Record) -> Record:
        fields = record.values["text"].split("\t")
        if len(fields) != 2:
            raise InputError(f"{record.source} has {len(fields) - 1} tabs where one is expected, between a text and its pair")
        return replace(record, values={"text": fields[0], pair: fields[1]})

    return replace(table, columns=("text", pair), read=lambda _: map(split, table.rows))


def _with_listed_label(table: Table, label: str, names: Sequence[str]) -> Table:
    """Return the table with a column of what stands in several others, by their names."""

    def joined(record: Record) -> Record:
        return replace(record, values={**record.values, label: {name: record.values.get(name) for name in names}})

    return replace(table, columns=(*table.columns, label), read=lambda wanted: map(joined, table.with_columns(*wanted, *names)))


# Which columns.


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The columns to read; ``label`` is None where labels are not asked for."""

    text: str
    pair: str | None
    label: str | None
    config: Columns


def _choose(table: Table, columns: Columns, labelled: bool) -> _Chosen:
    text, pair = text_columns(table, columns, LAYOUTS)
    label = (columns.label or _known_label(table, (text, pair))) if labelled else None
    table.check_columns(text=text, pair=pair, label=label)
    return _Chosen(text, pair, label, columns)


def text_columns(table: Table, columns: Columns, layouts: Sequence[tuple[str, str | None]]) -> tuple[str, str | None]:
    """Return the columns given for the texts, or those of the first of the layouts that the table has.

    Raises:
        InputError: the table has none of the layouts.
    """
    if columns.text is not None:
        return columns.text, columns.pair
    if table.sample:
        text, pair, label = _numbered(table)
        found = {"text": text, "pair": pair, "label": label}
        _log.info("%s is read as %s", table.path, " ".join(f"--{role} {name}" for role, name in found.items() if name))
        return text, columns.pair or pair
    for text, pair in layouts:
        if text in table.columns and (pair is None or pair in table.columns):
            return text, columns.pair or pair
    raise InputError(
        f"{table.path}: none of its columns is known to hold the text; its columns are {quoted(table.columns)}; "
        "say which with --text (and --pair, --label), or --no-header if the first row is data"
    )


def _numbered(table: Table) -> tuple[str, str | None, str | None]:
    """Return what seem to be the text, its pair and the label of a table whose columns have no names."""
    roles = roles_of(table.sample)
    if roles is None:
        first = ", ".join(f"{name} ({field!r:.40})" for name, field in zip(table.columns, table.sample[0], strict=True))
        raise InputError(
            f"{table.path}: no row names the columns, and what they hold is not clear: {first}; say which with --text 1 "
            "--label 2 (and --pair)"
        )
    text, pair = (*(table.columns[place] for place in roles.texts), None)[:2]
    return str(text), pair, None if roles.label is None else table.columns[roles.label]


def _known_label(table: Table, taken: Sequence[str | None]) -> str:
    if table.sample and (found := _numbered(table)[2]) is not None and found not in taken:
        return found
    for label in LABELS:
        if label in table.columns and label not in taken:
            return label
    raise InputError(
        f"{table.path}: none of its columns is known to hold the label; its columns are {quoted(table.columns)}; "
        "say which with --label"
    )


# Examples.


class LeftOut(Tallied):
    """Counts the rows of a table that are left out."""

    def end(self, path: str, n_examples: int) -> None:
        """Say what was left out, if anything was; :class:`InputError` if no examples are left."""
        if self.counts:
            _log.warning("%s: left out %d rows: %s", path, sum(self.counts.values()), self)
        if not n_examples:
            raise InputError(f"{path} holds no labelled example: every row was left out")


def _labelled(
    path: str, rows: Iterable[tuple[int, Record]], chosen: _Chosen, read_label: LabelReading
) -> Iterator[TextExample]:
    assert chosen.label is not None
    n_examples, left_out, notes = 0, LeftOut(), LabelNotes()
    for number, record in rows:
        value = record.values.get(chosen.label)
        label = read_label(LabelCell(value, chosen.label, record.source), notes)
        example = _example(record, chosen, number, label)
        if not example.text.strip() or (example.pair is not None and not example.pair.strip()):
            left_out.add("with an empty text", record.source)
        elif (written := value.strip() if isinstance(value, str) else label) in chosen.config.skip_labels:
            left_out.add(f"labelled {written!r}", record.source)
        else:
            n_examples += 1
            yield example
    notes.report(path)
    left_out.end(path, n_examples)


def _example(record: Record, chosen: _Chosen, number: int, label: Any | None) -> TextExample:
    pair = None if chosen.pair is None else record.text(chosen.pair)
    return TextExample(record.text(chosen.text), pair, label, id_of(record.values, chosen.config, number), record.source)

"""Queries with the candidates to be ranked for them, from tables: a row a candidate, triples, or lists in one row."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from bertsmith.errors import InputError
from bertsmith.sources.example_tables import RowConfig, read_columns
from bertsmith.sources.tables import Layout, Record, Table, quoted
from bertsmith.sources.written_lists import written_list

# Names of columns, compared without capitals and underscores; the first that a table has is taken.
_QUERIES = ("query", "question", "anchor", "查询", "问题")
_CANDIDATES: tuple[str, ...] = ("candidate", "candidates", "passage", "passages", "answer", "answers", "document", "documents")
_CANDIDATES += ("docs", "sentence", "text", "候选", "段落", "答案", "句子")
_LABELS = ("label", "labels", "relevance", "relevances", "score", "scores", "isselected", "标签", "相关性")
_POSITIVES, _NEGATIVES = ("positive", "positives", "pos", "正例"), ("negative", "negatives", "neg", "负例")
_QUERY_IDS = ("qid", "queryid", "questionid")
_CANDIDATE_IDS = ("pid", "docid", "candidateid", "passageid", "answerid", "sentenceid")
_KNOWN = {*_QUERIES, *_CANDIDATES, *_LABELS, *_POSITIVES, *_NEGATIVES, *_QUERY_IDS, *_CANDIDATE_IDS}


def _triples() -> re.Pattern[str]:
    """Return the pattern of a first row that is no header: three fields, none a known name, and one that no name looks like.

    No name has words with blanks between them, letters beyond ASCII or the end of a sentence. The first field is no id, and
    the third no label, which is a number behind a candidate that is none.
    """
    known = "|".join("_*".join(map(re.escape, name)) for name in sorted(_KNOWN))
    header = rf"(?:[^\t]*\t)*\s*(?:{known})\s*(?:\t|$)"
    label = r"[^\t]*\t[^\t]*[^\t\d.][^\t]*\t[\d.]+$"
    no_name = r"[\s\S]*(?:[^\t ] +[^\t ]|[^\x00-\x7f]|[.?!])"
    return re.compile(rf"(?i)(?!{header})(?!{label})(?!\d+\t)(?={no_name})[^\t]*\S[^\t]*\t[^\t]*\S[^\t]*\t[^\t]*\S[^\t]*")


_TRIPLES = Layout("MS MARCO, triples.train", _triples(), ("query", "positive", "negative"))


class RankColumns(RowConfig):
    """Which columns of the data hold what."""

    query: str | None = None
    """Column of the query; found by itself under the usual names."""
    candidate: str | None = None
    """Column of a candidate, or of JSON of the list of them; found by itself under the usual names."""
    label: str | None = None
    """Column of how relevant a candidate is, 0 for not at all, or the list of that; found by itself under the usual names."""


@dataclass(frozen=True, slots=True)
class RankExample:
    """A query, its candidates, and how relevant each is, 0 for not at all (None where it is not known).

    ``id`` and ``candidate_ids`` are what the file says, or else numbers from 0. ``source`` is ``file:line`` of its beginning.
    """

    query: str
    candidates: tuple[str, ...]
    relevances: tuple[float, ...] | None
    id: str
    candidate_ids: tuple[str, ...]
    source: str


def read_queries(
    path: str | Path,
    columns: RankColumns,
    *,
    labelled: bool,
    format: str | None = None,  # noqa: A002
) -> Iterator[RankExample]:
    """Open a table (see :func:`~bertsmith.sources.example_tables.read_table`) and return its queries.

    Rows of one candidate each belong to one query where they have the same id, or without ids the same text. Labelled, they
    are gathered from the whole file; unlabelled they must stand together, and queries are read as they are asked for.

    Raises:
        InputError: as ``read_table``; columns are missing, here; from the examples, a text that is none, a missing or
            impossible label, or rows of a query that do not stand together.
        UsageError: as ``read_table``.
    """
    named = columns.query or columns.candidate or columns.label
    table, columns = read_columns(path, format, columns, _KNOWN, [] if named else [_TRIPLES], labelled=labelled)
    chosen = _choose(table, columns, labelled)
    parts = (_part(_with_lists(record, chosen), chosen) for record in table.with_columns(*astuple(chosen), "id"))
    groups = _gathered(parts) if labelled else _standing_together(parts)
    return (_joined(group, number) for number, group in enumerate(groups))


# Which columns.


@dataclass(frozen=True, slots=True)
class _ChosenColumns:
    """The columns to read: of candidates and their labels (None where these are not asked for), or of positives and
    negatives."""

    query: str
    candidate: str | None
    label: str | None
    positive: str | None
    negative: str | None
    query_id: str | None
    candidate_id: str | None


def _choose(table: Table, columns: RankColumns, labelled: bool) -> _ChosenColumns:
    known = {name.lower().replace("_", ""): name for name in table.columns}

    def find(names: Sequence[str]) -> str | None:
        return next((known[name] for name in names if name in known), None)

    table.check_columns(query=columns.query, candidate=columns.candidate, label=columns.label if labelled else None)
    query, positive, negative = columns.query or find(_QUERIES), find(_POSITIVES), find(_NEGATIVES)
    candidate = columns.candidate or (None if positive and negative else find(_CANDIDATES))
    label = (columns.label or find(_LABELS)) if labelled else None
    if query is None or not (candidate or (positive and negative)) or (candidate and labelled and not label):
        raise InputError(
            f"{table.path}: its columns {quoted(table.columns)} are not known to hold a query, a candidate and a label, or a "
            "query, a positive and a negative; say which with --query, --candidate and --label, or write such names in the "
            "first row"
        )
    if candidate:
        return _ChosenColumns(query, candidate, label, None, None, columns.id or find(_QUERY_IDS), find(_CANDIDATE_IDS))
    return _ChosenColumns(query, None, None, positive, negative, columns.id or find(_QUERY_IDS), None)


# Examples.

_Part = tuple[str, RankExample]
"""What a row says, and what it has in common with the other rows of its query."""


def _with_lists(record: Record, chosen: _ChosenColumns) -> Record:
    """Return the row with the lists that a CSV has in the text of its cells, of texts or of numbers."""
    places = (chosen.candidate, chosen.label, chosen.positive, chosen.negative)
    cells = {name: record.values.get(name) for name in places if name is not None}
    lists = {name: written_list(cell) for name, cell in cells.items() if isinstance(cell, str) and cell.startswith("[")}
    is_list = {name: items for name, items in lists.items() if items and (name == chosen.label or isinstance(items[0], str))}
    return replace(record, values={**record.values, **is_list}) if is_list else record


def _part(record: Record, chosen: _ChosenColumns) -> _Part:
    query = record.values.get(chosen.query)
    if not isinstance(query, str) or not query.strip():
        raise InputError(f"{record.source}: the query {chosen.query!r} is {query!r:.60}; write a text")
    candidates, relevances = _candidates(record, chosen)
    if not candidates:
        raise InputError(f"{record.source}: the query {query!r:.60} has no candidates; give it one or more")
    is_one = chosen.candidate is not None and isinstance(record.values[chosen.candidate], str)
    query_id = _id(record, chosen.query_id) or ("" if is_one else _id(record, "id"))
    candidate_id = _id(record, chosen.candidate_id) if is_one else ""
    part = RankExample(query, candidates, relevances, query_id, (candidate_id,) if candidate_id else (), record.source)
    return (query_id or query) if is_one else record.source, part


def _candidates(record: Record, chosen: _ChosenColumns) -> tuple[tuple[str, ...], tuple[float, ...] | None]:
    if chosen.candidate is not None:
        candidates = _texts(record, chosen.candidate)
        return candidates, None if chosen.label is None else _relevances(record, chosen.label, len(candidates))
    positives, negatives = (_texts(record, column) for column in (chosen.positive, chosen.negative) if column is not None)
    return positives + negatives, (1.0,) * len(positives) + (0.0,) * len(negatives)


def _id(record: Record, column: str | None) -> str:
    value = None if column is None else record.values.get(column)
    return "" if value is None else str(value)


def _texts(record: Record, column: str) -> tuple[str, ...]:
    value = record.values.get(column)
    return tuple(record.as_text(text, column) for text in (value if isinstance(value, list) else [value]))


def _relevances(record: Record, column: str, n_candidates: int) -> tuple[float, ...]:
    value = record.values.get(column)
    labels = value if isinstance(value, list) else [value]
    if len(labels) != n_candidates:
        raise InputError(f"{record.source} has {n_candidates} candidates and {len(labels)} labels; give each candidate one")
    return tuple(_relevance(label, f"{record.source}: the label {column!r}") for label in labels)


def _relevance(label: Any, place: str) -> float:
    try:
        value = float(label)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"{place} is {label!r:.60}; write a number, 0 where the candidate is not relevant")
    return value


def _gathered(parts: Iterable[_Part]) -> Iterable[list[RankExample]]:
    """Return the rows of each query, wherever in the file they stand."""
    groups: dict[str, list[RankExample]] = {}
    for key, part in parts:
        groups.setdefault(key, []).append(part)
    return groups.values()


def _standing_together(parts: Iterable[_Part]) -> Iterator[list[RankExample]]:
    """Yield the rows of each query, one query in memory at a time."""
    seen: set[int] = set()
    for key, group in groupby(parts, key=itemgetter(0)):
        rows = [part for _, part in group]
        if hash(key) in seen:
            raise InputError(
                f"{rows[0].source}: the rows of the query {rows[0].query!r:.60} do not stand together; sort the file by query"
            )
        seen.add(hash(key))
        yield rows


def _joined(rows: Sequence[RankExample], number: int) -> RankExample:
    """Return the rows of a query as one example, with ids where the file has none."""
    first = rows[0]
    candidates = tuple(text for row in rows for text in row.candidates)
    names = tuple(name for row in rows for name in row.candidate_ids)
    return replace(
        first,
        candidates=candidates,
        relevances=None if first.relevances is None else tuple(value for row in rows for value in row.relevances or ()),
        id=first.id or str(number),
        candidate_ids=names if len(names) == len(candidates) else tuple(map(str, range(len(candidates)))),
    )

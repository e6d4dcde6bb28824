"""Files of tagged words: CoNLL columns, CoNLL-U and JSON lines."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pydantic

from bertsmith.config import Config
from bertsmith.errors import InputError, UsageError
from bertsmith.sources.streams import extension, input_name, read_input, read_lines
from bertsmith.sources.tables import Record, open_table, unknown_column

_FORMAT_OF_SUFFIX = {".conllu": "conllu", ".jsonl": "json", ".json": "json"}
_WORDS_KEYS = ("words", "tokens")
_TAGS_KEYS = ("tags", "ner_tags", "labels")
# Only these separate columns: a word may well be another kind of white space.
_BLANKS = " \t"
# As many as CoNLL-2003 has: where there are more between blanks, they are the words of a text.
_MOST_COLUMNS = 4
Lines = Iterator[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """The words of a sentence, and their tags, or None where they have none; ``source`` is ``file:line`` of its beginning."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    source: str


class TagColumns(Config):
    """Where words and tags stand in a file."""

    word_column: int | None = pydantic.Field(default=None, ge=1)
    """Which column holds the words, counted from 1; unless given, the first (CoNLL-U: the second, FORM)."""
    tag_column: int | None = pydantic.Field(default=None, ge=1)
    """Which column holds the tags, counted from 1; unless given, the last (CoNLL-U: the fourth, UPOS; 5 is XPOS)."""
    words_key: str = "words"
    """Key of the list of words in JSON lines; "tokens" is found by itself too."""
    tags_key: str = "tags"
    """Key of the list of tags in JSON lines; "ner_tags" and "labels" are found by themselves too."""


def read_tagged(
    path: str | Path,
    columns: TagColumns,
    *,
    labelled: bool,
    format: str | None = None,  # noqa: A002
) -> Iterator[TaggedSentence]:
    """Yield the sentences of a file, or of standard input for ``-``, in bounded memory.

    The format is ``columns`` unless the extension says otherwise; the file may be compressed. JSON lines without tags are
    sentences even where they have no words, so that every line has its prediction.

    Raises:
        InputError: a file that cannot be read as its format, named with the line; or no sentence in it.
        UsageError: an unknown format.
    """
    name = input_name(path)
    format = format or _FORMAT_OF_SUFFIX.get(extension(Path(path)).lower(), "columns")  # noqa: A001
    if format == "json":
        sentences = _from_json(path, columns, labelled)
    elif format in _ROWS:
        lines = enumerate((line.removesuffix("\n") for line in read_lines(read_input(path), name)), start=1)
        sentences = _sentences(_ROWS[format](lines, name, columns, labelled), name, labelled)
    else:
        formats = ", ".join((*_ROWS, "json"))
        raise UsageError(f"unknown format {format!r}; choose one of {formats}; text for plain text without tags")
    sentence = None
    for sentence in sentences:
        yield sentence
    if sentence is None:
        raise InputError(f"{name} holds no sentence; give a file with one word a line, or its --format")


# Columns, one word a line.


class _Row(NamedTuple):
    line: int
    word: str
    tag: str | None


def _sentences(rows: Iterable[_Row | None], name: str, labelled: bool) -> Iterator[TaggedSentence]:
    """Gather the rows between breaks, which are None."""
    pending: list[_Row] = []
    for row in itertools.chain(rows, [None]):
        if row is not None:
            pending.append(row)
        elif pending:
            words = tuple(row.word for row in pending)
            tags = tuple(row.tag for row in pending if row.tag is not None) if labelled else None
            yield TaggedSentence(words, tags, f"{name}:{pending[0].line}")
            pending = []


def _places(columns: TagColumns, word: int, tag: int, labelled: bool, n_columns: int, source: str) -> tuple[int, int | None]:
    """Return the indices of word and tag in a row of ``n_columns``; ``word`` and ``tag`` are the format's own columns."""
    word, tag = columns.word_column or word, columns.tag_column or tag
    for flag, column in [("--word-column", word)] + [("--tag-column", tag)] * labelled:
        if column > n_columns:
            raise InputError(f"{source}: there is no column {column}, only {n_columns}; correct it, or choose another {flag}")
    if labelled and word == tag:
        remedy = "a tag must follow each word" if n_columns == 1 else "choose another --word-column or --tag-column"
        raise InputError(f"{source}: words and tags cannot both be column {tag} of {n_columns}; {remedy}")
    return word - 1, tag - 1 if labelled else None


def _rows_of_columns(lines: Lines, name: str, columns: TagColumns, labelled: bool) -> Iterator[_Row | None]:
    """Read columns between tabs where the first row has one, else between any blanks."""
    separator, n_columns, first_line = re.compile(""), 0, 0
    word_place: int = 0
    tag_place: int | None = None
    for number, line in lines:
        text = line.rstrip(_BLANKS)
        if not text or text.startswith("-DOCSTART-"):
            yield None
            continue
        source = f"{name}:{number}"
        if not n_columns:
            _refuse_json(text, source)
            first_row, first_line = text.strip(_BLANKS), number
            separator = re.compile(r"\t+" if "\t" in first_row else r"[ \t]+")
            n_columns = len(separator.split(first_row))
            if not labelled and columns.word_column is None and "\t" not in first_row:
                _refuse_text(first_row, n_columns, source)
            word_place, tag_place = _places(columns, 1, n_columns, labelled, n_columns, source)
        fields = separator.split(text)
        if not fields[0]:
            # The row is indented, or its word is itself a blank.
            fields = fields[1:] if len(fields) > n_columns else [text[0], *fields[1:]]
        if len(fields) != n_columns:
            raise InputError(
                f"{source}: the number of columns is {len(fields)} but {n_columns} in line {first_line}: {line!r:.60}; "
                "correct it, or say --format text if this is text without tags"
            )
        yield _Row(number, fields[word_place], None if tag_place is None else fields[tag_place])


def _refuse_json(text: str, source: str) -> None:
    if text.startswith(("{", "[")):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
        if value and isinstance(value if isinstance(value, dict) else value[0], dict):
            raise InputError(f"{source} is JSON, not columns: {text!r:.60}; give it as --format json, one object a line")


def _refuse_text(text: str, n_columns: int, source: str) -> None:
    if n_columns > _MOST_COLUMNS:
        raise InputError(
            f"{source} looks like plain text, not like columns: {text!r:.60}; say --format text, "
            f"or which of the {n_columns} columns holds the words with --word-column"
        )


def _rows_of_conllu(lines: Lines, name: str, columns: TagColumns, labelled: bool) -> Iterator[_Row | None]:
    """Read the words proper: neither ranges of them (``1-2``) nor empty nodes (``8.1``)."""
    for number, line in lines:
        source = f"{name}:{number}"
        fields = line.split("\t")
        if not line.strip(_BLANKS):
            yield None
        elif re.fullmatch("[0-9]+", fields[0]):
            word_place, tag_place = _places(columns, 2, 4, labelled, len(fields), source)
            tag = None if tag_place is None else fields[tag_place]
            if tag in ("_", ""):
                raise InputError(
                    f"{source}: the tag of {fields[word_place]!r} is missing; add it, or choose another --tag-column"
                )
            yield _Row(number, fields[word_place], tag)
        elif not line.startswith("#") and not re.fullmatch("[0-9]+[-.][0-9]+", fields[0]):
            raise InputError(
                f"{source}: {line!r:.60} is no row of CoNLL-U, whose first column is a number before a tab; "
                "correct it, or say --format columns"
            )


_ROWS: dict[str, Callable[[Lines, str, TagColumns, bool], Iterator[_Row | None]]] = {
    "columns": _rows_of_columns,
    "conllu": _rows_of_conllu,
}


# JSON, one sentence an object.


def _from_json(path: str | Path, columns: TagColumns, labelled: bool) -> Iterator[TaggedSentence]:
    for record in open_table(path, "json").rows:
        source = record.source
        words = _strings(record, columns.words_key, _WORDS_KEYS, "--words-key")
        tags = _strings(record, columns.tags_key, _TAGS_KEYS, "--tags-key") if labelled else None
        if tags is not None and len(tags) != len(words):
            raise InputError(f"{source} has {len(words)} words and {len(tags)} tags; give each word one tag")
        if tags is not None and not all(tags):
            raise InputError(f"{source}: the tag of word {tags.index('') + 1}, {words[tags.index('')]!r}, is missing; add it")
        if words or not labelled:
            yield TaggedSentence(words, tags, source)


def _strings(record: Record, key: str, known: tuple[str, ...], flag: str) -> tuple[str, ...]:
    """Return the list at ``key``; at the first there of the ``known`` keys where ``key`` is the default, the first of them."""
    found = next((name for name in (known if key == known[0] else (key,)) if name in record.values), None)
    if found is None:
        raise unknown_column(record.source, key, record.values, f"choose one with {flag}")
    values = record.values[found]
    if not isinstance(values, list):
        raise InputError(f"{record.source}: the column {found!r} holds {values!r:.60} where a list of texts is expected")
    return tuple(record.as_text(value, found) for value in values)

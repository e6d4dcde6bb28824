"""Tagged sentences in tables, JSON, CSV, TSV, Parquet and Arrow: a row a sentence with lists, or a row a word."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from bertsmith.errors import InputError
from bertsmith.sources.example_tables import read_columns
from bertsmith.sources.tables import Record, Table, unknown_column
from bertsmith.sources.written_lists import written_list
from bertsmith.tasks.files.tagged import TAGS, WORDS, TagColumns, TaggedSentence, name_of_class

# Columns of whole sentences, which are taken for the words where no other column is.
_TEXTS = ("sentence", "text")
_ROWS_LOOKED_AT = 50
SENTENCES = ("sentence", "sentence_id", "sentence #", "sent_id")

_KNOWN = {*WORDS, *TAGS, *_TEXTS, *SENTENCES}


def read_tagged_table(
    path: str | Path,
    columns: TagColumns,
    *,
    labelled: bool,
    format: str,  # noqa: A002
) -> Iterator[TaggedSentence]:
    """Yield the sentences of a table. Without tags, also those without words, so that every row has its prediction.

    A row is a sentence where words and tags are lists, lists written as text, or text with blanks between the words. Otherwise
    it is a word, and a sentence begins where the value in the column that tells them apart changes (it may stand in the first
    row of a sentence alone), or behind a row that is empty.

    Raises:
        InputError: as :func:`~bertsmith.sources.example_tables.read_table`; a column is missing; lists are none, or of two
            lengths.
    """
    table, columns = read_columns(path, format, columns, _KNOWN, labelled=labelled)
    words = _found(table, columns.words_key, (*WORDS, *_TEXTS), "--words-key")
    tags_name = _found(table, columns.tags_key, TAGS, "--tags-key") if labelled else None
    tags = None if tags_name is None else _TagColumn(tags_name, columns.tag_names)
    sentence = _sentence_column(table, columns, words)
    records = table.with_columns(words, tags_name, sentence)
    head = list(islice(records, _ROWS_LOOKED_AT))
    records = chain(head, records)
    if words.lower() not in _TEXTS and all(_is_of_a_word(record, words, tags_name, sentence) for record in head):
        yield from _of_words(records, words, tags, sentence, is_text=table.format in ("csv", "tsv", "xlsx"))
    else:
        yield from _of_sentences(records, words, tags)


def _is_of_a_word(record: Record, words: str, tags: str | None, sentence: str | None) -> bool:
    """Say whether a row may hold a single word; without a tag, or a column that tells sentences apart, its name must say so."""
    word, tag = record.values.get(words), record.values.get(tags) if tags else None
    # A word may look like a list, as [1] does.
    told = word if tag is None else tag
    if isinstance(word, list) or isinstance(told, list) or (isinstance(told, str) and written_list(told) is not None):
        return False
    if sentence is None and tags is None and words.lower() not in ("word", "token"):
        return False
    alone = (tag,) if sentence is not None else (word, tag)
    return all(len(value.split()) < 2 for value in alone if isinstance(value, str))


def _found(table: Table, key: str, known: Sequence[str], flag: str) -> str:
    """Return the column ``key``; where that is the default, the first of the ``known`` ones that the table has, in any case."""
    by_name = {column.lower(): column for column in reversed(table.columns)}
    names = known if key == known[0] else ()
    found = key if key in table.columns else next((by_name[name] for name in names if name in by_name), None)
    if found is None:
        hint = ", or say --format columns if no line names columns" if table.format == "tsv" else ""
        raise unknown_column(table.path, key, table.columns, f"choose one with {flag}{hint}")
    return found


def _sentence_column(table: Table, columns: TagColumns, words: str) -> str | None:
    if columns.sentence_key:
        table.check_columns(**{"sentence-key": columns.sentence_key})
        return columns.sentence_key
    return next((column for column in table.columns if column.lower() in SENTENCES and column != words), None)


# A row a sentence.


def _of_sentences(records: Iterator[Record], words_column: str, tags_column: "_TagColumn | None") -> Iterator[TaggedSentence]:
    for record in records:
        words = tuple(record.as_text(word, words_column) for word in _list(record, words_column, str.split))
        tags = None if tags_column is None else tags_column.all_of(record)
        if tags is not None and len(tags) != len(words):
            raise InputError(f"{record.source} has {len(words)} words and {len(tags)} tags; give each word one tag")
        if tags is not None and not all(tags):
            raise _no_tag(record, f"word {tags.index('') + 1}, {words[tags.index('')]!r},")
        if words or tags is None:
            yield TaggedSentence(words, tags, record.source)


def _list(record: Record, column: str, split: Callable[[str], list[str]]) -> list[Any]:
    """Return a list, one that is written as text, or the parts of a text."""
    if column not in record.values:
        raise unknown_column(record.source, column, record.values, "add it, or take the row out")
    value = record.values[column]
    if isinstance(value, str):
        written = written_list(value)
        value = split(value) if written is None else written
    if not isinstance(value, list):
        raise InputError(f"{record.source}: the column {column!r} holds {value!r:.60} where a list of texts is expected")
    return value


def _split_tags(text: str) -> list[str]:
    """Return what stands between blanks or, where each but the last ends with one, between commas."""
    parts = text.split()
    if parts == [","] or not all(part.endswith(",") and part != "," for part in parts[:-1]):
        return parts
    return [part for part in "".join(parts).split(",") if part]


# A row a word.


def _of_words(
    records: Iterator[Record], words: str, tags: "_TagColumn | None", sentence: str | None, *, is_text: bool
) -> Iterator[TaggedSentence]:
    n_sentences, rows = 0, []
    for _, of_one in groupby(_numbered(records, words, sentence, is_text=is_text), key=lambda pair: pair[0]):
        rows = [record for _, record in of_one]
        found = None if tags is None else tuple(_tag_of_a_word(record, words, tags) for record in rows)
        yield TaggedSentence(tuple(record.text(words) for record in rows), found, rows[0].source)
        n_sentences += 1
    if sentence is None and n_sentences == 1 and len(rows) > 1:
        raise InputError(
            f"{rows[0].path}: a row holds one word, and nothing says where a sentence begins; "
            "name the column that tells sentences apart with --sentence-key, or put an empty row between two"
        )


def _numbered(records: Iterator[Record], words: str, sentence: str | None, *, is_text: bool) -> Iterator[tuple[int, Record]]:
    """Yield the rows that hold something, each with the number of its sentence."""
    number, before, line = 0, None, 0
    for record in records:
        value: Any = record.values.get(sentence) if sentence else None
        # Blank lines of CSV and TSV are left out before, but counted.
        is_behind_blank = sentence is None and is_text and record.line > line + 1
        line = record.line
        if record.values.get(words) in (None, "") and not any(record.values.values()):
            number += 1
            continue
        if is_behind_blank or value not in (None, "", before):
            number, before = number + 1, value
        yield number, record


def _tag_of_a_word(record: Record, words: str, tags: "_TagColumn") -> str:
    tag = tags.tag(record.values[tags.name] if tags.name in record.values else record.text(tags.name), record).strip()
    if not tag:
        raise _no_tag(record, repr(record.text(words)))
    return tag


@dataclass(frozen=True, slots=True)
class _TagColumn:
    """The column of the tags, and what classes are called whose numbers stand in it."""

    name: str
    classes: tuple[str, ...]

    def all_of(self, record: Record) -> tuple[str, ...]:
        """Return the tags of a row that is a sentence."""
        return tuple(self.tag(value, record) for value in _list(record, self.name, _split_tags))

    def tag(self, value: Any, record: Record) -> str:
        """Return the tag that a value is; :class:`InputError` if it is none."""
        is_number = type(value) is int or (isinstance(value, str) and value.removeprefix("-").isdecimal())
        if not is_number or (isinstance(value, str) and not self.classes):
            return record.as_text(value, self.name)
        return name_of_class(int(value), self.classes, record.source)


def _no_tag(record: Record, word: str) -> InputError:
    return InputError(f"{record.source}: the tag of {word} is missing; add it")

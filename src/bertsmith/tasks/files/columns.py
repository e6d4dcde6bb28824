"""Files of tagged words: CoNLL columns and CoNLL-U, a word a line, and tables."""

import itertools
import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bertsmith.errors import InputError, UsageError
from bertsmith.sources.streams import UTF8, Decoding, extension, input_name, read_input, read_lines
from bertsmith.tasks.files.tagged import TAGS, WORDS, TagColumns, TaggedSentence, name_of_class
from bertsmith.tasks.files.tagged_tables import read_tagged_table
from bertsmith.text.words import is_chinese

_log = logging.getLogger("bertsmith")
_FORMAT_OF_SUFFIX = {".conllu": "conllu", ".jsonl": "json", ".json": "json", ".csv": "csv"}
_FORMAT_OF_SUFFIX |= {".xlsx": "xlsx", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}
_TABLES = ("json", "csv", "tsv", "xlsx", "parquet", "arrow")
# Only these separate columns: a word may well be another kind of white space.
_BLANKS = " \t"
# As many as CoNLL-2003 has: where there are more between blanks, they are the words of a text.
_MOST_COLUMNS = 4
_LINES_LOOKED_AT = 1000
# What columns of tags are called where no other is named.
_OTHER_TAGS = ("pos", "pos_tag", "pos_tags", "upos", "chunk")
_SENTENCE_ENDS = "。！？；…"
# What comments say of the sentence behind them, where they have as many parts as the rows have columns. A word may begin with
# a number sign too, as #source does.
_COMMENT = re.compile(r"#\s+(id|sent|sent_id|sentence|text|newdoc|newpar|doc|source)\b|#\s*[\w.-]+\s*=|#\s+[\w.-]+\s*:")
_NUMBERED = re.compile(r"#\s*\w*\s*\d+\s*")
Lines = Iterator[tuple[int, str]]


def read_tagged(
    path: str | Path,
    columns: TagColumns,
    *,
    labelled: bool,
    format: str | None = None,  # noqa: A002
) -> Iterator[TaggedSentence]:
    """Yield the sentences of a file, or of standard input for ``-``, in bounded memory.

    The format is ``columns`` unless the extension says otherwise, and for ``.tsv`` unless its first line names columns of words
    and of tags; the file may be compressed.

    Raises:
        InputError: a file that cannot be read as its format, named with the line; or no sentence in it.
        UsageError: an unknown format.
    """
    name = input_name(path)
    format = format or _format_of(path, columns.decoding)  # noqa: A001
    if format in _TABLES:
        sentences = read_tagged_table(path, columns, labelled=labelled, format=format)
    elif format in _ROWS:
        pieces = read_input(path, columns.decoding)
        lines = enumerate((line.removesuffix("\n") for line in read_lines(pieces, name)), start=1)
        documents = _Documents()
        rows = _ROWS[format](documents.counted(lines), name, columns, labelled)
        sentences = _sentences(rows, documents, name, columns, labelled)
    else:
        formats = ", ".join((*_ROWS, *_TABLES))
        raise UsageError(f"unknown format {format!r}; choose one of {formats}; text for plain text without tags")
    sentence = None
    for sentence in sentences:
        yield sentence
    if sentence is None:
        raise InputError(f"{name} holds no sentence; give a file with one word a line, or its --format")


def _format_of(path: str | Path, decoding: Decoding) -> str:
    suffix = extension(Path(path)).lower()
    if suffix == ".tsv":
        names = {name.strip().lower() for name in next(_first_lines(path, decoding), "").split("\t")}
        return "tsv" if names & set(WORDS) and names & set(TAGS) else "columns"
    return _FORMAT_OF_SUFFIX.get(suffix, "columns")


def _first_lines(path: str | Path, decoding: Decoding) -> Iterator[str]:
    """Yield the lines of a file that can be opened again later; none of a pipe or of standard input."""
    if Path(path).is_file():
        yield from read_lines(read_input(path, decoding), input_name(path))


def looks_like_text(
    path: str | Path, known_tags: Collection[str], decoding: Decoding = UTF8, *, by_characters: bool = False
) -> bool:
    """Say whether lines that might be rows of words are rather sentences.

    Of several columns: blank lines stand between all of them or none, and what stands last in them is none of the known tags.
    Of one column: most are written without blanks, as Chinese is, and end as sentences do, or are not the single characters
    that words are ``by_characters``. What its extension calls a table or CoNLL-U is no text.
    """
    if extension(Path(path)).lower() in _FORMAT_OF_SUFFIX:
        return False
    text = "".join(itertools.islice(_first_lines(path, decoding), _LINES_LOOKED_AT)).strip()
    if not text or "\t" in text:
        return False
    rows = [line.split() for line in text.split("\n")]
    if len(rows[0]) == 1:
        words = [row[0] for row in rows if row]
        return 2 * sum(_is_unparted(word, by_characters) for word in words) > len(words)
    if len(rows[0]) > _MOST_COLUMNS or any(row and row[-1] in known_tags for row in rows):
        return False
    # Blank lines stand between sentences of columns, and may stand between the lines of a text.
    return all(rows) or not any(row and following for row, following in itertools.pairwise(rows))


def _is_unparted(word: str, by_characters: bool) -> bool:
    """Say whether what stands between blanks is more Chinese words than one."""
    n_chinese = sum(map(is_chinese, word))
    return n_chinese > 1 and (by_characters or word[-1] in _SENTENCE_ENDS)


# Columns, one word a line.


class _Row(NamedTuple):
    line: int
    word: str
    tag: str | None


class _Documents:
    """Counts the documents that begin in lines while these are read."""

    def __init__(self) -> None:
        self.number = 0

    def counted(self, lines: Lines) -> Lines:
        for number, line in lines:
            self.number += line.startswith(("-DOCSTART-", "# newdoc"))
            yield number, line


def _sentences(
    rows: Iterable[_Row | None], documents: _Documents, name: str, columns: TagColumns, labelled: bool
) -> Iterator[TaggedSentence]:
    """Gather the rows between breaks, which are None."""
    pending: list[_Row] = []
    document = 0
    for row in itertools.chain(rows, [None]):
        if row is not None:
            if not pending:
                document = documents.number
            pending.append(row)
        elif pending:
            words = tuple(row.word for row in pending)
            tags = tuple(_tag(row, columns.tag_names, name) for row in pending) if labelled else None
            yield TaggedSentence(words, tags, f"{name}:{pending[0].line}", document)
            pending = []


def _tag(row: _Row, classes: Sequence[str], name: str) -> str:
    tag = row.tag or ""
    return name_of_class(int(tag), classes, f"{name}:{row.line}") if classes and tag.isdecimal() else tag


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
    for number, line in _without_comments(lines):
        text = line.rstrip(_BLANKS)
        if _is_break(text):
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
            named = _named_columns(separator.split(first_row)) if columns.header else None
            word_place, tag_place = _places(columns, *(named or (1, n_columns)), labelled, n_columns, source)
            if named:
                _log.warning("%s: %r names the columns, and is no word; take that line out if it is one", source, first_row)
                continue
        fields = separator.split(text)
        if not fields[0]:
            # The row is indented, or its word is itself a blank.
            fields = fields[1:] if len(fields) > n_columns else [text[0], *fields[1:]]
        if len(fields) != n_columns:
            raise InputError(
                f"{source}: the number of columns is {len(fields)} but {n_columns} in line {first_line}: {line!r:.60} "
                f"and {first_row!r:.60}; correct the one that is wrong, or say --format text if this is text without tags"
            )
        yield _Row(number, fields[word_place], None if tag_place is None else fields[tag_place])


def _named_columns(first_row: Sequence[str]) -> tuple[int, int] | None:
    """Return the columns of words and of tags, from 1, where the first row names them, as ``token pos ner_tag`` does."""
    names = [name.lower() for name in first_row]
    word, tag = (
        next((names.index(name) + 1 for name in known if name in names), 0) for known in (WORDS, (*TAGS, *_OTHER_TAGS))
    )
    return (word, tag) if word and tag else None


def _without_comments(lines: Lines) -> Iterator[tuple[int, str]]:
    """Leave out lines from # before a sentence that say something about it, or have not as many parts as the first row."""
    head = []
    row = None
    for number, line in lines:
        head.append((number, line))
        if not (_is_break(line) or line.startswith("#")):
            row = line
            break
    is_start = True
    for number, line in itertools.chain(head, lines):
        if not (is_start and line.startswith("#") and _is_comment(line, row)):
            yield number, line
            is_start = _is_break(line)


def _is_comment(line: str, row: str | None) -> bool:
    """Say whether a line from # is a comment, given a line that surely is a row."""
    if _COMMENT.match(line) or row is None:
        return _COMMENT.match(line) is not None
    is_number = _NUMBERED.fullmatch(line) is not None and not row.split()[-1].isdecimal()
    return _n_parts(line, row) != _n_parts(row, row) or (is_number and _n_parts(row, row) > 1)


def _is_break(line: str) -> bool:
    return not line.strip(_BLANKS) or line.startswith("-DOCSTART-")


def _n_parts(line: str, row: str) -> int:
    return len(line.strip(_BLANKS).split("\t" if "\t" in row else None))


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

"""Files of text as documents: plain text, JSON, CSV, TSV, Parquet and Arrow, each also compressed."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertsmith.config import Config
from bertsmith.errors import InputError
from bertsmith.progress import SILENT_TASK, ProgressTask
from bertsmith.sources.file_patterns import FORMATS, READ_AS, RENAME
from bertsmith.sources.streams import UTF8, Decoding, known_extension, read_text
from bertsmith.sources.tables import Layout, Record, open_table

WHOLE_FORMATS = (*FORMATS, ".md")
LONGEST_DOCUMENT = 1_000_000
_SEPARATORS = {"blank": re.compile(r"\n(?:[^\S\n]*\n)+"), "line": re.compile(r"\n"), "file": re.compile(r"(?!)")}
_REMEDY = "convert it to UTF-8, or use --errors replace to read such bytes as U+FFFD"
# Of a row, what matters is the text.
_TABLES = (Layout("of texts", re.compile(r"(?s).*"), uneven="read"),)
_log = logging.getLogger("bertsmith")


class ReaderConfig(Config):
    """How to read the input files."""

    documents: Literal["blank", "line", "file"] = "blank"
    """What separates the documents of a .txt file: blank lines, line ends, or nothing (one document a file)."""
    field: str = "text"
    """Key of a .jsonl line, or column of a .csv, .tsv, .parquet or .arrow file, that holds the text."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are not UTF-8: stop, or read them as U+FFFD."""


@dataclass(slots=True)
class Document:
    """One document, or a part of one longer than a million characters; newlines are kept."""

    text: str
    path: Path
    line: int

    @property
    def source(self) -> str:
        """``file:line`` where the document begins (``file:row`` in a Parquet or Arrow file)."""
        return f"{self.path}:{self.line}"


def read_documents(files: Sequence[Path], config: ReaderConfig, progress: ProgressTask = SILENT_TASK) -> Iterator[Document]:
    """Yield the documents of the files in order, in bounded memory; blank ones are left out.

    ``progress`` is told the bytes read of the files as they stand, so that the total is the sum of their sizes. A document
    longer than a million characters comes in parts, cut at white space, with a warning.

    Raises:
        InputError: a file that cannot be read as what its extension says, named with the line or byte; or no text at all.
    """
    parts = _Parts()
    any_text = False
    for path in files:
        documents = _read(path, config, progress, parts)
        if first := next(documents, None):
            any_text = True
            yield first
            yield from documents
        else:
            _log.warning("%s holds no text", path)
    if not any_text:
        raise InputError(f"no text in {', '.join(map(str, files[:3]))}{' and others' if len(files) > 3 else ''}")


def read_whole(path: Path, field: str) -> Iterator[Document]:
    """Yield the documents of a file as they stand, none cut or stripped: a .txt or .md file is one, each record of others.

    Raises:
        InputError: a file that cannot be read as what its extension says, or whose extension is none of ``WHOLE_FORMATS``.
    """
    if known_extension(path, (*READ_AS, ".md"), RENAME) in (".txt", ".md"):
        yield Document("".join(read_text(path)), path, 1)
    else:
        for record in _records(path, field, UTF8, SILENT_TASK):
            yield Document(record.text(field), path, record.line)


class _Parts:
    """Cuts long documents at white space; warns at the first."""

    def __init__(self) -> None:
        self._warned = False

    def cut(self, text: str, path: Path, line: int) -> tuple[str, str]:
        """Return the first part of a ``text`` longer than :data:`LONGEST_DOCUMENT`, and the rest."""
        if not self._warned:
            self._warned = True
            _log.warning("%s:%d: a document of more than a million characters; such documents are read in parts", path, line)
        middle = LONGEST_DOCUMENT // 2
        at = text.rfind("\n", middle, LONGEST_DOCUMENT)
        if at < 0:
            at = text.rfind(" ", middle, LONGEST_DOCUMENT)
        at = at + 1 if at >= 0 else LONGEST_DOCUMENT
        return text[:at], text[at:]

    def documents(self, text: str, path: Path, line: int) -> Iterable[Document]:
        """Return ``text`` as a document, or as several if it is long, without white space around them."""
        if len(text) > LONGEST_DOCUMENT:
            return self._of_long(text, path, line)
        stripped = text.strip()
        if stripped and text[0] != stripped[0]:
            line += text.count("\n", 0, text.index(stripped[0]))
        return (Document(stripped, path, line),) if stripped else ()

    def _of_long(self, text: str, path: Path, line: int) -> Iterator[Document]:
        while text:
            part, text = self.cut(text, path, line) if len(text) > LONGEST_DOCUMENT else (text, "")
            yield from self.documents(part, path, line)
            line += part.count("\n")


def _read(path: Path, config: ReaderConfig, progress: ProgressTask, parts: _Parts) -> Iterator[Document]:
    decoding, field = Decoding(config.errors, _REMEDY), config.field
    if known_extension(path, READ_AS, RENAME) == ".txt":
        yield from _from_text(read_text(path, decoding, progress), path, config, parts)
        return
    for record in _records(path, field, decoding, progress):
        yield from parts.documents(record.text(field), path, record.line)


def _records(path: Path, field: str, decoding: Decoding, progress: ProgressTask) -> Iterator[Record]:
    """Return the rows of a table that has the column, or of an empty file."""
    table = open_table(path, layouts=_TABLES, decoding=decoding, progress=progress)
    if table.columns:
        table.check_columns(field=field)
    return table.with_columns(field)


def _from_text(pieces: Iterable[str], path: Path, config: ReaderConfig, parts: _Parts) -> Iterator[Document]:
    separator = _SEPARATORS[config.documents]
    rest, line = "", 1
    for piece in pieces:
        rest += piece
        start = 0
        for match in separator.finditer(rest):
            yield from parts.documents(rest[start : match.start()], path, line)
            line += rest.count("\n", start, match.end())
            start = match.end()
        rest = rest[start:]
        while len(rest) > LONGEST_DOCUMENT:
            part, rest = parts.cut(rest, path, line)
            yield from parts.documents(part, path, line)
            line += part.count("\n")
    yield from parts.documents(rest, path, line)

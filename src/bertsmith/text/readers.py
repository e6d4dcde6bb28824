"""Files of text as documents: plain text, JSON lines, CSV, TSV and Parquet, each also compressed."""

import csv
import glob
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bertsmith.config import Config
from bertsmith.errors import InputError
from bertsmith.progress import SILENT, Task
from bertsmith.text.json_objects import json_lines
from bertsmith.text.streams import COMPRESSIONS, LONGEST_LINE, extension, open_bytes, read_lines, read_text

FORMATS = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
WHOLE_FORMATS = (*FORMATS, ".md")
LONGEST_DOCUMENT = 1_000_000
_SEPARATORS = {"blank": re.compile(r"\n(?:[^\S\n]*\n)+"), "line": re.compile(r"\n"), "file": re.compile(r"(?!)")}
_REMEDY = "convert it to UTF-8, or use --errors replace to read such bytes as U+FFFD"
_log = logging.getLogger("bertsmith")


class ReaderConfig(Config):
    """How to read the input files."""

    documents: Literal["blank", "line", "file"] = "blank"
    """What separates the documents of a .txt file: blank lines, line ends, or nothing (one document a file)."""
    field: str = "text"
    """Key of a .jsonl line, or column of a .csv, .tsv or .parquet file, that holds the text."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are not UTF-8: stop, or read them as U+FFFD."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document, or a part of one longer than a million characters; newlines are kept."""

    text: str
    path: Path
    line: int

    @property
    def source(self) -> str:
        """``file:line`` where the document begins (``file:row`` in a Parquet file)."""
        return f"{self.path}:{self.line}"


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files that ``patterns`` (files, folders, globs) name, sorted, each once.

    Of folders, searched recursively, only files with a known extension are taken.

    Raises:
        InputError: nothing named, or a pattern that is missing, matches nothing, or has an unknown extension.
    """
    if not patterns:
        raise InputError("no input files given")
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _expand(pattern):
            if not os.access(path, os.R_OK):
                raise InputError(f"cannot read {path}: permission denied")
            found.setdefault(str(path.resolve()), path)
    return sorted(found.values())


def _expand(pattern: str) -> list[Path]:
    """Return the files that one pattern names, at least one."""
    path = Path(pattern)
    # Path.glob refuses absolute patterns.
    matches = [path] if path.exists() else [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    if not matches:
        what = "matches no file" if glob.has_magic(pattern) else "does not exist"
        raise InputError(f"{pattern} {what}")
    files: list[Path] = []
    for match in matches:
        if match.is_dir():
            files += [file for file in match.rglob("*") if file.is_file() and _format(file) and file.name[0] != "."]
        elif _format(match):
            files.append(match)
        elif not glob.has_magic(pattern):
            raise InputError(f"{match} has no extension that bertsmith reads; {_known()}")
    if not files:
        raise InputError(f"{pattern} holds no file that bertsmith reads; {_known()}")
    return files


def _known() -> str:
    return f"it reads {' '.join(FORMATS)}, each also {' '.join(COMPRESSIONS)}"


def _format(path: Path) -> str | None:
    """Return the extension that says what is in the file, compression aside, or None when it is unknown."""
    suffix = extension(path)
    return suffix if suffix in FORMATS else None


def read_documents(files: Sequence[Path], config: ReaderConfig, progress: Task) -> Iterator[Document]:
    """Yield the documents of the files in order, in bounded memory; blank ones are left out.

    ``progress`` is told the bytes read of the files as they stand, so that the total is the sum of their sizes. A document
    longer than a million characters comes in parts, cut at white space, with a warning.

    Raises:
        InputError: a file that cannot be read as what its extension says, named with the line or byte; or no text at all.
    """
    parts = _Parts()
    any_text = False
    for path in files:
        text_here = False
        for document in _read(path, config, progress, parts):
            text_here = True
            yield document
        any_text |= text_here
        if not text_here:
            _log.warning("%s holds no text", path)
    if not any_text:
        raise InputError(f"no text in {', '.join(map(str, files[:3]))}{' and others' if len(files) > 3 else ''}")


def read_whole(path: Path, field: str) -> Iterator[Document]:
    """Yield the documents of a file as they stand, none cut or stripped: a .txt or .md file is one, each record of others.

    Raises:
        InputError: a file that cannot be read as what its extension says, or whose extension is none of ``WHOLE_FORMATS``.
    """
    if extension(path) not in WHOLE_FORMATS:
        raise InputError(f"{path} has no extension that is read here; these are {' '.join(WHOLE_FORMATS)}")
    with SILENT.task("", None, "bytes") as progress:
        if extension(path) in (".txt", ".md"):
            yield Document("".join(read_text(path, "strict", progress)), path, 1)
        else:
            for line, text in _records(path, ReaderConfig(field=field), progress):
                yield Document(text, path, line)


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

    def documents(self, text: str, path: Path, line: int) -> Iterator[Document]:
        """Yield ``text`` in parts, without white space around them."""
        while len(text) > LONGEST_DOCUMENT:
            part, text = self.cut(text, path, line)
            yield from self.documents(part, path, line)
            line += part.count("\n")
        stripped = text.strip()
        if stripped:
            line += text.count("\n", 0, len(text) - len(text.lstrip()))
            yield Document(stripped, path, line)


def _read(path: Path, config: ReaderConfig, progress: Task, parts: _Parts) -> Iterator[Document]:
    kind = _format(path)
    if kind is None:
        raise InputError(f"{path} has no extension that bertsmith reads; {_known()}")
    if kind == ".txt":
        yield from _from_text(read_text(path, config.errors, progress, _REMEDY), path, config, parts)
        return
    for line, text in _records(path, config, progress):
        yield from parts.documents(text, path, line)


def _records(path: Path, config: ReaderConfig, progress: Task) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file's records, each with its line or row."""
    if _format(path) == ".parquet":
        return _from_parquet(path, config, progress)
    records = _from_json_lines if _format(path) == ".jsonl" else _from_table
    return records(read_text(path, config.errors, progress, _REMEDY), path, config.field)


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


def _from_json_lines(pieces: Iterable[str], path: Path, field: str) -> Iterator[tuple[int, str]]:
    for number, record in json_lines(pieces, str(path)):
        if field not in record:
            raise InputError(
                f"{path}:{number} has no field {field!r}; its fields are {_names(record)}; choose one with --field"
            )
        text = record[field]
        if not isinstance(text, str):
            raise InputError(f"{path}:{number}: the field {field!r} holds {text!r:.60} where text is expected")
        yield number, text


def _names(fields: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in fields) or "none"


def _from_table(pieces: Iterable[str], path: Path, field: str) -> Iterator[tuple[int, str]]:
    """Read CSV with its quoting rules, or TSV, where quotes are ordinary characters."""
    csv.field_size_limit(LONGEST_LINE)
    if _format(path) == ".tsv":
        rows = csv.reader(read_lines(pieces, str(path)), delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        rows = csv.reader(read_lines(pieces, str(path)), strict=True)
    header: list[str] | None = None
    column, line = 0, 1
    try:
        for row in rows:
            if row and header is None:
                header, column = row, _column(row, field, path)
            elif row:
                if column >= len(row):
                    raise InputError(f"{path}:{line} has {len(row)} columns where the first line has {len(header or [])}")
                yield line, row[column]
            line = rows.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{line}: {error}; is a quotation mark not closed?") from None


def _column(names: Sequence[str], field: str, path: Path) -> int:
    if field not in names:
        raise InputError(f"{path} has no column {field!r}; its columns are {_names(names)}; choose one with --field")
    return names.index(field)


def _from_parquet(path: Path, config: ReaderConfig, progress: Task) -> Iterator[tuple[int, str]]:
    import pyarrow

    try:
        if path.suffix == ".parquet":
            with path.open("rb") as file:
                yield from _parquet_rows(file, path, config, progress.advance)
            return
        # Parquet is read from its end: a compressed one has to be unpacked first, onto the disk and not into memory.
        with open_bytes(path, progress) as compressed, tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(compressed, unpacked)
            yield from _parquet_rows(unpacked, path, config, lambda _: None)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except pyarrow.ArrowException as error:
        raise InputError(f"{path} is not a Parquet file, or is damaged: {error}") from None


def _parquet_rows(file: Any, path: Path, config: ReaderConfig, advance: Callable[[float], None]) -> Iterator[tuple[int, str]]:
    import pyarrow
    from pyarrow import parquet

    table = parquet.ParquetFile(file)
    kind = table.schema_arrow.types[_column(table.schema_arrow.names, config.field, path)]
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise InputError(f"{path}: the column {config.field!r} holds {kind} where text is expected")
    row, size = 0, file.seek(0, os.SEEK_END)
    for batch in table.iter_batches(batch_size=256, columns=[config.field]):
        for value in batch.column(0).cast(pyarrow.large_binary()).to_pylist():
            row += 1
            if value is None:
                raise InputError(f"{path}: row {row} has no value in the column {config.field!r}")
            try:
                text = value.decode("utf-8", config.errors)
            except UnicodeDecodeError as error:
                raise InputError(f"{path}: row {row}: invalid UTF-8 at byte {error.start}; {_REMEDY}") from None
            yield row, text
        advance(size * batch.num_rows / table.metadata.num_rows)

"""Compressed files as pieces of text, in bounded memory."""

import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from bertsmith.errors import InputError
from bertsmith.progress import Task

COMPRESSIONS = (".gz", ".zst", ".xz")
_BLOCK_BYTES = 1 << 20


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _CountedFile(io.RawIOBase):
    """A file that reports every byte read from it to a task."""

    def __init__(self, path: Path, progress: Task) -> None:
        self._file = path.open("rb", buffering=0)
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._progress.advance(count)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def open_bytes(path: Path, progress: Task) -> Iterator[_Readable]:
    """Open a file as its decompressed bytes; ``progress`` is told the bytes of the file as it stands.

    Raises:
        InputError: unreadable, truncated or damaged, here or from the body's reads.
    """
    try:
        with io.BufferedReader(_CountedFile(path, progress), _BLOCK_BYTES) as file:
            yield _decompressed(file, path.suffix)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is truncated or damaged: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _decompressed(file: Any, suffix: str) -> _Readable:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=file)
    if suffix == ".xz":
        return lzma.LZMAFile(file)
    if suffix == ".zst":
        import pyarrow

        stream: _Readable = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd")
        return stream
    bare: _Readable = file
    return bare


def read_text(path: Path, errors: Literal["strict", "replace"], progress: Task) -> Iterator[str]:
    """Yield the text of a file in pieces of about a million characters, line ends as ``\\n``, a byte-order mark left out.

    Raises:
        InputError: as :func:`open_bytes`; not UTF-8 and ``errors`` is ``"strict"``; or binary (holds NUL bytes).
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    lines = io.IncrementalNewlineDecoder(decoder, translate=True)
    offset, first = 0, True
    with open_bytes(path, progress) as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            if (nul := block.find(b"\0")) >= 0:
                raise InputError(
                    f"{path} is not text: it has a NUL byte at byte {offset + nul}; convert it to UTF-8 text or leave it out"
                )
            pending = len(decoder.getstate()[0])
            try:
                text = lines.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}: invalid UTF-8 at byte {offset - pending + error.start}; "
                    "convert the file to UTF-8, or use --errors replace to read such bytes as U+FFFD"
                ) from None
            offset += len(block)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            yield text
            if not block:
                return

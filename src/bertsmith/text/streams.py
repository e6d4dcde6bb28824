"""Files, also compressed, and standard input as pieces of text and as lines, in bounded memory."""

import codecs
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from bertsmith.errors import InputError
from bertsmith.progress import SILENT, Task

COMPRESSIONS = (".gz", ".zst", ".xz")
LONGEST_LINE = 1 << 28
_BLOCK_BYTES = 1 << 20
_CONVERT = "convert it to UTF-8"


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


def extension(path: Path) -> str:
    """Return the extension that says what is in a file, compression aside."""
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def input_name(path: str | Path) -> str:
    """Return what messages call an input: its path, or "standard input" for ``-``."""
    return "standard input" if str(path) == "-" else str(path)


def read_input(path: str | Path) -> Iterator[str]:
    """Yield the text of a file as :func:`read_text` does; of standard input for ``-``, line by line as they arrive.

    Raises:
        InputError: the file is missing or a directory; as :func:`read_text`; or a line of standard input is not UTF-8.
    """
    if str(path) == "-":
        yield from _standard_input()
        return
    if str(path).startswith("hub:"):
        raise InputError(f"{path}: datasets of the hub are for classify, multilabel, regress and choose; give a file")
    path = Path(path)
    check_is_file(path)
    with SILENT.task("", None, "bytes") as task:
        yield from read_text(path, "strict", task)


def check_is_file(path: Path) -> None:
    """Raise :class:`InputError` where there is nothing, or a directory."""
    if not path.exists():
        raise InputError(f"{path} does not exist; check its name")
    if path.is_dir():
        raise InputError(f"{path} is a directory; give a file in it")


def _standard_input() -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = decoder.decode(line, final=line[-1:] != b"\n")
        except UnicodeDecodeError as error:
            raise InputError(f"standard input:{number}: invalid UTF-8 at byte {error.start} of the line; {_CONVERT}") from None
        yield text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(pieces: Iterable[str], name: str) -> Iterator[str]:
    """Yield the whole lines of text that comes in pieces, with their ends; ``name`` is what messages call it.

    Raises:
        InputError: a line is longer than :data:`LONGEST_LINE`.
    """
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            yield f"{line}\n"
        if len(rest) > LONGEST_LINE:
            raise InputError(f"{name} has a line of more than {LONGEST_LINE:,} characters; is it what its extension says?")
    if rest:
        yield rest


def typed_lines(noun: str) -> Iterator[str]:
    """Yield the lines of standard input as they arrive, without white space around them; blank ones are left out.

    ``noun`` is what messages call such a line.

    Raises:
        InputError: a line is not UTF-8, or there is none.
    """
    line = ""
    for line in filter(None, map(str.strip, read_lines(_standard_input(), input_name("-")))):
        yield line
    if not line:
        raise InputError(f"{input_name('-')} holds no {noun}; write one a line")


def well_formed(text: str) -> str:
    """Replace lone surrogates, which JSON can escape but no encoding can carry."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_text(path: Path, errors: Literal["strict", "replace"], progress: Task, remedy: str = _CONVERT) -> Iterator[str]:
    """Yield the text of a file in pieces of about a million characters, line ends as ``\\n``, a byte-order mark left out.

    Raises:
        InputError: as :func:`open_bytes`; not UTF-8 and ``errors`` is ``"strict"``, with what its caller offers as a
            ``remedy``; or binary (holds NUL bytes).
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
                raise InputError(f"{path}: invalid UTF-8 at byte {offset - pending + error.start}; {remedy}") from None
            offset += len(block)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            yield text
            if not block:
                return

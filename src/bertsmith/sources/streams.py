"""Files, also compressed, and standard input as pieces of text and as lines, in bounded memory."""

import codecs
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from bertsmith.errors import InputError
from bertsmith.progress import SILENT_TASK, ProgressTask
from bertsmith.sources.encodings import guessed_encoding

COMPRESSIONS = (".gz", ".zst", ".xz")
LONGEST_LINE = 1 << 28
_BLOCK_BYTES = 1 << 20


_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's mark, which begins it
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LONGEST_MARK = 4


@dataclass(frozen=True, slots=True)
class Decoding:
    """How bytes are read as text: as UTF-8, or as UTF-16 or UTF-32 where a byte-order mark says so; or in another encoding."""

    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are not of the encoding: stop, or read them as U+FFFD."""
    remedy: str = "convert it to UTF-8"
    """What to do about them, for messages."""
    encoding: str | None = None
    """Any that Python knows; None for UTF-8 or what a byte-order mark says."""

    def error(self, place: str, whole: str, at: int, error: UnicodeDecodeError) -> InputError:
        """Return the error for what is not of its encoding from byte ``at`` of the ``whole``, such as "the line"."""
        byte, encoding = error.object[error.start], error.encoding.upper()
        guess = guessed_encoding(error.object, error.start) if encoding == "UTF-8" else None
        looks = f"; it looks like {guess}" if guess else ""
        return InputError(f"{place}: invalid {encoding} at byte {at} of {whole} ({byte:#04x}){looks}; {self.remedy}")


UTF8 = Decoding()


class _TextDecoder:
    """Turns the blocks of bytes of one input into text: line ends as ``\\n``, the byte-order mark left out."""

    def __init__(self, start: bytes, name: str, decoding: Decoding) -> None:
        marked = (encoding for mark, encoding in _MARKS.items() if start.startswith(mark))
        self.encoding = decoding.encoding or next(marked, "utf-8")
        codec = codecs.getincrementaldecoder("utf-8-sig" if self.encoding == "utf-8" else self.encoding)
        self._codec = codec(decoding.errors)
        self._lines = io.IncrementalNewlineDecoder(self._codec, translate=True)
        self._name, self._offset = name, 0

    def decode(self, block: bytes, *, final: bool) -> str:
        """Return the text of the next block.

        Raises:
            UnicodeDecodeError: the bytes are not of the encoding.
            InputError: a character is NUL, so that this is no text.
        """
        nul = block.find(b"\0") if self.encoding == "utf-8" else -1
        text: str = "" if nul >= 0 else self._lines.decode(block, final=final)
        if nul >= 0 or "\0" in text:
            raise _not_text(self._name, block, self._offset + max(nul, 0))
        self._offset += len(block)
        return text

    @property
    def n_pending(self) -> int:
        """Bytes of a character that is not whole yet."""
        return len(self._codec.getstate()[0])


def _not_text(name: str, block: bytes, offset: int) -> InputError:
    """Return the error for what has a NUL byte: it may be UTF-16 that does not say so."""
    for encoding in ("UTF-16LE", "UTF-16BE"):
        if _may_be(encoding, block):
            return InputError(
                f"{name} is not UTF-8: it looks like {encoding} without a byte-order mark; convert it, such as with "
                f"iconv -f {encoding} -t UTF-8"
            )
    return InputError(f"{name} is not text: it has a NUL byte at byte {offset}; convert it to UTF-8 text or leave it out")


def _may_be(encoding: str, block: bytes) -> bool:
    # Every other byte of Latin letters is NUL; what stands for Chinese is no UTF-8.
    if block.count(b"\0") <= len(block) / 4 and "\ufffd" not in block.decode("utf-8", "replace"):
        return False
    text = block[: len(block) // 2 * 2].decode(encoding, "replace")
    return len(text) > 1 and "".join(text.split()).isprintable() and "\ufffd" not in text[:-1]


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _CountedFile(io.RawIOBase):
    """A file that reports every byte read from it to a task."""

    def __init__(self, path: Path, progress: ProgressTask) -> None:
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
def open_bytes(path: Path, progress: ProgressTask) -> Iterator[_Readable]:
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


def known_extension(path: Path, extensions: Collection[str], remedy: str) -> str:
    """Return the extension of a file, compression aside; :class:`InputError` if it is none of these, or there is no file."""
    if (found := extension(path)) in extensions:
        return found
    check_is_file(path)
    known = f"known are {' '.join(extensions)}, each also {' '.join(COMPRESSIONS)}"
    raise InputError(f"{path} has no extension that says how to read it: {known}; {remedy}")


def input_name(path: str | Path) -> str:
    """Return what messages call an input: its path, or "standard input" for ``-``."""
    return "standard input" if str(path) == "-" else str(path)


def read_input(path: str | Path, decoding: Decoding = UTF8, progress: ProgressTask = SILENT_TASK) -> Iterator[str]:
    """Return the text of a file as :func:`read_text` does; of standard input for ``-``, line by line as they arrive.

    Raises:
        InputError: the file is missing or a directory; from the text, as :func:`read_text`.
    """
    if str(path) == "-":
        return _standard_input(decoding)
    if str(path).startswith("hub:"):
        raise InputError(f"{path}: datasets of the hub are for classify, multilabel, regress and choose; give a file")
    check_is_file(Path(path))
    return read_text(Path(path), decoding, progress)


def check_is_file(path: Path) -> None:
    """Raise :class:`InputError` where there is nothing, or a directory."""
    if not path.exists():
        raise InputError(f"{path} does not exist; check its name")
    if path.is_dir():
        raise InputError(f"{path} is a directory; give a file in it")


def _standard_input(decoding: Decoding) -> Iterator[str]:
    name, decoder = input_name("-"), None
    for number, line in enumerate(sys.stdin.buffer, start=1):
        decoder = decoder or _TextDecoder(line, name, decoding)
        try:
            yield decoder.decode(line, final=line[-1:] != b"\n")
        except UnicodeDecodeError as error:
            raise decoding.error(f"{name}:{number}", "the line", error.start, error) from None


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


def typed_lines(noun: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of standard input with their numbers as they arrive, without white space around; blank ones are left out.

    ``noun`` is what messages call such a line.

    Raises:
        InputError: a line is not UTF-8, or there is none.
    """
    found, lines = None, map(str.strip, read_lines(read_input("-"), input_name("-")))
    for found in filter(lambda numbered: numbered[1], enumerate(lines, start=1)):
        yield found
    if found is None:
        raise InputError(f"{input_name('-')} holds no {noun}; write one a line")


def well_formed(text: str) -> str:
    """Replace lone surrogates, which JSON can escape but no encoding can carry."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_text(path: Path, decoding: Decoding = UTF8, progress: ProgressTask = SILENT_TASK) -> Iterator[str]:
    """Yield the text of a file in pieces of about a million characters, line ends as ``\\n``, a byte-order mark left out.

    ``progress`` is told the bytes of the file as it stands.

    Raises:
        InputError: as :func:`open_bytes`; not UTF-8 where the ``decoding`` is strict; or binary (holds NUL bytes).
    """
    with open_bytes(path, progress) as file:
        block = file.read(_BLOCK_BYTES)
        while 0 < len(block) < _LONGEST_MARK and (more := file.read(_BLOCK_BYTES)):
            block += more
        decoder, offset = _TextDecoder(block, str(path), decoding), 0
        while True:
            n_pending = decoder.n_pending
            try:
                yield decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                number, at = _line_at(path, offset - n_pending + error.start)
                raise decoding.error(f"{path}:{number}", "the line", at, error) from None
            if not block:
                return
            offset += len(block)
            block = file.read(_BLOCK_BYTES)


def _line_at(path: Path, offset: int) -> tuple[int, int]:
    """Return which line of a file, and which byte of it, the byte at ``offset`` is; counting all along would take time."""
    number, at = 1, 0
    with open_bytes(path, SILENT_TASK) as file:
        while before := file.read(min(offset, _BLOCK_BYTES)):
            offset -= len(before)
            number += before.count(b"\n")
            at = len(before) - before.rfind(b"\n") - 1 if b"\n" in before else at + len(before)
    return number, at

"""JSON objects from text that comes in pieces, in one array, one a line or over several lines, in bounded memory."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from bertsmith.errors import InputError
from bertsmith.sources.streams import LONGEST_LINE, read_lines, well_formed

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NO_SPACE = re.compile(r"[^ \t\n\r]")
_DECODER = json.JSONDecoder()
_LONG = 1 << 20
_FORM = "write one object a line, or one array of objects"


def json_objects(pieces: Iterator[str], source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of one array, or those that stand one a line, each with the line on which it begins.

    Where the first one does not end on its line, objects may stand over any number of lines, one after the other. Blank
    lines are left out. Lone surrogates, which JSON can escape but no encoding can carry, are replaced.

    Raises:
        InputError: what is not valid JSON or no object; ``source`` is what messages call the text.
    """
    start = begun = ""
    for piece in pieces:
        start += piece
        begun = start.lstrip()
        if begun.startswith("[") or "\n" in begun or len(begun) > _LONG:
            break
    read = _from_lines
    if begun.startswith("["):
        read = _from_array
    elif _goes_on(begun):
        read = _one_after_the_other
    return read(chain([start], pieces), source)


def _goes_on(start: str) -> bool:
    """Say whether the value that begins here goes on behind the end of its line."""
    line, end, _ = start.partition("\n")
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return bool(end) and not line[error.pos :].strip()
    except (ValueError, RecursionError):
        pass
    return False


def _one_after_the_other(pieces: Iterator[str], source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    stream = _JsonStream(pieces, source)
    while stream.peek():
        line = stream.line
        value, text = stream.value()
        yield line, _object(value, text, f"{source}:{line}")


def _from_lines(pieces: Iterator[str], source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_lines(pieces, source), 1):
        if line.isspace():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _invalid(f"{source}:{number}", error) from None
        yield number, _object(value, line, f"{source}:{number}")


def _from_array(pieces: Iterator[str], source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    stream = _JsonStream(pieces, source)
    stream.peek()
    stream.take()
    if stream.peek() == "]":
        return
    mark = ","
    while mark == ",":
        stream.peek()
        line = stream.line
        value, text = stream.value()
        yield line, _object(value, text, f"{source}:{line}")
        mark = stream.peek()
        if mark not in (",", "]"):
            found = repr(mark) if mark else "the end of the file"
            raise InputError(f"{source}:{stream.line} is not valid JSON: {found} where ',' or ']' is expected; {_FORM}")
        stream.take()
    if rest := stream.peek():
        raise InputError(f"{source}:{stream.line} is not valid JSON: {rest!r} after the end of the array; {_FORM}")


def _object(value: Any, text: str, place: str) -> dict[str, Any]:
    """Return the ``value`` that ``text`` says if it is an object."""
    if not isinstance(value, dict):
        raise InputError(f"{place} holds {value!r:.60} where a JSON object is expected; {_FORM}")
    if _SURROGATE_ESCAPE.search(text):
        return dict(json.loads(well_formed(json.dumps(value, ensure_ascii=False))))
    return value


def _invalid(place: str, error: Exception) -> InputError:
    what = str(error)
    if isinstance(error, json.JSONDecodeError):
        rest = error.doc[error.pos : error.pos + 20]
        what = f"{error.msg}: {repr(rest) if rest.strip() else 'the text ends there'}"
    return InputError(f"{place} is not valid JSON: {what}; {_FORM}")


class _JsonStream:
    """JSON values one at a time from pieces of text; ``line`` is the one reached."""

    def __init__(self, pieces: Iterator[str], source: str) -> None:
        self._pieces, self._source = pieces, source
        self._text, self._at = "", 0
        self.line = 1

    def peek(self) -> str:
        """Go to the next character that is not white space and return it; "" at the end."""
        while not (found := _NO_SPACE.search(self._text, self._at)):
            self._advance(len(self._text))
            if not self._read_on():
                return ""
        self._advance(found.start())
        return found[0]

    def take(self) -> None:
        """Go past one character."""
        self._advance(self._at + 1)

    def value(self) -> tuple[Any, str]:
        """Go past the value that begins here and return it with its text."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if not (self._may_be_cut_short(error) and self._read_on(self._n_ahead())):
                    at = error.pos if isinstance(error, json.JSONDecodeError) else self._at
                    if self._text[at:].strip():  # otherwise what lacks its end is said where it begins
                        self._advance(at)
                    raise _invalid(f"{self._source}:{self.line}", error) from None
            else:
                text = self._text[self._at : end]
                self._advance(end)
                return value, text

    def _may_be_cut_short(self, error: Exception) -> bool:
        """Say whether reading on may cure the error: it stands within a token of the end, or in an open string."""
        if not isinstance(error, json.JSONDecodeError) or len(self._text) > LONGEST_LINE:
            return False
        return error.msg.startswith("Unterminated string") or error.pos > len(self._text) - len("\\ud83d\\ude00")

    def _n_ahead(self) -> int:
        """Return how much to read before a long value is tried again, so that each character is tried twice on average."""
        n_tried = len(self._text) - self._at
        return n_tried if n_tried > _LONG else 1

    def _read_on(self, n_characters: int = 1) -> bool:
        """Read at least so much, if there is; say whether there was anything."""
        pieces = [self._text[self._at :]]
        for piece in self._pieces:
            pieces.append(piece)
            n_characters -= len(piece)
            if n_characters <= 0:
                break
        self._text, self._at = "".join(pieces), 0
        return len(pieces) > 1

    def _advance(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

"""Documents to sentences."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import sentencex

_WIDE_SPACE = re.compile(r"[^\S\x00-\x7f]")  # sentencex 1.0 panics at white space of more than one byte
_BLANK_LINES = re.compile(r"\n\s*\n")
_CJK = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
_BREAK_IN_CJK = re.compile(f"(?<=[{_CJK}])\n(?=[{_CJK}])")
_WIDEST_WRAP = 120  # a paragraph with a longer line is not hard-wrapped
_SHORT_LINE = 0.6  # of the paragraph's width: such a line was ended on purpose
_LONG_SENTENCE = 300
_QUOTES = "\"'“”‘’«»()[]（）「」『』《》"
_WITHOUT_QUOTES = str.maketrans(_QUOTES, "″" * len(_QUOTES))
_CLOSING = re.compile("[\"'”’»)\\]）」』》]*\\s*")


def split_sentences(text: str, mode: Literal["prose", "lines"]) -> list[str]:
    """Return the sentences of a document, without white space around them; nothing is lost but white space.

    ``lines``: every non-blank line is a sentence. ``prose``: paragraphs end at blank lines, hard-wrapped lines are joined,
    and each paragraph is split by the rules of ``sentencex``.
    """
    if mode == "lines":
        found = text.split("\n")
    else:
        text = text if text.isascii() else _WIDE_SPACE.sub(" ", text)
        found = [sentence for paragraph in _paragraphs(text) for sentence in _sentences(paragraph)]
    return [stripped for sentence in found if (stripped := sentence.strip())]


def sentence_pieces(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph as they stand, with what is between them: laid end to end they are the paragraph."""
    pieces, start = [], 0
    for sentence in _sentences(_WIDE_SPACE.sub(" ", paragraph)):
        pieces.append(paragraph[start : start + len(sentence)])
        start += len(sentence)
    return [*pieces, paragraph[start:]] if start < len(paragraph) else pieces


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs, each on one line."""
    for block in _BLANK_LINES.split(text):
        lines = block.split("\n")
        width = max(map(len, lines))
        if len(lines) == 1 or width > _WIDEST_WRAP:
            yield from lines
        else:
            yield from _joined(lines, width)


def _joined(lines: list[str], width: int) -> Iterator[str]:
    """Join hard-wrapped lines."""
    paragraph = lines[0]
    for previous, line in pairwise(lines):
        if _ended_on_purpose(previous, line, width):
            yield _on_one_line(paragraph)
            paragraph = line
        else:
            paragraph = f"{paragraph.rstrip()}\n{line.lstrip()}"
    yield _on_one_line(paragraph)


def _ended_on_purpose(line: str, following: str, width: int) -> bool:
    """Whether a line, such as a heading, is so short that no wrapping made it: the next word would have fitted."""
    if len(line) >= _SHORT_LINE * width or following.lstrip()[:1].islower():
        return False
    words = following.split(maxsplit=1)
    return not words or len(line) + 1 + len(words[0]) <= width


def _on_one_line(paragraph: str) -> str:
    """Replace line ends by spaces, or by nothing between two CJK characters, which are written without."""
    return _BREAK_IN_CJK.sub("", paragraph).replace("\n", " ")


def _segments(text: str) -> list[str]:
    """Split by the rules for English, which know the full stops of all scripts."""
    try:
        return list(sentencex.segment("en", text))
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return [text]  # a fault of the library's must not end the reading of a whole corpus


def _sentences(paragraph: str) -> Iterator[str]:
    for sentence in _segments(paragraph):
        if len(sentence) <= _LONG_SENTENCE:
            yield sentence
        else:
            yield from _sentences_in_quotes(sentence)


def _sentences_in_quotes(text: str) -> Iterator[str]:
    """Split what ``sentencex`` holds together: a long quotation, or all that follows a quotation mark without its pair."""
    start = end = 0
    for sentence in _segments(text.translate(_WITHOUT_QUOTES)):
        end += len(sentence)
        if end <= start:  # nothing but marks, which went with the sentence before
            continue
        closing = None if text[end - 1].isspace() else _CLOSING.match(text, end)
        cut = closing.end() if closing else end
        yield text[start:cut]
        start = cut

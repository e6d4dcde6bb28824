"""Answers as spans of what was read, of characters and of tokens.

Dimensions: W windows, M rows that are right.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bertsmith.batches.windows import Window
from bertsmith.tasks.files.questions import Question


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` to ``end`` of what was read, and how probable they are as the answer.

    ``paragraph`` is the number of the paragraph in its article, from 1; None where the context alone was read.
    """

    text: str
    start: int
    end: int
    probability: float
    paragraph: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer, empty where the context seems to hold none, with the likeliest spans and what speaks for no answer.

    ``no_answer`` is the score of "no answer" less that of the best span; above the task's threshold, there is none.
    ``paragraph`` is as that of a :class:`Span`. Of several paragraphs, no two of the spans overlap or have the same text.
    """

    text: str
    start: int
    end: int
    probability: float
    no_answer: float
    spans: tuple[Span, ...]
    paragraph: int | None = None

    def __str__(self) -> str:
        return self.text


def distinct(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield the spans but those that overlap one before them or have its text."""
    kept: list[Span] = []
    for span in spans:
        if not any(_overlap(span, other) or span.text.casefold() == other.text.casefold() for other in kept):
            kept.append(span)
            yield span


def _overlap(one: Span, other: Span) -> bool:
    return one.paragraph == other.paragraph and one.start < other.end and other.start < one.end


# Tokens.


@dataclass(frozen=True, slots=True)
class SpanTarget:
    """What a window is of: a paragraph's number, the character spans of its tokens, the rows of the answer's ends."""

    paragraph: int | None
    offsets: npt.NDArray[np.int64]
    first: int
    last: int


def tokens_of_answer(example: Question, offsets: npt.NDArray[np.int64]) -> tuple[int, int] | None:
    """Return the first and the last token of the first answer to a question; None where there is none."""
    if not example.trainable:
        return None
    answer = example.trainable[0]
    first = int(np.searchsorted(offsets[:, 1], answer.start, side="right"))
    last = int(np.searchsorted(offsets[:, 0], answer.start + len(answer.text), side="left")) - 1
    return (first, last) if first <= last else None


def rows_of(window: Window, span: tuple[int, int] | None) -> tuple[int, int]:
    """Return the rows of a span in the window; those of ``[CLS]`` where it is not wholly in it."""
    if span is None or span[0] < window.start or span[1] >= window.stop:
        return 0, 0
    first, last = window.rows(np.array(span)).tolist()
    return first, last


def right_rows(windows: Sequence[Window], targets: Sequence[SpanTarget]) -> npt.NDArray[np.int64]:
    """Return (M, 2): the rows of the answer's ends in the windows that hold it, or of every ``[CLS]``."""
    offsets = np.cumsum([0, *(len(window.token_ids) for window in windows)])[:-1]
    rows_W2 = np.array([(target.first, target.last) for target in targets])
    holds_W = rows_W2[:, 0] > 0
    right_M2: npt.NDArray[np.int64] = (rows_W2 + offsets[:, None])[holds_W if holds_W.any() else slice(None)]
    return right_M2

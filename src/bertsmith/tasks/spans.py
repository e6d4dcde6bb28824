"""Answers as spans of what was read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


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

"""What a page shows of predictions, whatever the task: classes, labels, a number, tags, spans or choices.

``kind`` says which of them it is, by the name of the task that is known best for it.

Dimensions: T tokens of the sequence that the page shows.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ClassAnswer:
    """The probability of each class, and the likeliest."""

    labels: list[str]
    probabilities: list[float]
    label: str
    kind: Literal["classify"] = "classify"


@dataclass(frozen=True, slots=True)
class LabelsAnswer:
    """The probability of each label, those from which it is given, and those given."""

    labels: list[str]
    probabilities: list[float]
    thresholds: list[float]
    given: list[str]
    kind: Literal["multilabel"] = "multilabel"


@dataclass(frozen=True, slots=True)
class NumberAnswer:
    """The number."""

    value: float
    kind: Literal["regress"] = "regress"


@dataclass(frozen=True, slots=True)
class TaggedWord:
    """A word, characters ``start`` to ``end``, its tag, and the position of its first WordPiece where the model reads it."""

    text: str
    start: int
    end: int
    tag: str
    probability: float
    position: int | None


@dataclass(frozen=True, slots=True)
class Entity:
    """A stretch of words of one type: characters ``start`` to ``end`` of the text; of a sentence given as words, of these
    joined by blanks. The probability is the mean of its words'."""

    type: str
    text: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True)
class TagsAnswer:
    """The words with their tags, and the entities that the tags make up."""

    words: list[TaggedWord]
    entities: list[Entity]
    kind: Literal["tag"] = "tag"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters ``start`` to ``end`` of the second text and their probability."""

    text: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True)
class SpanAnswer:
    """The answer, empty where there seems to be none, the likeliest spans, and the probability of each token of the sequence
    (T,) of being the first and the last of the answer."""

    text: str
    start: int
    end: int
    probability: float
    no_answer: float
    spans: list[Stretch]
    starts: list[float]
    ends: list[float]
    kind: Literal["answer"] = "answer"


@dataclass(frozen=True, slots=True)
class RatedChoice:
    """A choice and its probability among all."""

    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class ChoiceAnswer:
    """The choices and the number of the likeliest, from 0."""

    choices: list[RatedChoice]
    number: int
    kind: Literal["choose"] = "choose"


Shown = ClassAnswer | LabelsAnswer | NumberAnswer | TagsAnswer | SpanAnswer | ChoiceAnswer

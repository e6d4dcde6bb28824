"""What a fine-tuned model answers, with what a page draws of it (Devlin et al. 2019, section 4).

Dimensions: T tokens, C labels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import Listed, Number
from bertsmith.inspection.subject import Reading
from bertsmith.tasks.choose import Chosen
from bertsmith.tasks.classify import Classified
from bertsmith.tasks.multilabel import Labelled, Multilabel
from bertsmith.tasks.rank import Ranking
from bertsmith.tasks.regress import Estimated
from bertsmith.tasks.spans import Answered
from bertsmith.tasks.tag import Tag, Tagged


@dataclass(frozen=True, slots=True)
class ClassAnswer:
    """The probability of each class, and the likeliest."""

    labels: list[str]
    probabilities: list[Number]
    label: str
    kind: Literal["classify"] = "classify"


@dataclass(frozen=True, slots=True)
class LabelsAnswer:
    """The probability of each label, those from which it is given, and those given."""

    labels: list[str]
    probabilities: list[Number]
    thresholds: list[Number]
    given: list[str]
    kind: Literal["multilabel"] = "multilabel"


@dataclass(frozen=True, slots=True)
class NumberAnswer:
    """The number."""

    value: Number
    kind: Literal["regress"] = "regress"


@dataclass(frozen=True, slots=True)
class TaggedWord:
    """A word, characters ``start`` to ``end``, its tag, and the position of its first WordPiece where the model reads it."""

    text: str
    start: int
    end: int
    tag: str
    probability: Number
    position: int | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters ``start`` to ``end`` and their probability."""

    text: str
    start: int
    end: int
    probability: Number


@dataclass(frozen=True, slots=True)
class TypedStretch:
    """An entity of a type."""

    type: str
    text: str
    start: int
    end: int
    probability: Number


@dataclass(frozen=True, slots=True)
class TagsAnswer:
    """The words with their tags, and the entities that the tags make up."""

    words: list[TaggedWord]
    entities: list[TypedStretch]
    kind: Literal["tag"] = "tag"


@dataclass(frozen=True, slots=True)
class SpanAnswer:
    """The answer, empty where there seems to be none, the likeliest spans, and the probability of each token of the sequence
    (T,) of being the first and the last of the answer."""

    text: str
    start: int
    end: int
    probability: Number
    no_answer: Number
    spans: list[Stretch]
    starts: Listed
    ends: Listed
    kind: Literal["answer"] = "answer"


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice and its probability among all."""

    text: str
    probability: Number


@dataclass(frozen=True, slots=True)
class ChoiceAnswer:
    """The choices and the number of the likeliest, from 0."""

    choices: list[Choice]
    number: int
    kind: Literal["choose"] = "choose"


TaskAnswer = ClassAnswer | LabelsAnswer | NumberAnswer | TagsAnswer | SpanAnswer | ChoiceAnswer


def task_answer(reading: Reading, choices: list[str] | None = None) -> TaskAnswer:
    """Return what a fine-tuned model answers, as its pipeline does.

    Raises:
        Refusal: the model is not fine-tuned, or its task needs a second text or choices.
    """
    pipeline = reading.subject.pipeline
    if pipeline is None:
        raise Refusal("missing", "this model was not fine-tuned for a task", view="task")
    (found,) = pipeline([_value(pipeline.task.kind, reading, choices)])
    match found:
        case Classified(label, _, probabilities):
            return ClassAnswer(list(probabilities), list(probabilities.values()), label)
        case Labelled(given, probabilities):
            assert isinstance(pipeline.task, Multilabel)
            thresholds = list(pipeline.task.thresholds) or [0.5] * len(probabilities)
            return LabelsAnswer(list(probabilities), list(probabilities.values()), thresholds, list(given))
        case Estimated(value):
            return NumberAnswer(value)
        case Ranking((candidate,)):
            return NumberAnswer(candidate.score)
        case Tagged():
            return _tags(reading, found)
        case Answered():
            return _span(reading, found)
        case Chosen(_, number, shares):
            assert choices is not None
            return ChoiceAnswer([Choice(*pair) for pair in zip(choices, shares, strict=True)], number)
    raise Refusal("missing", f"the task {pipeline.task.kind!r} is not one that this view knows", view="task")


def _value(kind: str, reading: Reading, choices: list[str] | None) -> object:
    """Return the text as the task's pipeline takes it."""
    if kind == "tag":
        return reading.text
    if kind == "choose":
        if choices is None:
            raise Refusal("needs_choices", "this model chooses between texts: give two or more choices")
        return reading.text, choices
    if reading.pair is not None:
        return reading.text, [reading.pair] if kind == "rank" else reading.pair
    if kind == "rank":
        raise Refusal("needs_pair", "a query needs a text that may be relevant to it: give it as the pair")
    if kind == "answer":
        raise Refusal("needs_pair", "a question needs a text to be answered from: give it as the pair")
    return reading.text


def _tags(reading: Reading, found: Tagged) -> TagsAnswer:
    assert reading.subject.pipeline is not None
    task = reading.subject.pipeline.task
    assert isinstance(task, Tag)
    spans = task.example(reading.text).offsets
    starts = [
        start if segment == 0 and not special else -1
        for (start, _), segment, special in zip(
            reading.encoding.offsets, reading.encoding.segment_ids, reading.is_special, strict=True
        )
    ]
    words = []
    for word, (start, end), tag, probability in zip(found.words, spans, found.tags, found.probabilities, strict=True):
        position = next((row for row, first in enumerate(starts) if start <= first < end), None)
        words.append(TaggedWord(word, start, end, tag, probability, position))
    entities = [TypedStretch(one.type, one.text, one.start, one.end, one.probability) for one in found.entities]
    return TagsAnswer(words, entities)


def _span(reading: Reading, found: Answered) -> SpanAnswer:
    head = reading.subject.model.task
    assert head is not None
    with torch.inference_mode():
        scores_T2 = head(torch.from_numpy(reading.layers[-1]), reading.batch()).softmax(0).numpy()
    spans = [Stretch(one.text, one.start, one.end, one.probability) for one in found.spans]
    starts_T, ends_T = np.ascontiguousarray(scores_T2.T)
    return SpanAnswer(found.text, found.start, found.end, found.probability, found.no_answer, spans, starts_T, ends_T)

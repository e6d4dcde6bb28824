"""Fine-tuned models answer as their pipelines do, with what a page draws besides."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import bertsmith
from bertsmith.errors import Refusal
from bertsmith.inspection.figures.attribution import attribution
from bertsmith.inspection.figures.finetuned import task_answer
from bertsmith.inspection.gallery import Gallery, TaskDescription
from bertsmith.inspection.requests import TaskRequest, checked
from bertsmith.inspection.subject import Subject
from bertsmith.inspection.suggestions import Start
from bertsmith.inspection.views import VIEWS
from bertsmith.inspection.watcher import Cancelled, Watcher
from bertsmith.model.heads.sequence import SequenceScores
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.sentence_task import SentenceTask
from bertsmith.tasks.task import Task

SaveTask = Callable[[Task], Path]
TEXT, PAIR = "the cats sees the red house.", "a small child likes the moon."


def test_classes(save_task: SaveTask) -> None:
    path = save_task(Classify(labels=("no", "yes", "perhaps")))
    found = task_answer(Subject.load(path).read(TEXT, PAIR))
    (expected,) = bertsmith.pipeline(path)([(TEXT, PAIR)])
    assert (found.kind, found.label, found.labels) == ("classify", expected.label, ["no", "yes", "perhaps"])
    assert found.probabilities == pytest.approx(list(expected.probabilities.values()))


def test_labels_and_numbers(save_task: SaveTask) -> None:
    path = save_task(Multilabel(labels=("a", "b"), thresholds=(0.1, 0.9)))
    found = task_answer(Subject.load(path).read(TEXT))
    (expected,) = bertsmith.pipeline(path)([TEXT])
    assert (found.given, found.thresholds) == (list(expected.labels), [0.1, 0.9])
    assert found.probabilities == pytest.approx(list(expected.probabilities.values()))
    path = save_task(Regress())
    (number,) = bertsmith.pipeline(path)([TEXT])
    assert task_answer(Subject.load(path).read(TEXT)).value == pytest.approx(number.score)
    path = save_task(Rank())
    (ranking,) = bertsmith.pipeline(path)([(TEXT, [PAIR])])
    assert task_answer(Subject.load(path).read(TEXT, PAIR)).value == pytest.approx(ranking.candidates[0].score)


@pytest.mark.parametrize("decoder", ["linear", "crf"])
def test_tags_stand_where_their_words_do(save_task: SaveTask, decoder: str) -> None:
    path = save_task(Tag(labels=("O", "B-X", "I-X"), scheme="iob2", units="words", decoder=decoder))
    reading = Subject.load(path).read(TEXT)
    found = task_answer(reading)
    (expected,) = bertsmith.pipeline(path)([TEXT])
    assert [(word.text, word.tag) for word in found.words] == list(zip(expected.words, expected.tags, strict=True))
    assert [TEXT[word.start : word.end] for word in found.words] == list(expected.words)
    assert [reading.encoding.tokens[word.position] for word in found.words] == [
        "the",
        "cat",
        "sees",
        "the",
        "red",
        "house",
        ".",
    ]
    assert [(one.type, one.start, one.end) for one in found.entities] == [
        (one.type, one.start, one.end) for one in expected.entities
    ]


def test_an_answer_with_its_curves(save_task: SaveTask) -> None:
    path = save_task(Answer(scorer="squad", has_no_answers=True))
    reading = Subject.load(path).read(TEXT, PAIR)
    found = task_answer(reading)
    (expected,) = bertsmith.pipeline(path)([(TEXT, PAIR)])
    assert (found.text, found.start, found.end) == (expected.text, expected.start, expected.end)
    assert [(one.text, one.start) for one in found.spans] == [(one.text, one.start) for one in expected.spans]
    logits = reading.subject.model(reading.batch()).task_logits.softmax(0)
    np.testing.assert_allclose(found.starts, logits[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.ends, logits[:, 1], atol=1e-5)


def test_choices(save_task: SaveTask) -> None:
    path, choices = save_task(Choose()), ["the moon", "a letter", "some bread"]
    found = task_answer(Subject.load(path).read(TEXT), choices)
    (expected,) = bertsmith.pipeline(path)([(TEXT, choices)])
    assert found.number == expected.number and [one.text for one in found.choices] == choices
    assert [one.probability for one in found.choices] == pytest.approx(expected.probabilities, abs=1e-5)


LONG = " ".join(["the cat sees the moon and some bread."] * 20)
SLOW: dict[str, tuple[Task, dict[str, object]]] = {
    "classify": (Classify(labels=("no", "yes")), {"text": LONG}),
    "multilabel": (Multilabel(labels=("a", "b"), thresholds=(0.1, 0.9)), {"text": LONG}),
    "regress": (Regress(), {"text": LONG}),
    "tag": (Tag(labels=("O", "B-X", "I-X"), scheme="iob2", units="words"), {"text": LONG}),
    "answer": (Answer(scorer="squad", has_no_answers=True), {"text": TEXT, "pair": LONG}),
    "choose": (Choose(), {"text": TEXT, "choices": ["the moon", "a letter", "some bread", "a child"]}),
}


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict | list):
        return [leaf for inner in (value.values() if isinstance(value, dict) else value) for leaf in _leaves(inner)]
    return [pytest.approx(value, abs=1e-4) if isinstance(value, float) else value]


@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_answer_says_how_far_it_is_and_ends_when_nobody_waits(
    save_task: SaveTask, monkeypatch: pytest.MonkeyPatch, gone: Watcher, kind: str
) -> None:
    task, values = SLOW[kind]
    gallery, view = Gallery.open([save_task(task)], Start(TEXT, None)), VIEWS["task"]
    request = checked(TaskRequest, {"model": "a", **values})
    whole = json.loads(view.ask(gallery, request))
    monkeypatch.setattr("bertsmith.inspection.watcher.TOKENS_AT_ONCE", 40)
    watcher, shares = Watcher(), []
    monkeypatch.setattr(watcher, "reach", shares.append)
    in_parts = json.loads(view.ask(gallery, request, watcher))
    assert _leaves(in_parts) == _leaves(whole)
    assert len(shares) > 1 and shares[0] == 0 and shares == sorted(set(shares)) and shares[-1] < 1
    with pytest.raises(Cancelled):
        view.ask(gallery, request, gone)


class Mood(SentenceTask[str]):
    """A task that bertsmith does not have; it says no word of pages."""

    kind: ClassVar[str] = "mood"
    usual_metric: ClassVar[str] = "accuracy"
    labels: tuple[str, ...] = ("glad", "sad", "neither")

    def head(self) -> SequenceScores:
        return SequenceScores(self.labels)

    def target(self, example: TextExample) -> int:
        return self.labels.index(example.label)

    def loss(self, logits, batch, head):
        raise NotImplementedError

    def predicted(self, logits_C) -> str:
        return self.labels[int(logits_C.argmax())]

    def outcomes(self, examples, predictions):
        raise NotImplementedError

    def scores(self, outcomes):
        raise NotImplementedError


class Verse(Mood):
    """One whose predictions are neither numbers nor of labels."""

    kind: ClassVar[str] = "verse"
    labels: tuple[str, ...] = ()

    def head(self) -> SequenceScores:
        return SequenceScores(("one", "other"))

    def decode(self, examples, samples, logits, head) -> list[str]:  # noqa: ARG002
        return ["" for _ in examples]


def test_a_task_of_ones_own_is_shown_and_explained(save_task: SaveTask) -> None:
    path = save_task(Mood())
    reading = Subject.load(path, Mood).read(TEXT)
    (expected,) = bertsmith.pipeline(path, task=Mood)([TEXT])
    logits = reading.subject.model(reading.batch()).task_logits[0]
    found = task_answer(reading)
    assert (found.kind, found.label, found.labels) == ("classify", expected, ["glad", "sad", "neither"])
    assert found.probabilities == pytest.approx(logits.softmax(0).tolist(), abs=1e-5)
    traced = attribution(reading, "erasure", "sad")
    assert traced.value == pytest.approx(float(logits[1]), abs=1e-4) and np.abs(traced.scores).max() > 0
    (described,) = Gallery([("mine", reading.subject)], [], Start(TEXT, None)).describe().models
    assert described.task == TaskDescription("mood", ["glad", "sad", "neither"], "sequence")
    assert not described.missing.keys() & {"task", "attribution"}


def test_what_cannot_be_shown_can_still_be_explained(save_task: SaveTask) -> None:
    reading = Subject.load(save_task(Verse()), Verse).read(TEXT)
    with pytest.raises(Refusal, match="the task 'verse' is not one that this view knows"):
        task_answer(reading)
    assert attribution(reading, "erasure").target in ("1", "2")


def test_what_is_needed_is_said(save_task: SaveTask, subject: Subject) -> None:
    for reading, code in (
        (subject.read(TEXT), "missing"),
        (Subject.load(save_task(Choose())).read(TEXT), "needs_choices"),
        (Subject.load(save_task(Answer(scorer="squad"))).read(TEXT), "needs_pair"),
        (Subject.load(save_task(Rank())).read(TEXT), "needs_pair"),
    ):
        with pytest.raises(Refusal) as caught:
            task_answer(reading)
        assert caught.value.code == code

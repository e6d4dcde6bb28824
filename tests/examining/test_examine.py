import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from bertsmith.errors import InputError
from bertsmith.examining.examine import examine, refuse_warnings
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.candidates import RankExample
from bertsmith.tasks.files.choices import ChoiceExample
from bertsmith.tasks.files.pairs import PairExample
from bertsmith.tasks.files.questions import GoldAnswer, Question
from bertsmith.tasks.files.tagged import TaggedSentence
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.tag_examples import of_words
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

CLASSIFY = Classify(labels=("neg", "pos"))


def rows(*pairs: tuple[str, str]) -> list[TextExample]:
    return [TextExample(text, None, label, "", f"a.csv:{line}") for line, (text, label) in enumerate(pairs, 2)]


PASSAGE, OTHER = "The cat sees a song.", "The dog sees the moon."
CONTENTS: list[tuple[Task, Any, Content]] = [
    (
        CLASSIFY,
        TextExample("a", "b", "pos", "", ""),
        Content((("a", "b"),), "pos", ("pos",)),
    ),
    (
        Multilabel(labels=("x", "y", "z"), multi_hot=False),
        TextExample("a", None, ["z", "x"], "", ""),
        Content((("a",),), "x, z", ("z", "x"), n_scored=2),
    ),
    (Regress(), TextExample("a", None, "2.50", "", ""), Content((("a",),), "2.5", number=2.5)),
    (
        Tag(labels=("O", "B-WHO", "I-WHO"), scheme="iob2"),
        of_words(TaggedSentence(("the", "cat", "sees", "Bob"), ("B-WHO", "I-WHO", "O", "B-WHO"), "")),
        Content((("the cat sees Bob",),), "B-WHO I-WHO O B-WHO", ("WHO", "WHO"), n_scored=2),
    ),
    (
        Tag(labels=("D", "N"), scheme="plain"),
        of_words(TaggedSentence(("the", "cat"), ("D", "N"), "")),
        Content((("the cat",),), "D N", ("D", "N"), n_scored=2),
    ),
    (
        Answer(has_no_answers=True),
        Question("", "who?", PASSAGE, (GoldAnswer("The cat", 0),), "", ""),
        Content((("who?", PASSAGE),), "The cat", ("with an answer",), group=PASSAGE),
    ),
    (
        Answer(has_no_answers=False),
        Question("", "who?", PASSAGE, (GoldAnswer("The cat", 0), GoldAnswer("The cat", 0)), "", ""),
        Content((("who?", PASSAGE),), "The cat", group=PASSAGE),
    ),
    (
        Choose(),
        ChoiceExample("the", ("cat", "dog"), 1, "", ""),
        Content((("the", "cat"), ("the", "dog")), "dog", ("choice 2",), group="the"),
    ),
    (
        Rank(),
        RankExample("who", ("cat", "dog"), (0.0, 2.0), "", ("0", "1"), ""),
        Content((("who", "cat"), ("who", "dog")), "0 2", ("not relevant", "relevant"), group="who"),
    ),
    (
        Rank(),
        RankExample("who", ("cat",), (0.0,), "", ("0",), ""),
        Content((("who", "cat"),), "0", ("not relevant",), group="who", n_scored=0),
    ),
    (Embed(), PairExample(("a", "b"), 4.0, "", ""), Content((("a",), ("b",)), "4", number=4.0)),
    (Embed(), PairExample(("a", "b", "c"), None, "", ""), Content((("a",), ("b",), ("c",)))),
]


@pytest.mark.parametrize(("task", "example", "content"), CONTENTS)
def test_each_task_says_what_its_examples_are(task: Task, example: Any, content: Content) -> None:
    assert task.content(example) == content


def test_rows_and_classes_are_counted() -> None:
    report = examine(CLASSIFY, {"train": rows(("a", "pos"), ("b", "pos"), ("c", "neg")), "dev": rows(("d", "neg"))})
    assert report.train.n_rows == 3
    assert list(report.train.classes.items()) == [("pos", 2), ("neg", 1)]
    assert report.majority == "pos"
    assert report.splits["dev"].classes == {"neg": 1}
    assert report.tokens is None


def test_repetitions_and_contradictions_are_told_apart() -> None:
    train = rows(("a", "pos"), ("a ", "pos"), ("b", "pos"), ("b", "neg"), ("a  b", "neg"), ("a b", "neg"), ("c", "neg"))
    facts = examine(CLASSIFY, {"train": train}).train
    assert (facts.n_repeated, facts.n_conflicting) == (2, 2)


def test_pairs_are_compared_whole() -> None:
    train = [TextExample("a", pair, label, "", "") for pair, label in (("b", "pos"), ("c", "neg"), (None, "neg"))]
    facts = examine(CLASSIFY, {"train": train}).train
    assert (facts.n_repeated, facts.n_conflicting) == (0, 0)


def test_texts_of_dev_and_test_that_are_in_training_are_counted_whatever_their_label() -> None:
    parts = {"train": rows(("a", "pos"), ("b", "neg")), "dev": rows(("a", "neg"), ("c", "pos")), "test": rows(("d", "pos"))}
    report = examine(CLASSIFY, parts)
    assert {name: facts.n_in_training for name, facts in report.splits.items()} == {"train": 0, "dev": 1, "test": 0}


def test_questions_about_a_paragraph_of_training_are_counted() -> None:
    def question(text: str, passage: str) -> Question:
        return Question("", text, passage, (), "", "")

    train, dev = [question("who?", PASSAGE)], [question("what?", PASSAGE), question("what?", OTHER)]
    facts = examine(Answer(), {"train": train, "dev": dev}).splits["dev"]
    assert (facts.n_in_training, facts.n_of_groups) == (0, 1)


def test_numbers_have_a_range_a_mean_and_a_deviation() -> None:
    train = [TextExample(str(value), None, value, "", "") for value in (0.0, 1.0, 5.0)]
    numbers = examine(Regress(), {"train": train}).train.numbers
    assert numbers is not None
    assert (numbers.lowest, numbers.highest, numbers.mean, numbers.n_different) == (0.0, 5.0, 2.0, 3)
    assert numbers.deviation == pytest.approx(2.1602, abs=1e-4)


def test_a_task_that_says_nothing_of_its_examples_is_counted_alone(tiny_tokenizer: Tokenizer) -> None:
    class Silent(Classify):
        def content(self, example: TextExample) -> Content:  # noqa: ARG002
            return Content()

    report = examine(Silent(labels=("a", "b")), {"train": rows(("a", "a"), ("b", "b")) * 200}, tiny_tokenizer)
    assert (report.train.n_rows, report.train.n_repeated, report.tokens) == (400, 0, None)
    assert not report.warnings
    assert list(report.lines())


def test_a_report_is_plain_values(tiny_tokenizer: Tokenizer) -> None:
    report = examine(CLASSIFY, {"train": rows(("a", "pos"), ("b", "neg"))}, tiny_tokenizer, 3)
    assert json.loads(json.dumps(asdict(report)))["splits"]["train"]["classes"] == {"pos": 1, "neg": 1}


def test_it_is_said_in_a_line_a_subject(tiny_tokenizer: Tokenizer) -> None:
    train = rows(("a b", "pos"), ("c", "pos"), ("c", "pos"), ("c 很", "neg"))
    report = examine(CLASSIFY, {"train": train, "dev": rows(("c", "neg"))}, tiny_tokenizer)
    assert list(report.lines()) == [
        "data: train 4 rows; dev 1 rows",
        "labels: 2 ('pos' 75.0%, 'neg' 25.0%)",
        "baseline: always 'pos' is right in 0.0% of dev",
        "tokens: median 3, 95% up to 4, longest 4, all within --max-length 128; 16.7% [UNK]",
        "same texts: 1 training rows repeat others, 0 contradict others, 1 of dev are in training",
    ]


def test_strict_names_every_warning() -> None:
    report = examine(CLASSIFY, {"train": rows(("a", "pos"), ("b", "neg")), "dev": rows(("a", "neg"))}, n_steps=2)
    with pytest.raises(InputError) as caught:
        refuse_warnings([report])
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == list(map(str, report.warnings))
    assert len(report.warnings) == 5
    refuse_warnings([replace(report, warnings=())])

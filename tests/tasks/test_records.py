"""Predictions as they are written beside what is right."""

import io
import math
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import DivergedError, UsageError
from bertsmith.tasks.files.choices import ChoiceExample
from bertsmith.tasks.files.questions import GoldAnswer, Question
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.answer import Answer, Answered
from bertsmith.tasks.kinds.choose import Choose, Chosen
from bertsmith.tasks.kinds.classify import Classified, Classify
from bertsmith.tasks.kinds.multilabel import Labelled, Multilabel
from bertsmith.tasks.kinds.regress import Estimated, Regress
from bertsmith.tasks.records import as_json, judged_record, likeliest, on_every_line, write_records
from bertsmith.tasks.task import Task


def text(label: Any) -> TextExample:
    return TextExample("one", "two", label, "7", "a.csv:3")


@pytest.mark.parametrize(
    ("task", "example", "prediction", "gold", "loss"),
    [
        (Classify(labels=("a", "b")), text("b"), Classified("a", 0.75, {"a": 0.75, "b": 0.25}), "b", math.log(4)),
        (
            Multilabel(labels=("a", "b"), multi_hot=True),
            text(["0", "1"]),
            Labelled(("a",), {"a": 0.5, "b": 0.25}),
            ["b"],
            (math.log(2) + math.log(4)) / 2,
        ),
        (Regress(), text("2.5"), Estimated(2.0), 2.5, 0.25),
        (
            Regress(labels=("a", "b")),
            text({"a": "2.5", "b": 1}),
            Estimated(3.0, {"a": 2.0, "b": 4.0}),
            {"a": 2.5, "b": 1},
            (0.25 + 9) / 2,
        ),
        (Choose(), ChoiceExample("p", ("x", "y"), 1, "7", "a.csv:3"), Chosen("x", 0, (0.75, 0.25)), 1, math.log(4)),
    ],
)
def test_what_is_right_stands_beside_it_with_the_loss(
    task: Task, example: Any, prediction: Any, gold: Any, loss: float
) -> None:
    record = judged_record(task, example, prediction)
    assert (record["line"], record["id"], record["gold"]) == (3, "7", gold)
    assert record["loss"] == pytest.approx(loss)
    if isinstance(example, TextExample):
        assert (record["text"], record["pair"]) == ("one", "two")


def test_questions_have_no_loss() -> None:
    question = Question("7", "what?", "ab", (GoldAnswer("ab", 0),), "", "a.json: question 7")
    record = judged_record(Answer(), question, Answered("b", 1, 2, 0.5, 0.0, ()))
    assert "loss" not in record and (record["text"], record["question"], record["context"]) == ("b", "what?", "ab")
    assert '"gold": [{"text": "ab", "start": 0}]' in as_json(record)


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"label": "b", "probabilities": {"a": 0.2, "b": 0.5, "c": 0.3}}, {"label": "b", "top": [("b", 0.5), ("c", 0.3)]}),
        ({"number": 1, "probabilities": (0.2, 0.5, 0.3)}, {"number": 1, "top": [(1, 0.5), (2, 0.3)]}),
        ({"candidates": [1, 2, 3]}, {"candidates": [1, 2]}),
        ({"spans": [1, 2, 3]}, {"spans": [1, 2]}),
    ],
)
def test_the_likeliest(record: dict[str, Any], found: dict[str, Any]) -> None:
    if "top" in found:
        found["top"] = [{"label": label, "probability": probability} for label, probability in found["top"]]
    assert likeliest(record, 2) == found


@pytest.mark.parametrize("record", [{"score": 1.0}, {"words": ("a",), "probabilities": (0.5,)}])
def test_nothing_to_choose_from(record: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--top-k is for models that say how likely"):
        likeliest(record, 1)


def test_every_line() -> None:
    assert [one["line"] for one in on_every_line([{"line": 2, "x": 1}, {"line": 4, "x": 1}], 6)] == [1, 2, 3, 4, 5, 6]
    assert [one["line"] for one in on_every_line([{"line": 3, "x": 1}], 0)] == [1, 2, 3]
    with pytest.raises(UsageError, match="--every-line is for files whose examples stand on lines"):
        list(on_every_line([{"id": "7"}], 6))


def test_tables() -> None:
    records = [{"line": 1}, {"line": 2, "p": {"a": 0.5}, "words": ["x", "y,z"]}, {"line": 3}]
    file = io.StringIO()
    write_records(records, Path("a.CSV"), file)
    assert file.getvalue() == '\ufeffline,p.a,words\n1,,\n2,0.5,"[""x"", ""y,z""]"\n3,,\n'
    with pytest.raises(DivergedError, match="NaN or infinite"):
        write_records([{"line": 1, "score": math.nan}], Path("a.csv"), io.StringIO())

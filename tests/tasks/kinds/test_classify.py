"""One class a text: labels and weights from the training examples, the loss, predictions and their scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bertsmith.batches.windows import Window
from bertsmith.errors import DivergedError, InputError, UsageError
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.classify import Classified, Classify
from bertsmith.tasks.task import Sample, SampleBatch

HEAD = nn.Identity()


def examples(*labels: Any) -> list[TextExample]:
    return [
        TextExample(f"text {number}", None, label, str(number), f"a.tsv:{number + 2}") for number, label in enumerate(labels)
    ]


def batch(*targets: Any) -> SampleBatch:
    window = Window(np.array([2, 7, 3]), np.zeros(3, np.int64), 0, 1, 1, (0, 1))
    return SampleBatch.collate([Sample((window,), target) for target in targets])


def predictions(task: Classify, *rows: list[float]) -> list[Classified]:
    return task.decode(examples(*["?"] * len(rows)), [], [[np.array([row], np.float32)] for row in rows], HEAD)


# Labels and weights.


def test_labels_are_in_order_numbers_by_their_value() -> None:
    assert Classify().fitted(examples("10", "9", "b", "a", "9")).labels == ("9", "10", "a", "b")
    assert Classify().fitted(examples("1", "-1", "0", "0.5")).labels == ("-1", "0", "0.5", "1")
    assert Classify(labels=("b", "a", "c")).fitted(examples("a", "b")).labels == ("b", "a", "c")


def test_one_class_is_nothing_to_learn() -> None:
    with pytest.raises(InputError, match=r"all 3 training examples have the label 'a'; two classes are needed"):
        Classify().fitted(examples("a", "a", "a"))


def test_labels_that_training_lacks_are_named_with_their_line() -> None:
    task = Classify().fitted(examples("a", "b"))
    task.check(examples("b", "b"))
    with pytest.raises(InputError, match=r"^a\.tsv:3: the label 'c' is not among those learnt in training: 'a', 'b'$"):
        task.check(examples("a", "c"))
    many = Classify().fitted(examples(*map(str, range(30))))
    with pytest.raises(InputError, match=r"'18', '19' …$"):
        many.check(examples("30"))
    with pytest.raises(InputError, match=r"a\.tsv:2: the label 'c' is not among"):
        Classify(labels=("a", "b")).fitted(examples("c", "a"))


@pytest.mark.parametrize("known", [("0", "1"), ("0.0", "1.0"), (" 0", "1 ")])
def test_labels_of_other_spellings_are_known(known: tuple[str, str]) -> None:
    task, found = Classify(labels=known), examples("0", "1")
    task.check(found)
    assert [task.target(example) for example in found] == [0, 1]
    assert task.score(found, predictions(task, [1.0, 0.0], [0.0, 1.0]))["accuracy"] == 1
    assert not task.review(found, predictions(task, [1.0, 0.0], [0.0, 1.0])).mistakes


@pytest.mark.parametrize("label", [["a", "b"], 2.5])
def test_labels_of_other_tasks(label: Any) -> None:
    with pytest.raises(InputError, match=r"a\.tsv:3: the label .* is no single class; see multilabel and regress"):
        Classify().fitted(examples("a", label))


def test_class_weights() -> None:
    assert Classify().fitted(examples("a", "b", "a")).weights == ()
    balanced = Classify(class_weights="balanced")
    assert balanced.fitted(examples("a", "a", "a", "b")).weights == (4 / 2 / 3, 4 / 2 / 1)
    assert balanced.model_copy(update={"weights": (1.0, 5.0)}).fitted(examples("a", "b", "b")).weights == (1.0, 5.0)
    with pytest.raises(UsageError, match="--weights has 3 values for 2 labels"):
        Classify(weights=(1.0, 2.0, 3.0)).fitted(examples("a", "b"))


def test_balanced_classes_weigh_the_same_in_all() -> None:
    found = Classify(class_weights="balanced").fitted(examples(*"aaaaabbc"))
    assert [weight * count for weight, count in zip(found.weights, (5, 2, 1), strict=True)] == pytest.approx([8 / 3] * 3)


# The loss.


@pytest.mark.parametrize("weights", [(), (0.5, 2.0, 1.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss(weights: tuple[float, ...], smoothing: float) -> None:
    task = Classify(labels=("a", "b", "c"), weights=weights, label_smoothing=smoothing)
    logits_BC, targets = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), [2, 0, 1, 1]
    log_probabilities_BC = logits_BC.log_softmax(1)
    own_C = torch.tensor(weights or (1.0, 1.0, 1.0))
    expected = sum(
        -(1 - smoothing) * own_C[target] * row[target] - smoothing / 3 * (own_C * row).sum()
        for row, target in zip(log_probabilities_BC, targets, strict=True)
    )
    torch.testing.assert_close(task.loss(logits_BC, batch(*targets), HEAD), expected)
    apart = sum(task.loss(logits_BC[[row]], batch(targets[row]), HEAD) for row in (3, 1, 0, 2))
    torch.testing.assert_close(apart, expected)


def test_log_probabilities_are_normalised() -> None:
    found = Classify(labels=("a", "b", "c")).log_probabilities(torch.randn(4, 3), batch(0, 0, 0, 0))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(4))


# Predictions.


def test_predictions() -> None:
    task = Classify(labels=("a", "b", "c"))
    first, second = predictions(task, [0.0, np.log(2.0), np.log(5.0)], [1000.0, 0.0, -1000.0])
    assert (str(first), first.label, first.probability) == ("c", "c", pytest.approx(5 / 8))
    assert first.probabilities == pytest.approx({"a": 1 / 8, "b": 2 / 8, "c": 5 / 8})
    assert second.probabilities == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert predictions(task) == []


def test_scores() -> None:
    task = Classify(labels=("no", "yes"))
    gold = examples("yes", "yes", "no", "no", "yes")
    found = predictions(task, [0, 1], [1, 0], [1, 0], [0, 1], [0, 1])
    assert task.outcomes(gold, found).tolist() == [[1, 1], [1, 0], [0, 0], [0, 1], [1, 1]]
    scores = task.score(gold, found)
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert scores["mcc"] == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))
    assert set(task.scores(task.outcomes(gold, found))) == {"accuracy", "macro_f1", "weighted_f1", "mcc", "f1"}
    three = Classify(labels=("a", "b", "c"))
    assert "f1" not in three.score(examples("a"), predictions(three, [1, 0, 0]))


@pytest.mark.parametrize(
    ("labels", "positive", "expected", "f1"),
    [
        (("no", "yes", "yes"), "", "no", 0.0),  # the rarer one, whatever its name
        (("no", "no", "yes"), "", "yes", 0.8),
        (("no", "yes"), "", "yes", 0.8),  # of classes as large the second
        (("no", "no", "yes"), "no", "no", 0.0),
    ],
)
def test_the_f1_of_two_classes_is_of_the_rarer_one_or_of_the_one_named(
    labels: tuple[str, ...], positive: str, expected: str, f1: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bertsmith")
    task = Classify(positive=positive).fitted(examples(*labels))
    assert task.positive == expected
    assert (f"the F1 is of the class {expected!r}, the rarer one (--positive)" in caplog.text) == (
        not positive and len(labels) == 3
    )
    gold = examples("yes", "yes", "no")
    assert task.score(gold, predictions(task, [0, 1], [0, 1], [0, 1]))["f1"] == pytest.approx(f1)


@pytest.mark.parametrize(("labels", "positive"), [(("no", "yes"), "maybe"), (("a", "b", "c"), "a")])
def test_a_positive_class_that_is_none_of_two(labels: tuple[str, ...], positive: str) -> None:
    with pytest.raises(UsageError, match=rf"--positive {positive} is not one of two classes; the classes are"):
        Classify(positive=positive).fitted(examples(*labels))


def test_a_model_that_says_nan_is_refused() -> None:
    task = Classify(labels=("no", "yes"))
    with pytest.raises(DivergedError, match="NaN"):
        task.score(examples("yes", "no"), predictions(task, [0, 1], [float("nan"), 0]))


def test_review() -> None:
    task = Classify(labels=("no", "yes"))
    gold = [TextExample("one", "two", "no", "0", ""), *examples("yes", "no", "yes")]
    review = task.review(gold, predictions(task, [0, 1], [0, 5], [0, 3], [2, 0]))
    assert [(mistake.text, mistake.expected) for mistake in review.mistakes] == [
        ("text 1", "no"),
        ("text 2", "yes"),
        ("one  ¦  two", "no"),
    ]
    assert review.mistakes[0].predicted == "yes (95%)"
    assert review.confusion is not None
    assert review.is_right is not None
    assert review.confusion.tolist() == [[0, 2], [1, 1]]
    assert review.is_right.tolist() == [False, True, False, False]
    assert review.table[1][0] == "no"
    assert review.table[2][1:] == (pytest.approx(1 / 3), pytest.approx(1 / 2), pytest.approx(2 / 5), 2)
    assert review.used == {"no": (2, 1), "yes": (2, 3)}


def test_a_file_is_read_and_recorded(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("index\tsentence\tlabel\n4\tgood\t1\n5\tbad\t0\n", encoding="utf-8")
    task = Classify()
    read = list(task.read(path, labelled=True))
    task = task.fitted(read)
    (found,) = predictions(task, [0, 1])
    record = task.record(read[0], found)
    assert (record["id"], record["label"], set(record["probabilities"])) == ("4", "1", {"0", "1"})

"""A number a text: the loss, predictions and their scores."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bertsmith.batches.windows import Window
from bertsmith.errors import DivergedError, InputError, UsageError
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.regress import Estimated, Regress
from bertsmith.tasks.task import Sample, SampleBatch

HEAD = nn.Identity()


def examples(*labels: Any) -> list[TextExample]:
    return [
        TextExample(f"text {number}", None, label, str(number), f"a.tsv:{number + 2}") for number, label in enumerate(labels)
    ]


def test_numbers() -> None:
    task = Regress().fitted(examples("1.5", 2.0, "-3e1"))
    assert [task.target(example) for example in examples("1.5", 2.0, "-3e1")] == [1.5, 2.0, -30.0]
    with pytest.raises(InputError, match=r"all 2 training examples have the number 1\.0; nothing can be learnt"):
        Regress().fitted(examples("1.0", "1"))


@pytest.mark.parametrize("label", ["good", "nan", "inf", ["1"], None])
def test_what_is_no_number_is_named_with_its_line(label: Any) -> None:
    with pytest.raises(InputError, match=r"a\.tsv:3: the label .* is no number; use classify for classes"):
        Regress().check(examples("1", label))


def test_loss() -> None:
    window = Window(np.array([2, 7, 3]), np.zeros(3, np.int64), 0, 1, 1, (0, 1))
    samples = [Sample((window,), target) for target in (1.0, -2.0)]
    loss = Regress().loss(torch.tensor([[0.5], [1.0]]), SampleBatch.collate(samples), HEAD)
    assert loss.item() == pytest.approx(0.5**2 + 3.0**2)
    with pytest.raises(UsageError, match="--r-drop compares probabilities, and regress predicts none"):
        Regress().log_probabilities(torch.zeros(2, 1), SampleBatch.collate(samples))


def test_predictions_scores_and_review() -> None:
    task, gold = Regress(), examples("1", "2", "4", "3")
    logits = [[np.array([[value]], np.float32)] for value in (1.5, 1.0, 3.0, 3.25)]
    found = task.decode(gold, [], logits, HEAD)
    assert found == [Estimated(1.5), Estimated(1.0), Estimated(3.0), Estimated(3.25)]
    assert str(found[0]) == "1.500"
    scores = task.score(gold, found)
    assert scores["pearson"] == pytest.approx(stats.pearsonr([1, 2, 4, 3], [1.5, 1.0, 3.0, 3.25]).statistic)
    assert scores["spearman"] == pytest.approx(stats.spearmanr([1, 2, 4, 3], [1.5, 1.0, 3.0, 3.25]).statistic)
    assert scores["mse"] == pytest.approx((0.25 + 1 + 1 + 0.0625) / 4)
    badness = [mistake.badness for mistake in task.review(gold, found).mistakes]
    assert badness == sorted(badness, reverse=True) == [1.0, 1.0, 0.5, 0.25]
    assert task.decode([], [], [], HEAD) == []


def test_a_model_that_says_nan_is_refused() -> None:
    with pytest.raises(DivergedError, match="NaN"):
        Regress().score(examples("1", "2"), [Estimated(1.0), Estimated(float("nan"))])

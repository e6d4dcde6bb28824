"""A number a text: the loss, predictions and their scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bertsmith.batches.windows import Window
from bertsmith.errors import DivergedError, InputError, UsageError
from bertsmith.model.bert import Heads
from bertsmith.tasks.files.texts import Columns, TextExample
from bertsmith.tasks.kinds.regress import Estimated, Regress
from bertsmith.tasks.task import Sample, SampleBatch

HEAD = nn.Identity()


def examples(*labels: Any) -> list[TextExample]:
    return [
        TextExample(f"text {number}", None, label, str(number), f"a.tsv:{number + 2}") for number, label in enumerate(labels)
    ]


def test_numbers() -> None:
    task = Regress().fitted(examples("1.5", 2.0, "-3e1"))
    assert [task.gold(example) for example in examples("1.5", 2.0, "-3e1")] == [1.5, 2.0, -30.0]
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


def test_the_head_learns_numbers_of_mean_0_and_deviation_1_and_is_saved_to_say_the_numbers_themselves(
    random_model: Any,
) -> None:
    gold = examples(10.0, 12.0, 20.0)
    task = Regress().fitted(gold)
    targets = np.array([task.target(example) for example in gold])
    np.testing.assert_allclose((targets.mean(), targets.std()), (0, 1), atol=1e-12)
    assert [task.predicted(np.array([target])).score for target in targets] == pytest.approx([10.0, 12.0, 20.0])
    head = random_model(Heads(task=task.head())).task
    hidden_BD = torch.randn(3, head.output_layer.in_features, generator=torch.Generator().manual_seed(0))
    before = [task.predicted(row).score for row in head.output_layer(hidden_BD).detach().numpy()]
    finished = task.finished(head)
    assert finished == Regress()
    after = [finished.predicted(row).score for row in head.output_layer(hidden_BD).detach().numpy()]
    assert after == pytest.approx(before, rel=1e-5)
    assert finished.target(gold[2]) == 20.0


def test_what_is_predicted_stays_within_the_bounds() -> None:
    task = Regress(bounds=(1.0, 5.0))
    assert [task.predicted(np.array([value])).score for value in (0.5, 3.0, 7.0)] == [1.0, 3.0, 5.0]
    with pytest.raises(UsageError, match="--bounds 5,1: the first must be less than the second"):
        Regress(bounds=(5.0, 1.0)).fitted(examples(1, 2))


def test_the_constant_answer_is_the_mean() -> None:
    assert Regress().constant(examples(1, 2, 6)) == Estimated(3.0)


# Several numbers.

SEVERAL = Regress(labels=("mood", "length"))


def several(*rows: tuple[Any, Any]) -> list[TextExample]:
    return examples(*({"mood": mood, "length": length} for mood, length in rows))


def test_several_numbers_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,length,mood\nx,10,1.5\ny,30,2.5\n", encoding="utf-8")
    read = list(SEVERAL.read(path, labelled=True))
    assert [SEVERAL.numbers(example).tolist() for example in read] == [[1.5, 10], [2.5, 30]]
    named = Regress(columns=Columns(label="mood,length"))
    assert named.fitted(list(named.read(path, labelled=True))).labels == ("mood", "length")
    path.write_text("text,length,mood\nx,10,1.5\ny,long,2.5\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv:3: the label 'long' is no number"):
        SEVERAL.fitted(list(SEVERAL.read(path, labelled=True)))
    with pytest.raises(InputError, match=r"a\.tsv:2: the label is '1' where mood, length are expected; see --labels"):
        SEVERAL.check(examples("1"))


def test_each_of_several_numbers_has_a_scale_of_its_own(random_model: Any) -> None:
    gold = several((1, 100), (2, 300), (3, 200))
    task = SEVERAL.fitted(gold)
    targets = np.array([task.target(example) for example in gold])
    np.testing.assert_allclose((targets.mean(0), targets.std(0)), ([0, 0], [1, 1]), atol=1e-12)
    found = [task.predicted(row) for row in targets]
    assert [one.scores for one in found] == [
        pytest.approx({"mood": mood, "length": length}) for mood, length in [(1, 100), (2, 300), (3, 200)]
    ]
    assert found[0].score == pytest.approx(50.5) and str(found[0]) == "1.000,100.000"
    head = random_model(Heads(task=task.head())).task
    hidden_BD = torch.randn(3, head.output_layer.in_features, generator=torch.Generator().manual_seed(0))
    before = [task.predicted(row).scores for row in head.output_layer(hidden_BD).detach().numpy()]
    finished = task.finished(head)
    assert finished == SEVERAL
    after = [finished.predicted(row).scores for row in head.output_layer(hidden_BD).detach().numpy()]
    assert after == [pytest.approx(one, rel=1e-4) for one in before]


def test_scores_of_several_numbers_and_their_means() -> None:
    gold = several((1, 30), (2, 20), (3, 10))
    found = [Estimated(0.0, {"mood": mood, "length": length}) for mood, length in [(1.0, 10.0), (2.0, 20.0), (4.0, 30.0)]]
    scores = SEVERAL.score(gold, found)
    assert [scores[name] for name in ("mood/spearman", "length/spearman", "spearman")] == pytest.approx([1, -1, 0])
    assert scores["mood/mse"] == pytest.approx(1 / 3) and scores["mse"] == pytest.approx((1 / 3 + 800 / 3) / 2)
    (worst, *_) = SEVERAL.review(gold, found).mistakes
    assert (worst.expected, worst.predicted) == ("3,10", "4.000,30.000")
    assert SEVERAL.record(gold[0], found[0])["scores"] == {"mood": 1.0, "length": 10.0}
    assert "scores" not in Regress().record(examples("1")[0], Estimated(1.0))
    assert SEVERAL.constant(gold).scores == {"mood": 2.0, "length": 20.0}


def test_the_loss_of_several_numbers_is_the_mean_over_them() -> None:
    window = Window(np.array([2, 7, 3]), np.zeros(3, np.int64), 0, 1, 1, (0, 1))
    batch = SampleBatch.collate([Sample((window,), np.array([1.0, 2.0]))])
    assert SEVERAL.loss(torch.tensor([[0.0, 4.0]]), batch, HEAD).item() == pytest.approx((1 + 4) / 2)

"""Scores equal scikit-learn's and SciPy's on random cases, and say so when a model is broken."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve

from bertsmith.errors import DivergedError, InputError
from bertsmith.tasks.scoring.scores import (
    calibration,
    chunk_counts,
    class_report,
    class_scores,
    confusion_matrix,
    expected_calibration_error,
    multilabel_scores,
    precision_recall_f1,
    regression_scores,
    tune_thresholds,
)
from bertsmith.tasks.tag_schemes import chunks

CLOSE = {"rtol": 0, "atol": 1e-12}


def test_class_scores_equal_scikit_learn() -> None:
    for case in range(1000):
        random = np.random.default_rng(case)
        n_classes, n = random.integers(1, 7), random.integers(1, 40)
        gold = random.integers(0, random.integers(1, n_classes + 1), n)
        predicted = np.where(random.random(n) < random.random(), gold, random.integers(0, n_classes, n))
        ours = class_scores(gold, predicted, n_classes)
        theirs = {
            "accuracy": metrics.accuracy_score(gold, predicted),
            "macro_f1": metrics.f1_score(gold, predicted, average="macro", zero_division=0),
            "weighted_f1": metrics.f1_score(gold, predicted, average="weighted", zero_division=0),
            "mcc": _matthews(gold, predicted),
        }
        assert ours.keys() == theirs.keys()
        assert np.allclose([*ours.values()], [*theirs.values()], **CLOSE), case


def _matthews(gold: np.ndarray, predicted: np.ndarray) -> float:
    # scikit-learn warns where everything is of one class.
    constant = len(set(gold)) == 1 or len(set(predicted)) == 1
    return 0.0 if constant else metrics.matthews_corrcoef(gold, predicted)


def test_class_scores_take_the_columns_of_outcomes() -> None:
    outcomes = np.array([[0, 0], [1, 1], [2, 1]], dtype=np.float64)
    assert class_scores(*outcomes.T, n_classes=3) == class_scores(*outcomes.astype(int).T, n_classes=3)


def test_class_scores_of_very_many_examples_do_not_overflow() -> None:
    gold = np.arange(4_000_000) % 2
    assert class_scores(gold, gold, 2)["mcc"] == 1.0
    assert class_scores(gold, 1 - gold, 2)["mcc"] == -1.0


def test_confusion_matrix_has_gold_in_rows() -> None:
    matrix = confusion_matrix(np.array([0, 0, 0, 1]), np.array([2, 2, 0, 1]), 3)
    assert matrix.tolist() == [[1, 0, 2], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(("gold", "predicted"), [([0, 3], [0, 0]), ([0, 0], [0, 3]), ([-1, 0], [0, 0])])
def test_numbers_that_are_no_class_are_refused(gold: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match="there are 3 classes"):
        confusion_matrix(np.array(gold), np.array(predicted), 3)


def test_class_report_equals_scikit_learn() -> None:
    random = np.random.default_rng(5)
    gold, predicted = random.integers(0, 4, 60), random.integers(1, 5, 60)
    rows = class_report(confusion_matrix(gold, predicted, 6), ["a", "b", "c", "d", "e", "never"])
    columns = metrics.precision_recall_fscore_support(gold, predicted, labels=range(6), zero_division=0)
    assert [row.label for row in rows] == ["a", "b", "c", "d", "e", "never"]
    assert np.allclose([row[1:] for row in rows], np.transpose(columns), **CLOSE)
    assert rows[5] == ("never", 0.0, 0.0, 0.0, 0)


def test_multilabel_scores_equal_scikit_learn() -> None:
    for case in range(1000):
        random = np.random.default_rng(case)
        n, n_labels = random.integers(1, 30), random.integers(2, 6)
        gold = random.random((n, n_labels)) < random.random(n_labels)
        # One decimal gives many equal probabilities.
        probabilities = random.random((n, n_labels)).round(case % 3 + 1)
        thresholds = random.random(n_labels).round(1)
        predicted = probabilities >= thresholds
        occur = gold.any(axis=0)
        precision = metrics.average_precision_score(gold[:, occur], probabilities[:, occur]) if occur.any() else 0.0
        theirs = {
            "micro_f1": metrics.f1_score(gold, predicted, average="micro", zero_division=0),
            "macro_f1": metrics.f1_score(gold, predicted, average="macro", zero_division=0),
            "average_precision": precision,
            "exact_match": metrics.accuracy_score(gold, predicted),
        }
        ours = multilabel_scores(gold, predicted, probabilities)
        assert ours.keys() == theirs.keys()
        assert np.allclose([*ours.values()], [*theirs.values()], **CLOSE), case


def test_tuned_thresholds_are_the_best_of_all() -> None:
    for case in range(60):
        random = np.random.default_rng(case)
        n = random.integers(1, 25)
        gold = random.random(n) < random.random()
        gold[random.integers(n)] = True
        probabilities = np.clip(random.random(n) * 0.7 + gold * 0.3, 0, 1).round(case % 4 + 1)
        [threshold] = tune_thresholds(gold[:, None], probabilities[:, None])
        every = [metrics.f1_score(gold, probabilities >= value) for value in probabilities]
        assert metrics.f1_score(gold, probabilities >= threshold) == pytest.approx(max(every), abs=1e-12)


def test_thresholds_lie_midway_between_probabilities() -> None:
    gold = np.array([[0], [0], [1], [1]])
    assert tune_thresholds(gold, np.array([[0.1], [0.2], [0.6], [0.7]])) == pytest.approx([0.4])


def test_a_threshold_may_let_all_examples_through() -> None:
    assert tune_thresholds(np.array([[1], [1]]), np.array([[0.2], [0.4]])) == pytest.approx([0.1])


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    # Letting one or all four through gives F1 = 2 / 3.
    gold = np.array([[1], [0], [0], [1]])
    probabilities = np.array([[0.9], [0.8], [0.7], [0.6]])
    assert tune_thresholds(gold, probabilities) == pytest.approx([0.3])
    assert tune_thresholds(gold, probabilities - 0.35) == pytest.approx([0.5])


def test_a_label_that_never_occurs_keeps_a_half() -> None:
    gold, probabilities = np.array([[0, 1], [0, 1]]), np.array([[0.9, 0.9], [0.1, 0.8]])
    assert tune_thresholds(gold, probabilities)[0] == 0.5


def test_neighbouring_numbers_are_told_apart() -> None:
    # Their middle is rounded down for one of the two pairs and up for the other.
    values = [0.3, np.nextafter(0.3, 1), np.nextafter(np.nextafter(0.3, 1), 1)]
    for low, high in pairwise(values):
        gold, probabilities = np.array([[0], [0], [1]]), np.array([[low], [low], [high]])
        assert (probabilities >= tune_thresholds(gold, probabilities)).tolist() == [[False], [False], [True]]


def test_regression_scores_equal_scipy() -> None:
    for case in range(1000):
        random = np.random.default_rng(case)
        gold = random.normal(size=random.integers(5, 40)).round(case % 2 + 1)
        predicted = (gold + random.normal(size=len(gold))).round(1)
        ours = regression_scores(gold, predicted)
        assert ours["pearson"] == pytest.approx(stats.pearsonr(gold, predicted).statistic, abs=1e-12)
        assert ours["spearman"] == pytest.approx(stats.spearmanr(gold, predicted).statistic, abs=1e-12)
        assert ours["mse"] == pytest.approx(metrics.mean_squared_error(gold, predicted), abs=1e-12)


@pytest.mark.parametrize("n", [1, 3, 7])
def test_equal_values_have_no_correlation(n: int) -> None:
    # The mean of three times 0.1 is not 0.1.
    scores = regression_scores(np.arange(n), np.full(n, 0.1))
    assert scores["pearson"] == scores["spearman"] == 0.0


def test_calibration_equals_scikit_learn() -> None:
    random = np.random.default_rng(1)
    confidence = np.append(random.random(300), [0.0, 1.0, 0.5])
    is_right = random.random(303) < confidence
    bins = calibration(confidence, is_right, n_bins=7)
    accuracy, mean_confidence = calibration_curve(is_right, confidence, n_bins=7)
    assert np.allclose([(one.confidence, one.accuracy) for one in bins], np.transpose([mean_confidence, accuracy]), **CLOSE)
    assert sum(one.size for one in bins) == 303


def test_calibration_leaves_out_empty_bins_and_weighs_the_error_by_size() -> None:
    bins = calibration(np.array([0.95, 0.95, 0.95, 0.15]), np.array([True, True, False, False]))
    assert bins == [pytest.approx((0.15, 0.0, 1)), pytest.approx((0.95, 2 / 3, 3))]
    assert expected_calibration_error(bins) == pytest.approx((0.15 + 3 * (0.95 - 2 / 3)) / 4)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(broken: float) -> None:
    gold, predicted = np.array([0, 1, 1, 0]), np.array([0.0, broken, 1.0, broken])
    for score in (
        lambda: class_scores(gold, predicted, 2),
        lambda: multilabel_scores(gold[:, None], gold[:, None], predicted[:, None]),
        lambda: tune_thresholds(gold[:, None], predicted[:, None]),
        lambda: regression_scores(gold, predicted),
        lambda: calibration(predicted, gold),
    ):
        with pytest.raises(DivergedError, match="2 of 4 scores are NaN or infinite, so this model cannot be used"):
            score()


def test_no_examples_are_refused() -> None:
    nothing = np.array([])
    for score in (lambda: class_scores(nothing, nothing, 2), lambda: regression_scores(nothing, nothing)):
        with pytest.raises(InputError, match="no examples"):
            score()


def test_as_many_predictions_as_examples_are_needed() -> None:
    with pytest.raises(ValueError, match="3 examples and 1 predictions"):
        regression_scores(np.zeros(3), np.zeros(1))


def test_counts_and_figures_of_a_sentence() -> None:
    gold = ["B-PER", "I-PER", "O", "B-LOC", "O", "B-LOC"]
    predicted = ["I-PER", "I-PER", "O", "B-LOC", "I-LOC", "B-PER"]
    counts = chunk_counts(chunks(gold), chunks(predicted), ["LOC", "ORG", "PER"])
    np.testing.assert_array_equal(counts, [[0, 0, 1], [1, 0, 2], [2, 0, 1]])
    precision, recall, f1 = precision_recall_f1(*counts)
    np.testing.assert_allclose(precision, [0, 0, 0.5])
    np.testing.assert_allclose(recall, [0, 0, 1])
    np.testing.assert_allclose(f1, [0, 0, 2 / 3])
    assert precision_recall_f1(1, 3, 3) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert precision_recall_f1(0, 0, 0) == (0, 0, 0)

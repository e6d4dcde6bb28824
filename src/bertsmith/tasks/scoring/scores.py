"""Figures of merit, from what is right (gold) and what a model says (predicted).

A task keeps one row of numbers an example, its outcomes, and every figure is a function of such rows, so that
``bertsmith.tasks.scoring.significance`` can resample them for any task. The functions here are that second half, fast
enough to be called a thousand times. All return plain floats, and 0 where a quotient is 0 / 0.

Dimensions: N examples, C classes or labels.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bertsmith.errors import DivergedError, InputError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class ClassRow(NamedTuple):
    """How well one class is found; ``support`` counts the examples that have it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Typed(Protocol):
    """What is of a type, such as a chunk of words."""

    @property
    def type(self) -> str:
        """The name of the type."""


class Bin(NamedTuple):
    """Predictions of similar confidence: the mean of it, the share that is right, and how many there are."""

    confidence: float
    accuracy: float
    size: int


def check_predictions(gold: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> None:
    """Check that there is a finite prediction, of any number of scores, for every one of at least one example.

    Raises:
        DivergedError: a score is NaN or infinite.
        InputError: there are no examples.
        ValueError: the two are not equally long.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} examples and {len(predicted)} predictions")
    if not len(gold):
        raise InputError("there are no examples to score: give a file with at least one")
    n_finite = np.count_nonzero(np.isfinite(predicted))
    if n_finite < predicted.size:
        raise DivergedError(
            f"{predicted.size - n_finite:,} of {predicted.size:,} scores are NaN or infinite, so this model cannot be used: "
            "take an earlier checkpoint, or train again with a lower learning rate"
        )


def confusion_matrix(gold: npt.NDArray[Any], predicted: npt.NDArray[Any], n_classes: int) -> Integers:
    """Count the examples of each gold class (rows) that are predicted as each class (columns).

    Both hold class numbers (N,), of any type.

    Raises:
        ValueError: a number is not that of a class.
        DivergedError, InputError: as ``check_predictions``.
    """
    check_predictions(gold, predicted)
    lowest, highest = min(gold.min(), predicted.min()), max(gold.max(), predicted.max())
    if lowest < 0 or highest >= n_classes:
        raise ValueError(f"class numbers from {lowest} to {highest}, but there are {n_classes} classes")
    cells = gold.astype(np.int64) * n_classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def class_scores(gold: npt.NDArray[Any], predicted: npt.NDArray[Any], n_classes: int) -> dict[str, float]:
    """Return accuracy, macro and weighted F1 and Matthews' correlation of class numbers (N,).

    Macro F1 is over the classes that are gold or predicted somewhere. The correlation is that of Gorodkin (2004).

    Raises:
        DivergedError, InputError, ValueError: as ``confusion_matrix``.
    """
    confusion_CC = confusion_matrix(gold, predicted, n_classes)
    right_C = np.diagonal(confusion_CC).astype(np.float64)
    gold_C, predicted_C = confusion_CC.sum(axis=1).astype(np.float64), confusion_CC.sum(axis=0).astype(np.float64)
    f1_C = _quotient(2 * right_C, gold_C + predicted_C)
    n, n_right = float(len(gold)), float(right_C.sum())
    spread = math.sqrt(float(n * n - gold_C @ gold_C) * float(n * n - predicted_C @ predicted_C))
    return {
        "accuracy": n_right / n,
        "macro_f1": float(f1_C[gold_C + predicted_C > 0].mean()),
        "weighted_f1": float(f1_C @ gold_C) / n,
        "mcc": float(n_right * n - gold_C @ predicted_C) / spread if spread else 0.0,
    }


def class_report(confusion: Integers, labels: Sequence[str]) -> list[ClassRow]:
    """Return one row for each class of a confusion matrix (C, C), in order."""
    right_C, gold_C, predicted_C = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    columns = (
        _quotient(right_C, predicted_C),
        _quotient(right_C, gold_C),
        _quotient(2 * right_C, gold_C + predicted_C),
        gold_C,
    )
    return [ClassRow(*row) for row in zip(labels, *(column.tolist() for column in columns), strict=True)]


def chunk_counts(gold: Iterable[Typed], predicted: Iterable[Typed], types: Sequence[str]) -> Integers:
    """Count the chunks of a sentence by type: right, predicted and gold ones, (3, types).

    A chunk is right where type, start and stop all are. ``types`` must hold every type that occurs.
    """
    gold, predicted = set(gold), set(predicted)
    index = {type_: column for column, type_ in enumerate(types)}
    counts = np.zeros((3, len(types)), dtype=np.int64)
    for row, found in enumerate((gold & predicted, predicted, gold)):
        for chunk in found:
            counts[row, index[chunk.type]] += 1
    return counts


def precision_recall_f1(correct: Any, predicted: Any, gold: Any) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and their harmonic mean from counts or arrays of them, 0 where a denominator is."""
    return _quotient(correct, predicted), _quotient(correct, gold), _quotient(2 * correct, predicted + gold)


def multilabel_scores(gold_NC: npt.NDArray[Any], predicted_NC: npt.NDArray[Any], probabilities_NC: Floats) -> dict[str, float]:
    """Return micro and macro F1, average precision and exact match, where examples have any number of labels.

    Macro F1 is over all labels; average precision is that of the probabilities, and the mean over the labels that occur.

    Raises:
        DivergedError, InputError, ValueError: as ``check_predictions``.
    """
    check_predictions(gold_NC, probabilities_NC)
    gold_NC, predicted_NC = gold_NC.astype(np.bool_), predicted_NC.astype(np.bool_)
    right_C = (gold_NC & predicted_NC).sum(axis=0)
    gold_C, predicted_C = gold_NC.sum(axis=0), predicted_NC.sum(axis=0)
    precisions = [_average_precision(gold_NC[:, label], probabilities_NC[:, label]) for label in np.flatnonzero(gold_C)]
    return {
        "micro_f1": float(_quotient(2 * right_C.sum(), gold_C.sum() + predicted_C.sum())),
        "macro_f1": float(_quotient(2 * right_C, gold_C + predicted_C).mean()),
        "average_precision": float(np.mean(precisions)) if precisions else 0.0,
        "exact_match": float((gold_NC == predicted_NC).all(axis=1).mean()),
    }


def tune_thresholds(gold_NC: npt.NDArray[Any], probabilities_NC: Floats) -> Floats:
    """Return for each label the threshold (C,) with the best F1 on these examples; 0.5 for a label that never occurs.

    Thresholds lie midway between neighbouring probabilities, the lowest midway between 0 and the smallest. Of those equally
    good the one nearest to 0.5 is taken.

    Raises:
        DivergedError, InputError, ValueError: as ``check_predictions``.
    """
    check_predictions(gold_NC, probabilities_NC)
    gold_NC = gold_NC.astype(np.bool_)
    return np.array(
        [_best_threshold(gold_N, values_N) for gold_N, values_N in zip(gold_NC.T, probabilities_NC.T, strict=True)],
        dtype=np.float64,
    )


def _best_threshold(gold_N: Bools, probabilities_N: Floats) -> float:
    if not gold_N.any():
        return 0.5
    values, n_right, n_predicted = _by_threshold(gold_N, probabilities_N)
    below = np.append(values[1:], 0.0)
    midway = below + (values - below) / 2
    # Between two numbers without another in between, the middle is rounded and may be the lower one.
    candidates = np.where(midway > below, midway, values)
    f1 = 2 * n_right / (n_predicted + np.count_nonzero(gold_N))
    best = candidates[f1 == f1.max()]
    return float(best[np.abs(best - 0.5).argmin()])


def _average_precision(gold_N: Bools, probabilities_N: Floats) -> float:
    _, n_right, n_predicted = _by_threshold(gold_N, probabilities_N)
    return float(np.diff(n_right, prepend=0) @ (n_right / n_predicted)) / int(n_right[-1])


def _by_threshold(gold_N: Bools, probabilities_N: Floats) -> tuple[Floats, Integers, Integers]:
    """Return the distinct probabilities, largest first, and how many examples reach each: those with the label, and all."""
    order = np.argsort(-probabilities_N)
    values = probabilities_N[order].astype(np.float64)
    last_of_equals = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    return values[last_of_equals], np.cumsum(gold_N[order])[last_of_equals], last_of_equals + 1


def regression_scores(gold: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> dict[str, float]:
    """Return Pearson's and Spearman's correlation and the mean squared error of values (N,).

    The correlation with values that are all equal is 0.

    Raises:
        DivergedError, InputError, ValueError: as ``check_predictions``.
    """
    check_predictions(gold, predicted)
    gold, predicted = gold.astype(np.float64), predicted.astype(np.float64)
    return {
        "pearson": _correlation(gold, predicted),
        "spearman": _correlation(_ranks(gold), _ranks(predicted)),
        "mse": float(np.mean((gold - predicted) ** 2)),
    }


def constant_caveat(gold: Collection[float | None]) -> str | None:
    """Return what correlations with these distinct values are worth if there is but one of them."""
    first = next(iter(gold))
    return None if len(gold) > 1 else f"every example has the number {first:g}: correlations with it are 0, whatever is said"


def _correlation(first: Floats, second: Floats) -> float:
    # The mean of equal values may differ from them by rounding, so that their deviations are not quite 0.
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    correlation = float(first @ second) / (math.sqrt(first @ first) * math.sqrt(second @ second))
    return min(1.0, max(-1.0, correlation))


def _ranks(values: Floats) -> Floats:
    """Return the rank of each value, from 1; equal values share the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]


def calibration(confidence: Floats, is_right: npt.NDArray[Any], n_bins: int = 10) -> list[Bin]:
    """Sort predictions (N,) by their confidence, from 0 to 1, into bins of equal width, and return those that are not empty.

    Raises:
        DivergedError, InputError, ValueError: as ``check_predictions``.
    """
    check_predictions(is_right, confidence)
    bins = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], confidence)
    counts = np.bincount(bins, minlength=n_bins)
    sums = (np.bincount(bins, weights=values, minlength=n_bins) for values in (confidence, is_right))
    columns = [_quotient(values, counts).tolist() for values in sums]
    return [Bin(*row) for row in zip(*columns, counts.tolist(), strict=True) if row[2]]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance of confidence and accuracy over the bins of ``calibration`` (Naeini et al., 2015)."""
    distance = sum(one.size * abs(one.confidence - one.accuracy) for one in bins)
    return distance / sum(one.size for one in bins)


def _quotient(dividend: Any, divisor: Any) -> Floats:
    """Divide element by element; 0 where the divisor is."""
    quotient: Floats = np.zeros(np.shape(divisor))
    np.divide(dividend, divisor, out=quotient, where=np.asarray(divisor) != 0)
    return quotient

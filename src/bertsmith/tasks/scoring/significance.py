"""How sure a figure is: bootstrap intervals, and the comparison of two systems on the same examples.

Outcomes are one row of numbers an example (n, k), for instance its gold and its predicted class; ``scores`` makes figures of
any such rows. Nothing else is known about the task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bertsmith.errors import UsageError
from bertsmith.randomness import below, key, uniform

Outcomes: TypeAlias = npt.NDArray[np.float64]
Scores: TypeAlias = Callable[[Outcomes], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and the bounds between which other samples of examples of this size would have it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """First less second system: the difference, how likely one at least as large is by chance, and its interval."""

    difference: float
    p_value: float
    low: float
    high: float


def bootstrap(
    outcomes: Outcomes, scores: Scores, *, rounds: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return each figure with its percentile interval over examples drawn with replacement (Efron, 1979).

    ``rounds`` is how often examples are drawn; ``level`` the share of the draws that lies in the interval. Draws without the
    examples that a figure is of, such as the rare questions without an answer, do not count for it.
    """
    n, values = len(outcomes), scores(outcomes)
    draws = [scores(outcomes[below(key(seed, "bootstrap", draw), np.arange(n), n)]) for draw in range(rounds)]
    intervals = {}
    for name, value in values.items():
        drawn_values = [drawn[name] for drawn in draws if name in drawn] or [value]
        low, high = np.quantile(drawn_values, [(1 - level) / 2, (1 + level) / 2]).tolist()
        intervals[name] = Interval(value, low, high)
    return intervals


def paired_test(first: Outcomes, second: Outcomes, scores: Scores, metric: str, *, rounds: int = 1000, seed: int = 0) -> Paired:
    """Compare two systems' outcomes, row by row for the same examples, in one figure.

    The p-value is two-sided, by approximate randomisation (Noreen, 1989): if the systems were alike, it would not matter
    which of them an outcome came from, so they are swapped at random ``rounds`` times. The interval is the 95 % one of
    ``bootstrap``.

    Raises:
        UsageError: the systems do not have the same number of rows, or there is no such metric.
    """
    if len(first) != len(second):
        raise UsageError(
            f"the first system has predictions for {len(first):,} examples and the second for {len(second):,}: "
            "compare them on the same examples"
        )
    first_values, second_values = scores(first), scores(second)
    if metric not in first_values:
        raise UsageError(f"there is no metric {metric!r}: choose from {', '.join(first_values)}")

    def differences(first: Outcomes, second: Outcomes) -> dict[str, float]:
        one, other = scores(first), scores(second)
        return {metric: one[metric] - other[metric]} if metric in one.keys() & other.keys() else {}

    observed = first_values[metric] - second_values[metric]
    # Equal differences of sums in another order differ by rounding.
    least = abs(observed) - 1e-12 * max(abs(first_values[metric]), abs(second_values[metric]))
    n_as_large = 0
    for swap in range(rounds):
        swapped = uniform(key(seed, "swap", swap), np.arange(len(first)))[:, None] < 0.5
        exchanged = differences(np.where(swapped, second, first), np.where(swapped, first, second))
        n_as_large += abs(exchanged[metric]) >= least

    width = first.shape[1]
    both = np.hstack([first, second])
    resampled = bootstrap(both, lambda rows: differences(rows[:, :width], rows[:, width:]), rounds=rounds, seed=seed)
    return Paired(observed, (1 + n_as_large) / (1 + rounds), resampled[metric].low, resampled[metric].high)

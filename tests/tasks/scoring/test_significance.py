"""Intervals and p-values against exact enumeration, SciPy, and what they promise."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from bertsmith.errors import UsageError
from bertsmith.tasks.scoring.significance import Interval, Outcomes, bootstrap, paired_test


def mean(outcomes: Outcomes) -> dict[str, float]:
    return {"mean": float(outcomes[:, 0].mean())}


def mean_and_largest(outcomes: Outcomes) -> dict[str, float]:
    return mean(outcomes) | {"largest": float(outcomes[:, 0].max())}


def column(values: object) -> Outcomes:
    return np.array(values, dtype=np.float64)[:, None]


def right(n_right: int, n: int) -> Outcomes:
    return column([1] * n_right + [0] * (n - n_right))


def test_bootstrap_agrees_with_all_resamples_of_a_few_examples() -> None:
    values = [0.0, 1.0, 3.0, 8.0]
    means = [np.mean(drawn) for drawn in product(values, repeat=4)]
    interval = bootstrap(column(values), mean, rounds=4000, level=0.8)["mean"]
    assert interval.value == 3.0
    # Between neighbouring means lies about a tenth of the draws, so the quantiles may fall on either.
    assert np.quantile(means, 0.08) <= interval.low <= np.quantile(means, 0.12)
    assert np.quantile(means, 0.88) <= interval.high <= np.quantile(means, 0.92)


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(2).normal(size=200)
    interval = bootstrap(column(values), mean, rounds=4000)["mean"]
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(3))
    assert (interval.low, interval.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)


def test_intervals_cover_the_truth_as_often_as_they_promise() -> None:
    n_covered = 0
    for sample in range(200):
        values = np.random.default_rng(sample).normal(loc=5, size=60)
        interval = bootstrap(column(values), mean, rounds=200, seed=sample, level=0.9)["mean"]
        n_covered += interval.low <= 5 <= interval.high
    assert 0.84 <= n_covered / 200 <= 0.95


def test_all_figures_are_of_the_same_draws_and_the_seed_decides_them() -> None:
    outcomes = column(np.random.default_rng(0).normal(size=30))
    both = bootstrap(outcomes, mean_and_largest, rounds=50, seed=4)
    assert list(both) == ["mean", "largest"]
    assert both["mean"] == bootstrap(outcomes, mean, rounds=50, seed=4)["mean"]
    assert both["mean"] != bootstrap(outcomes, mean, rounds=50, seed=5)["mean"]


def test_columns_of_an_example_stay_together() -> None:
    outcomes = np.repeat(np.arange(20.0)[:, None], 3, axis=1)
    difference = bootstrap(outcomes, lambda rows: {"spread": float(np.ptp(rows, axis=1).max())}, rounds=20)
    assert difference["spread"] == Interval(0.0, 0.0, 0.0)


def test_a_single_example_has_an_interval_without_width() -> None:
    assert bootstrap(column([0.5]), mean, rounds=10)["mean"] == Interval(0.5, 0.5, 0.5)
    assert paired_test(column([0.5]), column([0.25]), mean, "mean", rounds=10).p_value == 1.0


def test_p_value_agrees_with_all_swaps_of_a_few_examples() -> None:
    first, second = np.array([3.0, 2.5, 4.0, 1.0, 2.0, 6.0]), np.array([2.0, 3.0, 2.0, 0.5, 1.5, 2.5])
    changes = [np.mean(np.array(signs) * (first - second)) for signs in product([1, -1], repeat=6)]
    observed = np.mean(first - second)
    exact = np.mean(np.abs(changes) >= observed - 1e-12)
    paired = paired_test(column(first), column(second), mean, "mean", rounds=4000)
    assert paired.difference == pytest.approx(observed)
    assert paired.p_value == pytest.approx(exact, abs=0.015)
    assert 0.02 < exact < 0.2


def test_p_value_agrees_with_scipy() -> None:
    random = np.random.default_rng(7)
    first, second = random.normal(0.3, size=40), random.normal(size=40)
    theirs = stats.permutation_test(
        (first, second),
        lambda first, second: np.mean(first) - np.mean(second),
        permutation_type="samples",
        n_resamples=4000,
        rng=np.random.default_rng(8),
    )
    ours = paired_test(column(first), column(second), mean, "mean", rounds=4000)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.03)


def test_interval_is_that_of_the_paired_difference() -> None:
    random = np.random.default_rng(9)
    easiness = random.normal(scale=100, size=50)
    first, second = easiness + random.normal(1, size=50), easiness
    paired = paired_test(column(first), column(second), mean, "mean")
    alone = bootstrap(column(first - second), mean)["mean"]
    assert (paired.difference, paired.low, paired.high) == pytest.approx((alone.value, alone.low, alone.high))


def test_figures_of_rare_examples_are_those_of_the_draws_that_have_some() -> None:
    def scores(outcomes: Outcomes) -> dict[str, float]:
        rare = outcomes[outcomes[:, 1] > 0, 0]
        return {"all": float(outcomes[:, 0].mean()), **({"rare": float(rare.mean())} if len(rare) else {})}

    outcomes = np.array([[1.0, 1.0], *([[0.0, 0.0], [1.0, 0.0]] * 5)])
    found = bootstrap(outcomes, scores, rounds=200)
    assert (found["rare"].value, found["rare"].low, found["rare"].high) == (1.0, 1.0, 1.0)
    assert found["all"].low < found["all"].high
    paired = paired_test(outcomes, outcomes.copy(), scores, "rare", rounds=200)
    assert (paired.difference, paired.p_value, paired.low, paired.high) == (0.0, 1.0, 0.0, 0.0)


def test_identical_systems_do_not_differ() -> None:
    outcomes = column(np.random.default_rng(1).normal(size=100))
    paired = paired_test(outcomes, outcomes.copy(), mean, "mean", rounds=200)
    assert (paired.difference, paired.p_value, paired.low, paired.high) == (0.0, 1.0, 0.0, 0.0)


def test_equal_differences_count_in_spite_of_rounding() -> None:
    # The sum of any signs before three times 0.1 is 0.1 or 0.3 either way, but not to the last digit.
    second = np.random.default_rng(3).normal(size=3)
    first = second + np.array([0.1, 0.1, -0.1])
    assert paired_test(column(first), column(second), mean, "mean", rounds=100).p_value == 1.0


def test_clearly_different_systems_do_in_either_order() -> None:
    good, poor = right(180, 200), right(120, 200)
    paired = paired_test(good, poor, mean, "mean")
    assert paired.difference == pytest.approx(0.3)
    assert paired.p_value < 0.01
    assert 0.2 < paired.low < 0.3 < paired.high < 0.4
    assert paired_test(poor, good, mean, "mean").p_value == paired.p_value


def test_p_values_of_like_systems_are_spread_evenly() -> None:
    p_values = []
    for sample in range(200):
        random = np.random.default_rng(sample)
        first, second = random.random((2, 40, 1))
        p_values.append(paired_test(first, second, mean, "mean", rounds=99, seed=sample).p_value)
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.1
    assert 0.4 <= np.mean(p_values) <= 0.6


def test_systems_on_different_examples_are_refused() -> None:
    with pytest.raises(UsageError, match="3 examples and the second for 2: compare them on the same examples"):
        paired_test(column([1, 2, 3]), column([1, 2]), mean, "mean")


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no metric 'f1': choose from mean, largest"):
        paired_test(column([1]), column([1]), mean_and_largest, "f1")

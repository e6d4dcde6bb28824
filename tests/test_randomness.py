"""Random numbers that are a function of their coordinates: fixed for ever, and evenly spread."""

import numpy as np
import pytest
from scipy import stats

from bertsmith.randomness import below, bits, key, permutation, uniform

DRAWS = 200_000


def test_known_values_never_change() -> None:
    """A change here would change the data that a run sees, so that runs begun before it could not be resumed."""
    assert key(0, "mask", 3) == 7910497496643877085
    assert bits(12345, np.arange(3)).tolist() == [17540659726606785873, 2454886589211414944, 3778200017661327597]
    assert uniform(key("a"), np.arange(3)).tolist() == [0.9407556705072716, 0.5719245173040085, 0.00024085648825367123]
    assert below(key("b"), np.arange(8), 10).tolist() == [1, 5, 4, 2, 3, 3, 4, 8]
    assert permutation(key("c"), 8).tolist() == [2, 0, 7, 1, 6, 3, 5, 4]


def test_bits_are_splitmix64_at_a_position() -> None:
    """Steele, Lea and Flood (2014), figure 16, in Python's own integers."""

    def splitmix(state: int) -> int:
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return state ^ (state >> 31)

    counters = [0, 1, 2, 10**6, 2**63, 2**64 - 1]
    for seed in (0, 1, 2**64 - 1, key("x")):
        expected = [splitmix((seed + counter * 0x9E3779B97F4A7C15) % 2**64) for counter in counters]
        assert bits(seed, np.array(counters, dtype=np.uint64)).tolist() == expected


def test_keys_tell_coordinates_apart() -> None:
    coordinates = [
        (1,),
        ("1",),
        (1, 2),
        (12,),
        ("1", "2"),
        ("12",),
        (1, "2"),
        ("1", 2),
        (),
        (0,),
        (-1,),
        (2, 1),
    ]
    assert len({key(*one) for one in coordinates}) == len(coordinates)
    assert all(0 <= key(*one) < 2**64 for one in coordinates)


def test_a_draw_depends_on_its_counter_alone() -> None:
    many = uniform(5, np.arange(1000))
    some = np.array([997, 3, 500])
    assert np.array_equal(uniform(5, some), many[some])
    assert np.array_equal(uniform(5, some.astype(np.uint32)), many[some])


@pytest.mark.parametrize("seed", [0, 1, key("seed", 7)])
def test_uniform_is_uniform_and_neighbours_are_independent(seed: int) -> None:
    draws = uniform(seed, np.arange(DRAWS))
    assert draws.min() >= 0 and draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / np.sqrt(DRAWS)
    others = uniform(key("other", seed), np.arange(DRAWS))
    assert abs(np.corrcoef(draws, others)[0, 1]) < 4 / np.sqrt(DRAWS)


def test_below_is_even_and_keeps_to_its_limits() -> None:
    counts = np.bincount(below(9, np.arange(DRAWS), 7), minlength=7)
    assert len(counts) == 7 and stats.chisquare(counts).pvalue > 1e-3
    limits = np.arange(1, 1001)
    drawn = below(3, np.arange(1000), limits)
    assert (drawn >= 0).all() and (drawn < limits).all() and drawn[0] == 0
    assert drawn.dtype == np.int64


def test_permutations_hold_everything_once_and_are_even() -> None:
    assert sorted(permutation(4, 1000).tolist()) == list(range(1000))
    assert permutation(4, 0).tolist() == [] and permutation(4, 1).tolist() == [0]
    orders = [tuple(permutation(key("order", number), 4).tolist()) for number in range(12_000)]
    counts = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 1e-3

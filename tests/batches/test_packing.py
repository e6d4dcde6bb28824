"""Sequences into micro-batches."""

from __future__ import annotations

import numpy as np
import pytest

from bertsmith.batches.packing import pack
from bertsmith.errors import UsageError


@pytest.mark.parametrize("budget", [512, 513, 2_048, 16_384])
def test_each_sequence_is_in_one_batch_within_the_budget_longest_first(budget: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 513, 3_000)
    batches = pack(lengths, budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(3_000))
    for batch in batches:
        assert lengths[batch].sum() <= budget
        assert (np.diff(lengths[batch]) <= 0).all()
        ties = np.diff(lengths[batch]) == 0
        assert (np.diff(batch)[ties] > 0).all()


@pytest.mark.parametrize(("longest", "budget"), [(128, 2_048), (128, 16_384), (512, 4_096), (512, 16_384)])
def test_batches_are_full(longest: int, budget: int) -> None:
    """Most samples are of the maximum length, the rest of any, as next-sentence pairs are."""
    random = np.random.default_rng(0)
    lengths = np.where(random.random(60_000) < 0.6, longest, random.integers(5, longest, 60_000))
    assert lengths.sum() / (len(pack(lengths, budget)) * budget) > 0.98


def test_best_fit() -> None:
    assert [batch.tolist() for batch in pack(np.array([6, 5, 4, 3, 2]), 10)] == [[1, 3, 4], [0, 2]]
    assert pack(np.array([], dtype=np.int64), 10) == []


def test_a_sequence_beyond_the_budget_is_refused() -> None:
    with pytest.raises(UsageError, match="sequence of 11 tokens does not fit into micro-batches of 10"):
        pack(np.array([3, 11]), 10)

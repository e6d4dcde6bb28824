"""Which tokens are chosen and what becomes of them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest

from bertsmith.batches.masking import Masking, Sequences, SpecialIds
from bertsmith.errors import ConfigError

IDS = SpecialIds(cls=2, sep=3, mask=4, vocabulary_size=110, special=frozenset({0, 1, 2, 3, 4, 50}))
ORDINARY = IDS.ordinary()


def sequences(lengths: list[int] | np.ndarray, starts: np.ndarray | None = None, first_id: int = 0) -> Sequences:
    """Sequences ``[CLS] ... [SEP]`` of these lengths whose ordinary tokens count up from 5."""
    lengths = np.asarray(lengths)
    stops = np.cumsum(lengths)
    is_special = np.zeros(stops[-1], dtype=bool)
    is_special[stops - 1] = True
    is_special[stops - lengths] = True
    token_ids = np.where(is_special, IDS.sep, ORDINARY[np.arange(stops[-1]) % len(ORDINARY)])
    token_ids[stops - lengths] = IDS.cls
    return Sequences(token_ids, is_special, starts, lengths, np.arange(first_id, first_id + len(lengths), dtype=np.uint64))


def rows_of(masking: Masking, batch: Sequences, seed: int = 1, epoch: int = 0) -> np.ndarray:
    return masking.apply(batch, IDS, ORDINARY, seed, epoch)[1]


def sequence_of(batch: Sequences, rows: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.cumsum(batch.lengths), rows, side="right")


def test_ordinary_ids_are_all_but_the_special_ones() -> None:
    assert ORDINARY.tolist() == [i for i in range(5, 110) if i != 50]


@pytest.mark.parametrize(("share", "most"), [(0.15, None), (0.15, 10), (0.3, None), (1.0, None), (0.0, None)])
def test_exactly_the_quota_of_distinct_ordinary_tokens(share: float, most: int | None) -> None:
    lengths = np.random.default_rng(0).integers(3, 200, 500)
    batch = sequences(lengths)
    token_ids, rows, labels = Masking(predict_share=share, max_predictions=most).apply(batch, IDS, ORDINARY, 1, 0)
    expected = [min(most or 1000, max(1, round(int(n) * share)), int(n) - 2) for n in lengths]
    assert np.bincount(sequence_of(batch, rows), minlength=len(lengths)).tolist() == expected
    assert (np.diff(rows) > 0).all()
    assert not batch.is_special[rows].any()
    restored = token_ids.copy()
    restored[rows] = labels
    assert np.array_equal(restored, batch.token_ids)


def test_shares_over_100_000_sequences() -> None:
    batch = sequences(np.random.default_rng(0).integers(4, 60, 100_000))
    token_ids, rows, labels = Masking().apply(batch, IDS, ORDINARY, 1, 0)
    n = len(rows)
    becomes = token_ids[rows]
    # A random token is the one that stood there once in len(ORDINARY) draws.
    changed = 0.1 * (1 - 1 / len(ORDINARY))
    for found, expected in ((becomes == IDS.mask, 0.8), ((becomes != IDS.mask) & (becomes != labels), changed)):
        assert abs(found.mean() - expected) < 3 * np.sqrt(expected * (1 - expected) / n)
    drawn = becomes[(becomes != IDS.mask) & (becomes != labels)]
    assert set(drawn.tolist()) == set(ORDINARY.tolist())
    assert chi_square(np.bincount(drawn)[ORDINARY]) < 3
    # The same share of each place, whatever the place.
    places = rows - (np.cumsum(batch.lengths) - batch.lengths)[sequence_of(batch, rows)]
    relative = (places - 0.5) / (batch.lengths - 2)[sequence_of(batch, rows)]
    assert abs(relative.mean() - 0.5) < 3 * relative.std() / np.sqrt(n)


def chi_square(counts: np.ndarray) -> float:
    """How many standard deviations the chi-square statistic of equally likely outcomes is above its mean."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom))


def test_every_set_of_tokens_is_equally_likely() -> None:
    batch = sequences([7] * 20_000)
    rows = rows_of(Masking(predict_share=0.29), batch).reshape(-1, 2) % 7
    counts = Counter(map(tuple, rows.tolist()))
    assert set(counts) == set(combinations(range(1, 6), 2))
    assert chi_square(np.array(list(counts.values()))) < 3


def test_masks_of_a_sample_hang_on_seed_epoch_and_sample_but_not_on_the_batch() -> None:
    masking = Masking()
    lengths = [30, 40, 50, 60]
    whole = sequences(lengths)
    alone = sequences([50], first_id=2)
    first = 70
    alone_rows, whole_rows = rows_of(masking, alone), rows_of(masking, whole)
    assert (whole_rows[sequence_of(whole, whole_rows) == 2] - first).tolist() == alone_rows.tolist()
    others = [rows_of(masking, alone, seed=2), rows_of(masking, alone, epoch=1), rows_of(masking, sequences([50]))]
    assert all(not np.array_equal(alone_rows, other) for other in others)

    same_tokens = Sequences(whole.token_ids[70:120], alone.is_special, None, alone.lengths, alone.sample_ids)
    replaced = masking.apply(whole, IDS, ORDINARY, 1, 0)[0][70:120]
    assert np.array_equal(replaced, masking.apply(same_tokens, IDS, ORDINARY, 1, 0)[0])


def words_of(batch: Sequences) -> list[list[list[int]]]:
    """The rows of each word of each sequence."""
    result: list[list[list[int]]] = []
    for start, length in zip(np.cumsum(batch.lengths) - batch.lengths, batch.lengths, strict=True):
        words: list[list[int]] = []
        for row in range(start, start + length):
            if batch.is_special[row]:
                continue
            if batch.starts[row]:
                words.append([])
            words[-1].append(row)
        result.append(words)
    return result


def test_words_are_masked_whole_and_as_many_as_fit() -> None:
    random = np.random.default_rng(3)
    lengths = random.integers(4, 120, 400)
    starts = random.random(lengths.sum()) < 0.6
    starts[np.cumsum(lengths) - lengths + 1] = True
    batch = sequences(lengths, starts)
    masking = Masking(whole_words=True)
    chosen = set(rows_of(masking, batch).tolist())
    for words, quota in zip(words_of(batch), masking.quotas(lengths), strict=True):
        taken = [word for word in words if chosen.intersection(word)]
        assert all(chosen.issuperset(word) for word in taken)
        room = quota - sum(map(len, taken))
        assert room >= 0
        assert all(len(word) > room for word in words if word not in taken) or room == 0


def test_words_come_in_random_order_and_one_too_long_is_skipped() -> None:
    """The published procedure over all orders of the words, which are equally likely."""
    sizes, quota, n = (1, 2, 3, 1), 3, 24_000
    starts = np.tile(np.array([0, 1, 1, 0, 1, 0, 0, 1, 0], dtype=bool), n)
    rows = rows_of(Masking(predict_share=0.3, whole_words=True), sequences([9] * n, starts))
    found = Counter(tuple((sample % 9).tolist()) for sample in np.split(rows, np.flatnonzero(np.diff(rows // 9)) + 1))
    expected: Counter[tuple[int, ...]] = Counter()
    first_rows = (1, 2, 4, 7)
    for order in permutations(range(4)):
        chosen: list[int] = []
        for word in order:
            if len(chosen) + sizes[word] <= quota:
                chosen.extend(range(first_rows[word], first_rows[word] + sizes[word]))
        expected[tuple(sorted(chosen))] += n // 24
    assert set(found) == set(expected)
    for outcome, count in expected.items():
        assert abs(found[outcome] - count) < 3 * np.sqrt(count * (1 - count / n))


def test_words_do_not_reach_over_a_separator() -> None:
    token_ids = np.array([2, 10, 11, 3, 12, 13, 3])
    is_special = np.isin(token_ids, [2, 3])
    starts = np.array([0, 1, 0, 0, 1, 0, 0], dtype=bool)
    seen = set()
    for sample in range(50):
        batch = Sequences(token_ids, is_special, starts, np.array([7]), np.array([sample], dtype=np.uint64))
        seen.add(tuple(rows_of(Masking(predict_share=0.3, whole_words=True), batch).tolist()))
    assert seen == {(1, 2), (4, 5)}


def test_a_sequence_of_long_words_has_nothing_to_predict() -> None:
    starts = np.array([0, 1, 0, 0, 0], dtype=bool)
    token_ids, rows, labels = Masking(whole_words=True).apply(sequences([5], starts), IDS, ORDINARY, 1, 0)
    assert len(rows) == len(labels) == 0
    assert np.array_equal(token_ids, sequences([5]).token_ids)


@pytest.mark.parametrize(
    "values",
    [{"share": 1.2}, {"share": -0.1}, {"mask_share": 0.9, "random_share": 0.2}, {"max_predictions": 0}, {"shares": 0.1}],
)
def test_impossible_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Masking(**values)

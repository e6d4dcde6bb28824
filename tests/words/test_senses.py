"""Clusters of occurrences: how many, which, what is typical of them and which words tell them apart."""

import numpy as np
import pytest

from bertsmith.errors import InputError
from bertsmith.text.occurrences import Occurrence
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.words.senses import find_senses

TOKENIZER = Tokenizer.build(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bank"], lowercase=True)
SHARED = 5 * np.eye(16)[0]


def occurrence(text: str) -> Occurrence:
    start = text.index("bank")
    return Occurrence("bank", text, start, start + 4, "a.txt:1")


def clouds(sizes: list[int], noise: float = 0.2) -> np.ndarray:
    """Vectors around as many centres, which have most in common."""
    random = np.random.default_rng(3)
    centres = SHARED + np.eye(16)[1 : 1 + len(sizes)]
    return np.repeat(centres, sizes, axis=0) + noise * random.normal(size=(sum(sizes), 16))


def texts(sizes: list[int]) -> list[Occurrence]:
    kinds = ["the Money in the bank of {}", "a river and its bank near {}", "the bank of clouds over {}"]
    return [occurrence(kind.format(f"x{n}")) for kind, size in zip(kinds, sizes, strict=False) for n in range(size)]


@pytest.mark.parametrize("sizes", [[20, 30], [12, 25, 18]])
def test_senses_are_found_with_their_number_the_most_frequent_first(sizes: list[int]) -> None:
    senses = find_senses(texts(sizes), clouds(sizes), TOKENIZER)
    truth = np.repeat(np.argsort(np.argsort(-np.array(sizes))), sizes)
    assert senses.labels() == truth.tolist()
    assert [len(one.occurrences) for one in senses.senses] == sorted(sizes, reverse=True)
    assert senses.silhouette is not None and senses.silhouette > 0.4


def test_the_number_of_senses_can_be_given() -> None:
    assert len(find_senses(texts([20, 30]), clouds([20, 30]), TOKENIZER, 4).senses) == 4
    (only,) = find_senses(texts([20, 30]), clouds([20, 30]), TOKENIZER, 1).senses
    assert sorted(only.occurrences) == list(range(50)) and only.words == []


def test_where_nothing_separates_there_is_one_sense() -> None:
    vectors_nD = 9 + np.random.default_rng(3).normal(size=(60, 200))
    senses = find_senses(texts([60]), vectors_nD, TOKENIZER)
    assert len(senses.senses) == 1 and senses.silhouette is not None and senses.silhouette < 0.15
    assert senses.senses[0].words == []


def test_the_words_of_a_sense_are_those_that_its_contexts_have_more_often() -> None:
    senses = find_senses(texts([20, 30]), clouds([20, 30]), TOKENIZER)
    assert [set(one.words) for one in senses.senses] == [{"a", "river", "and", "its", "near"}, {"the", "money", "in", "of"}]


def test_the_most_typical_occurrence_is_nearest_to_the_centre() -> None:
    vectors_nD = clouds([20, 30])
    vectors_nD[7] = SHARED + np.eye(16)[1]
    vectors_nD[8] += 0.9 * np.eye(16)[9]
    sense = find_senses(texts([20, 30]), vectors_nD, TOKENIZER).senses[1]
    assert sense.occurrences[0] == 7 and sense.occurrences.index(8) > 10


def test_points_are_the_first_two_principal_components() -> None:
    senses = find_senses(texts([20, 30]), clouds([20, 30]), TOKENIZER)
    first = senses.points_n2[:, 0]
    assert senses.points_n2.shape == (50, 2) and 0.4 < senses.explained[0] < 1 and senses.explained[1] < senses.explained[0]
    assert np.abs(senses.points_n2.mean(axis=0)).max() < 1e-9
    assert (first[:20].max() < first[20:].min()) or (first[:20].min() > first[20:].max())


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_few_occurrences_or_equal_ones_have_one_sense(count: int) -> None:
    rounding = 1e-7 * np.random.default_rng(0).normal(size=(count, 16))
    alone = find_senses(texts([count]), 1 + rounding, TOKENIZER)
    assert len(alone.senses) == 1 and alone.silhouette is None and alone.labels() == [0] * count
    assert not alone.points_n2.any() and alone.explained == (0.0, 0.0)


def test_fewer_contexts_than_senses_are_refused() -> None:
    with pytest.raises(InputError, match="'bank' is in 3 different contexts, too few for 4 senses"):
        find_senses(texts([6]), np.repeat(np.eye(16)[:3], 2, axis=0), TOKENIZER, 4)
    assert sorted(find_senses(texts([3]), np.eye(16)[:3], TOKENIZER, 3).labels()) == [0, 1, 2]

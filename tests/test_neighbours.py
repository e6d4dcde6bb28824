"""Which texts of a batch or a file are told apart, how they are ranked, and which are mined."""

import numpy as np
import pytest

from bertsmith.neighbours import Candidates, hard_negatives, nearest, ranks


def vectors(*rows: list[float]) -> list[np.ndarray]:
    """One-figure angles as vectors of two figures."""
    return [np.array([[np.cos(angle), np.sin(angle)] for angle in row], np.float32) for row in rows]


def test_every_text_is_a_candidate_once() -> None:
    found = Candidates([("a", "b", "x"), ("c", "d", "x"), ("e", "b")])
    assert found.places == [(0, 1), (0, 2), (1, 1)]
    assert found.right == [0, 2, 0]
    assert found.excluded == [[], [], []]


def test_what_is_right_too_is_left_out() -> None:
    # The first two anchors are the same text, and the third's text is the positive of the fourth.
    found = Candidates([("a", "b"), ("a", "c"), ("d", "e"), ("f", "d")])
    assert found.right == [0, 1, 2, 3]
    assert found.excluded == [[1], [0], [3], []]
    assert found.excluded_pairs() == ([0, 1, 2], [1, 0, 3])
    assert found.excluded_pairs(1, 3) == ([0, 1], [0, 3])


def test_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertsmith.neighbours._COSINES_AT_ONCE", 8)
    rows = [("a", "b", "n"), ("c", "d"), ("e", "f")]
    of = vectors([0.0, 0.3, 0.1], [1.0, 1.0], [0.15, 0.1])
    # b is behind n and f; d is at its anchor; f and n are equally near to e.
    assert ranks(Candidates(rows), of) == [3, 1, 2]
    assert ranks(Candidates([("a", "b"), ("a", "n")]), vectors([0.0, 0.2], [0.0, 0.1])) == [1, 1]


def test_hard_negatives_are_the_nearest_that_are_clearly_farther_than_the_positive() -> None:
    rows = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h"), ("a", "i")]
    of = vectors([0.0, 0.5], [3.0, 0.6], [3.0, 1.0], [3.0, 0.51], [0.0, 0.7])
    mined = hard_negatives(Candidates(rows), of, 2, margin=0.02)
    # Of the first anchor: i is its positive elsewhere, h is within the margin, so d (0.6) and f (1.0) are left.
    assert mined[0] == [(1, 1), (2, 1)]
    assert hard_negatives(Candidates(rows), of, 2, margin=0.0)[0] == [(3, 1), (1, 1)]
    assert hard_negatives(Candidates(rows), of, 9, margin=0.0)[0] == [(3, 1), (1, 1), (2, 1)]
    assert hard_negatives(Candidates(rows[:1]), of[:1], 3, margin=0.0) == [[]]


def test_nearest_are_those_of_a_full_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertsmith.neighbours._ROWS_AT_ONCE", 16)
    draw = np.random.default_rng(0)
    queries, among = (draw.integers(-2, 3, (n, 4)).astype(np.float32) for n in (3, 100))  # whole figures, so many are equal
    among[7] = np.nan
    found = nearest(queries, among, 20)
    for of_query, query in zip(found, queries, strict=True):
        products = np.nan_to_num(among @ query, nan=-np.inf)
        expected = np.argsort(-products, kind="stable")[:20]
        assert of_query == [(row, products[row]) for row in expected.tolist()]
    assert [len(of_query) for of_query in nearest(queries, among, 1000)] == [99] * 3
    assert nearest(queries[:0], among, 5) == []

"""Windows over long texts: nothing is left out, and each token belongs to the window that shows most around it."""

import itertools

import numpy as np
import pytest

from bertsmith.batches.windows import Part, Window, make_windows, owned_parts, stretches
from bertsmith.errors import UsageError

SIZES = list(itertools.product(range(41), range(1, 13), range(1, 15)))  # tokens, room, stride
CLS, SEP = 101, 102


def _spans_of_squad(n_tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Slide on by the stride until a span reaches the end of the text, and write down each."""
    spans, start = [], 0
    while True:
        spans.append((start, min(start + room, n_tokens)))
        if spans[-1][1] == n_tokens:
            return spans
        start += min(stride, room)


def _max_context(spans: list[tuple[int, int]], place: int) -> int:
    """Return the first span in which the poorer side of a token has most tokens."""
    contexts = [min(place - start, stop - 1 - place) if start <= place < stop else -1 for start, stop in spans]
    return contexts.index(max(contexts))


def _windows(n_tokens: int, max_length: int, stride: int) -> list[Window]:
    """Cut a text of tokens 1000, 1001, ... behind a question of two tokens."""
    before = [Part([CLS]), Part([7, 8]), Part([SEP])]
    text = Part(list(range(1000, 1000 + n_tokens)), segment=1)
    return make_windows(before, text, [Part([SEP], segment=1)], max_length, stride)


def test_stretches_are_those_of_a_sliding_window():
    for size in SIZES:
        assert stretches(*size) == _spans_of_squad(*size), size


def test_every_token_is_owned_by_the_window_of_most_context():
    for n_tokens, room, stride in SIZES:
        parts = stretches(n_tokens, room, stride)
        owners = [owner for owner, (first, last) in enumerate(owned_parts(parts)) for _ in range(first, last)]
        assert owners == [_max_context(parts, place) for place in range(n_tokens)], (n_tokens, room, stride)


def test_what_is_owned_lies_in_its_own_window_and_covers_the_text_once():
    for n_tokens, room, stride in SIZES:
        parts = stretches(n_tokens, room, stride)
        owned = owned_parts(parts)
        assert all(start <= first <= last <= stop for (start, stop), (first, last) in zip(parts, owned, strict=True))
        assert [place for first, last in owned for place in range(first, last)] == list(range(n_tokens))


def test_no_window_is_longer_than_it_may_be_nor_one_too_many():
    for n_tokens, room, stride in SIZES:
        parts = stretches(n_tokens, room, stride)
        assert all(stop - start <= room for start, stop in parts)
        assert all(stop < n_tokens for _, stop in parts[:-1])


def test_a_stride_beyond_the_room_skips_nothing():
    assert stretches(10, 4, 1000) == [(0, 4), (4, 8), (8, 10)]
    assert stretches(10, 4, 4) == stretches(10, 4, 5)


def test_a_window_has_its_stretch_between_what_accompanies_it():
    first, second, third = _windows(n_tokens=9, max_length=10, stride=2)
    assert first.token_ids.tolist() == [CLS, 7, 8, SEP, 1000, 1001, 1002, 1003, 1004, SEP]
    assert first.segment_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert second.token_ids.tolist() == [CLS, 7, 8, SEP, 1002, 1003, 1004, 1005, 1006, SEP]
    assert third.token_ids.tolist() == [CLS, 7, 8, SEP, 1004, 1005, 1006, 1007, 1008, SEP]
    assert [(window.start, window.stop) for window in (first, second, third)] == [(0, 5), (2, 7), (4, 9)]
    assert [window.owned for window in (first, second, third)] == [(0, 4), (4, 6), (6, 9)]


def test_the_last_window_is_as_short_as_what_is_left():
    *_, last = _windows(n_tokens=8, max_length=10, stride=4)
    assert last.token_ids.tolist() == [CLS, 7, 8, SEP, 1004, 1005, 1006, 1007, SEP]
    assert last.segment_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_rows_lead_from_places_in_the_text_to_the_tokens_there():
    for window in _windows(n_tokens=23, max_length=11, stride=3):
        places = np.arange(*window.owned)
        assert window.token_ids[window.rows(places)].tolist() == (1000 + places).tolist()


def test_a_text_that_fits_is_one_window_that_owns_it_all():
    (window,) = _windows(n_tokens=5, max_length=10, stride=1)
    assert (window.start, window.stop, window.first_row, window.owned) == (0, 5, 4, (0, 5))


def test_an_empty_text_is_one_window_without_it():
    (window,) = _windows(n_tokens=0, max_length=10, stride=4)
    assert window.token_ids.tolist() == [CLS, 7, 8, SEP, SEP]
    assert window.segment_ids.tolist() == [0, 0, 0, 0, 1]
    assert window.owned == (0, 0)


def test_parts_may_be_empty():
    (window,) = make_windows([Part([CLS]), Part([])], Part([5]), [Part([SEP]), Part([], segment=1)], 4, 2)
    assert window.token_ids.tolist() == [CLS, 5, SEP]
    assert window.rows(np.array([0])).tolist() == [1]


@pytest.mark.parametrize("max_length", [5, 3])
def test_no_room_for_the_text_is_an_error_that_names_the_remedy(max_length):
    with pytest.raises(UsageError, match=r"no room is left for the text .* raise --max-length"):
        _windows(n_tokens=3, max_length=max_length, stride=2)
    assert len(_windows(n_tokens=3, max_length=6, stride=2)) == 3

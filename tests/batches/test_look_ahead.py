"""Windows of a stream: all of it, in order, drawn no further ahead than said."""

import threading
from collections.abc import Iterator

import pytest

from bertsmith.batches.look_ahead import prepared_ahead


@pytest.mark.parametrize("n_items", [0, 1, 3, 4, 5, 8, 11])
def test_windows_are_whole_and_in_order(n_items: int) -> None:
    found = list(prepared_ahead(range(n_items), 4, sum))
    assert [item for window, _ in found for item in window] == list(range(n_items))
    assert [len(window) for window, _ in found] == [4] * (n_items // 4) + ([n_items % 4] if n_items % 4 else [])
    assert all(prepared == sum(window) for window, prepared in found)


def test_items_are_drawn_one_window_ahead_in_the_callers_thread() -> None:
    drawn: list[threading.Thread] = []

    def endless() -> Iterator[int]:
        while True:
            drawn.append(threading.current_thread())
            yield len(drawn)

    windows = prepared_ahead(endless(), 4, sum)
    assert next(windows) == ([1, 2, 3, 4], 10)
    assert len(drawn) == 8
    assert next(windows) == ([5, 6, 7, 8], 26)
    assert len(drawn) == 12
    assert set(drawn) == {threading.current_thread()}
    windows.close()


def test_the_next_window_is_prepared_in_another_thread() -> None:
    threads = [prepared for _, prepared in prepared_ahead(range(9), 4, lambda _window: threading.current_thread())]
    assert threads[0] is threading.current_thread()
    assert threading.current_thread() not in threads[1:]


def test_what_goes_wrong_ahead_is_raised_in_its_place() -> None:
    def refuse(window: list[int]) -> int:
        if 5 in window:
            raise ValueError("five")
        return sum(window)

    windows = prepared_ahead(range(12), 4, refuse)
    assert next(windows) == ([0, 1, 2, 3], 6)
    with pytest.raises(ValueError, match="five"):
        next(windows)

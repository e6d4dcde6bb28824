"""A stream in windows, each prepared while the one before it is worked on."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")
PreparedT = TypeVar("PreparedT")


def prepared_ahead(
    items: Iterable[ItemT], size: int, prepare: Callable[[list[ItemT]], PreparedT]
) -> Iterator[tuple[list[ItemT], PreparedT]]:
    """Yield windows of ``size`` items, the last one shorter, each with what ``prepare`` makes of it.

    Items are drawn in the thread of the caller, one window ahead; ``prepare`` runs in a thread of its own from the second
    window on, so that one short window costs no thread.
    """
    remaining = iter(items)
    window = list(islice(remaining, size))
    if not window:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        prepared = prepare(window)
        while following := list(islice(remaining, size)) if len(window) == size else []:
            coming = pool.submit(prepare, following)
            yield window, prepared
            window, prepared = following, coming.result()
        yield window, prepared

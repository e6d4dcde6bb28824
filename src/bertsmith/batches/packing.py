"""Sequences into micro-batches of a fixed number of tokens."""

from bisect import bisect_left

import numpy as np

from bertsmith.batches.examples import Integers
from bertsmith.errors import UsageError

_OPEN_BATCHES = 16


def pack(lengths: Integers, token_budget: int) -> list[Integers]:
    """Put sequences into batches of at most ``token_budget`` tokens: best fit over a few open batches, in the order given.

    Each sequence goes into the fullest open batch that has room for it; where none has, a new one is opened, and the
    fullest is closed if too many are open. Batches are returned in the order of closing, as indices into ``lengths``,
    longest sequence first, so that sequences of equal length are neighbours.

    Raises:
        UsageError: a sequence is longer than the budget.
    """
    if len(lengths) and (longest := int(lengths.max())) > token_budget:
        raise UsageError(
            f"a sequence of {longest} tokens does not fit into micro-batches of {token_budget}; "
            "raise the token budget or lower the maximum length"
        )
    closed: list[list[int]] = []
    rooms: list[int] = []  # of the open batches, ascending
    batches: list[list[int]] = []
    for index, length in enumerate(lengths.tolist()):
        place = bisect_left(rooms, length)
        if place < len(rooms):
            room, batch = rooms.pop(place), batches.pop(place)
        else:
            room, batch = token_budget, []
            if len(rooms) == _OPEN_BATCHES:
                del rooms[0]
                closed.append(batches.pop(0))
        batch.append(index)
        room -= length
        place = bisect_left(rooms, room)
        rooms.insert(place, room)
        batches.insert(place, batch)
    return [_longest_first(np.array(batch, dtype=np.int64), lengths) for batch in closed + batches]


def _longest_first(indices: Integers, lengths: Integers) -> Integers:
    return indices[np.argsort(-lengths[indices], kind="stable")]

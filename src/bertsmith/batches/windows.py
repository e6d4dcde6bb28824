"""Texts longer than a model reads, as windows that overlap: every token is in one, and each has one that owns it.

The owner of a token is the window in which it has the most context on its poorer side, as in the paper's SQuAD code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bertsmith.errors import UsageError

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a text as one sequence for the encoder.

    token_ids, segment_ids (S,)  the sequence, with its special tokens
    start, stop                  the stretch, as places among the text's tokens
    first_row                    the row of the sequence where the stretch begins
    owned                        the places start ≤ first … stop ≤ last that this window owns, as (first, last)
    """

    token_ids: Integers
    segment_ids: Integers
    start: int
    stop: int
    first_row: int
    owned: tuple[int, int]

    def rows(self, places: Integers) -> Integers:
        """Return the rows of the sequence at which the text's tokens ``places`` stand."""
        return places - self.start + self.first_row


def stretches(n_tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Return the stretches of at most ``room`` tokens, each beginning ``stride`` after the one before, that cover a text.

    A stride beyond the room would leave tokens out, so the room is the most it can be. An empty text has one empty stretch.
    """
    if room < 1:
        raise UsageError("no room is left for the text beside what accompanies it; raise --max-length")
    step = min(stride, room)
    n_windows = 1 + max(0, -(-(n_tokens - room) // step))
    return [(step * index, min(step * index + room, n_tokens)) for index in range(n_windows)]


def owned_parts(parts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return for each stretch the part of the text that it owns: neighbours share what they overlap in the middle."""
    # A token's context is the smaller of what is before and behind it; between two stretches they are equal half-way.
    bounds = [-(-(start + stop) // 2) for (_, stop), (start, _) in pairwise(parts)]
    return list(zip([parts[0][0], *bounds], [*bounds, parts[-1][1]], strict=True))


@dataclass(frozen=True, slots=True)
class Part:
    """Token ids of one segment."""

    token_ids: Sequence[int]
    segment: int = 0


def make_windows(before: Sequence[Part], text: Part, behind: Sequence[Part], max_length: int, stride: int) -> list[Window]:
    """Cut ``text`` into windows, each laid between the parts ``before`` and ``behind`` it.

    Args:
        before: What stands before the text in every window, special tokens included.
        text: What may be longer than there is room for.
        behind: What stands behind it in every window.
        max_length: The longest sequence.
        stride: Tokens from the beginning of one window to that of the next.

    Raises:
        UsageError: nothing of the text would fit in.
    """
    first_row = sum(len(part.token_ids) for part in before)
    room = max_length - first_row - sum(len(part.token_ids) for part in behind)
    parts = stretches(len(text.token_ids), room, stride)
    windows = []
    for (start, stop), owned in zip(parts, owned_parts(parts), strict=True):
        laid = [*before, Part(text.token_ids[start:stop], text.segment), *behind]
        token_ids = np.fromiter((token_id for part in laid for token_id in part.token_ids), np.int64)
        segment_ids = np.repeat([part.segment for part in laid], [len(part.token_ids) for part in laid])
        windows.append(Window(token_ids, segment_ids, start, stop, first_row, owned))
    return windows

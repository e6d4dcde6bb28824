"""The order in which an epoch goes through the documents, and where a run stands in it."""

from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np

from bertsmith.batches.examples import Integers, TokenStore
from bertsmith.errors import InputError, UsageError
from bertsmith.randomness import key, permutation

WINDOW_SENTENCES = 1 << 17
_FIELD_BITS = 24


class Position(NamedTuple):
    """The next micro-batch of a run: its number in its window of its epoch.

    As one integer: ``epoch * 2**48 + window * 2**24 + micro_batch``. A number past the end of its window stands for
    the beginning of the next window.
    """

    epoch: int
    window: int
    micro_batch: int

    @classmethod
    def decode(cls, position: int) -> Self:
        """Read the integer."""
        position = int(position)  # a NumPy integer would make other keys of the draws
        field = (1 << _FIELD_BITS) - 1
        return cls(position >> 2 * _FIELD_BITS, position >> _FIELD_BITS & field, position & field)

    def encode(self) -> int:
        """Return the integer."""
        return self.epoch << 2 * _FIELD_BITS | self.window << _FIELD_BITS | self.micro_batch


class DocumentOrder:
    """Shuffles the documents anew for every epoch and cuts them into windows of about 131,072 sentences.

    A window is what is planned at a time, so its size bounds the memory; documents are not cut. The number of windows is the
    same in all epochs.
    """

    def __init__(self, corpus: TokenStore, documents: Integers, seed: int) -> None:
        self._documents = documents
        self._sizes = corpus.document_offsets[documents + 1] - corpus.document_offsets[documents]
        self._seed = seed
        self.n_windows = max(1, round(int(self._sizes.sum()) / WINDOW_SENTENCES))
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def window(self, epoch: int, window: int) -> Integers:
        """Return the ids of the window's documents; there may be none where a document is larger than a window."""
        documents, bounds = self._epoch(epoch)
        return documents[bounds[window] : bounds[window + 1]]

    def _shuffle(self, epoch: int) -> tuple[Integers, Integers]:
        order = permutation(key(self._seed, "documents", epoch), len(self._documents))
        stops = np.cumsum(self._sizes[order])
        limits = int(stops[-1]) * np.arange(self.n_windows + 1) // self.n_windows
        return self._documents[order], np.searchsorted(stops, limits, side="right")


def split_documents(corpus: TokenStore, held_out: float, minimum: int) -> tuple[Integers, Integers]:
    """Split the documents into those to train on and those held out, ascending; the same ones whatever the run's seed.

    Args:
        corpus: Where the documents are.
        held_out: The share to hold out; 0 for none.
        minimum: How many documents either side needs: 2 for next-sentence pairs, whose random segment is from another one.

    Raises:
        UsageError: the share is not in [0, 1).
        InputError: the corpus has too few documents.
    """
    if not 0 <= held_out < 1:
        raise UsageError(f"the share of held-out documents is {held_out}; it must be at least 0 and below 1")
    needed = minimum * (1 if held_out == 0 else 2)
    if corpus.n_documents < needed:
        raise InputError(
            f"the corpus has {corpus.n_documents} document(s) and this needs {needed}: {minimum} to train on"
            + (f" and {minimum} held out" if held_out else "")
            + ". Add text, or split it into documents differently (--documents blank, line or file)"
            + (", or use --objective full-sentences" if minimum > 1 else "")
            + (", or hold out none" if held_out else "")
        )
    n_held_out = 0
    if held_out:
        n_held_out = min(max(round(held_out * corpus.n_documents), minimum), corpus.n_documents - minimum)
    order = permutation(key("held-out documents"), corpus.n_documents)
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])

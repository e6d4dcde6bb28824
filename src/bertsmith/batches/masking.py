"""Masked-token targets, drawn anew for every epoch."""

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import pydantic

from bertsmith.batches.examples import Integers, offsets_of, ranges
from bertsmith.config import Config
from bertsmith.randomness import below, bits, key, uniform

# One 64-bit number sorts the items of a batch: its sequence, then chance, then the item's place in the sequence.
_PLACE_BITS, _SEQUENCE_BITS = 19, 18
MAX_BATCH_TOKENS = 1 << _PLACE_BITS  # a sequence has at least three tokens, so there are fewer than 1 << _SEQUENCE_BITS


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """The vocabulary ids that batches need; ``special`` holds all that no random replacement may be."""

    cls: int
    sep: int
    mask: int
    vocabulary_size: int
    special: frozenset[int]

    def ordinary(self) -> Integers:
        """Return all other ids of the vocabulary."""
        return np.setdiff1d(np.arange(self.vocabulary_size), np.array(sorted(self.special), dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Sequences:
    """The T tokens of B sequences before masking.

    token_ids  (T,) int64
    is_special (T,) bool     [CLS] and [SEP], never masked
    starts     (T,) bool     a word begins here; also the first token of every segment. None: every token is a word
    lengths    (B,) int64
    sample_ids (B,) uint64
    """

    token_ids: Integers
    is_special: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.bool_] | None
    lengths: Integers
    sample_ids: npt.NDArray[np.uint64]


Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Masking(Config):
    """Which tokens are to be predicted, and what stands in their place (Devlin et al., 2019, section 3.1)."""

    predict_share: Share = 0.15
    """Share of each sequence's tokens, special ones counted, to predict; at least one token."""
    mask_share: Share = 0.8
    """Share of the chosen tokens that become [MASK]."""
    random_share: Share = 0.1
    """Share of the chosen tokens that become a random token; the rest stay as they are."""
    whole_words: bool = False
    """Choose words instead of tokens; a sequence whose words are all longer than its quota has nothing to predict."""
    max_predictions: Annotated[int, pydantic.Field(ge=1)] | None = None
    """No more than this many tokens to predict in a sequence."""

    @pydantic.model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise ValueError(f"mask_share {self.mask_share} and random_share {self.random_share} exceed 1 together")
        return self

    def apply(
        self, sequences: Sequences, ids: SpecialIds, ordinary: Integers, seed: int, epoch: int
    ) -> tuple[Integers, Integers, Integers]:
        """Draw the tokens to predict and replace them.

        A draw hangs on the seed, the epoch, the sample and the token's position in it, not on the batch.

        Returns:
            (T,) token ids with the replacements; (M,) rows of T to predict, ascending; (M,) ids that stood there.
        """
        starts = offsets_of(sequences.lengths)[:-1]
        streams = bits(key(seed, "mask: sample", epoch), sequences.sample_ids) - starts.astype(np.uint64)
        counters = np.repeat(streams, sequences.lengths)
        counters += np.arange(len(counters), dtype=np.uint64)
        rows = self._choose(sequences, counters, key(seed, "mask: choice", epoch))

        chosen = counters[rows]
        kind = uniform(key(seed, "mask: kind", epoch), chosen)
        drawn = ordinary[below(key(seed, "mask: token", epoch), chosen, len(ordinary))]
        labels = sequences.token_ids[rows]
        token_ids = sequences.token_ids.copy()
        token_ids[rows] = np.where(
            kind < self.mask_share, ids.mask, np.where(kind < self.mask_share + self.random_share, drawn, labels)
        )
        return token_ids, rows, labels

    def quotas(self, lengths: Integers) -> Integers:
        """Return how many tokens to predict in sequences of these lengths."""
        quotas: Integers = np.maximum(np.rint(lengths * self.predict_share).astype(np.int64), 1)
        return quotas if self.max_predictions is None else np.minimum(quotas, self.max_predictions)

    def _choose(self, sequences: Sequences, counters: npt.NDArray[np.uint64], draw_key: int) -> Integers:
        """Return the rows to predict, ascending."""
        is_item = ~sequences.is_special
        if sequences.starts is not None:
            is_item &= sequences.starts
        items = np.flatnonzero(is_item)
        begins = offsets_of(sequences.lengths)
        offsets = np.searchsorted(items, begins)
        counts = np.diff(offsets)
        order = _shuffle_within(counts, bits(draw_key, counters[items]))
        quotas = self.quotas(sequences.lengths)
        if sequences.starts is None:
            picks = order[ranges(offsets[:-1], np.minimum(quotas, counts))]
            rows = items[picks]
        else:
            # A word goes as far as the next word or special token.
            edges = np.flatnonzero(is_item | sequences.is_special)
            sizes = np.diff(edges, append=len(is_item))[is_item[edges]]
            picks = order[_fill(sizes[order], offsets, quotas)]
            rows = ranges(items[picks], sizes[picks])
        rows.sort()
        return rows


def _shuffle_within(counts: Integers, draws: npt.NDArray[np.uint64]) -> Integers:
    """Return the items' indices with the items of each sequence, ``counts`` of them, in random order."""
    sequences = np.repeat(np.arange(len(counts), dtype=np.uint64) << np.uint64(64 - _SEQUENCE_BITS), counts)
    firsts = np.repeat(offsets_of(counts)[:-1], counts)
    keys = draws >> np.uint64(_SEQUENCE_BITS)
    keys &= np.uint64(-(1 << _PLACE_BITS) & (1 << 64) - 1)
    keys |= sequences
    keys |= (np.arange(len(draws)) - firsts).astype(np.uint64)
    keys.sort()
    keys &= np.uint64((1 << _PLACE_BITS) - 1)
    return firsts + keys.astype(np.int64)


def _fill(sizes: Integers, offsets: Integers, quotas: Integers) -> Integers:
    """Return the indices of the words to predict: each that still fits into its sequence's quota, in the order given."""
    picks = []
    size_list = sizes.tolist()
    bounds = offsets.tolist()
    for first, stop, quota in zip(bounds[:-1], bounds[1:], quotas.tolist(), strict=True):
        room = quota
        for index in range(first, stop):
            if size_list[index] <= room:
                picks.append(index)
                room -= size_list[index]
                if not room:
                    break
    return np.array(picks, dtype=np.int64)

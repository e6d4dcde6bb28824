"""Samples as ranges of a corpus, and what makes them.

A sample is never stored as tokens: a segment is a run of consecutive tokens of the corpus, so two numbers hold it.
"""

from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]


class TokenStore(Protocol):
    """What the batches need of a corpus. Documents hold at least one sentence, and sentences at least one token."""

    @property
    def tokens(self) -> npt.NDArray[np.integer]:
        """(n_tokens,) vocabulary ids, uint16 or uint32, without special tokens."""

    @property
    def sentence_offsets(self) -> Integers:
        """(n_sentences + 1,) sentence i is tokens sentence_offsets[i] : sentence_offsets[i + 1]."""

    @property
    def document_offsets(self) -> Integers:
        """(n_documents + 1,) document i is sentences document_offsets[i] : document_offsets[i + 1]."""

    @property
    def n_documents(self) -> int:
        """The number of documents."""

    def starts_word(self, token_indices: Integers) -> npt.NDArray[np.bool_]:
        """Say of each token whether a word begins with it."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Samples as token ranges of the corpus; every array has one entry a sample.

    a_start, a_stop, b_start, b_stop   int64    the segments; b is an empty range for a sample of one segment
    random_next                        bool     b is from elsewhere
    sample_ids                         uint64   no two samples of an epoch have the same; counters for random draws
    """

    a_start: Integers
    a_stop: Integers
    b_start: Integers
    b_stop: Integers
    random_next: npt.NDArray[np.bool_]
    sample_ids: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.a_start)

    def lengths(self) -> Integers:
        """Return the tokens of each sample, its two or three special tokens included."""
        b_lengths = self.b_stop - self.b_start
        return self.a_stop - self.a_start + b_lengths + 2 + (b_lengths > 0)

    def take(self, indices: Integers) -> Self:
        """Return the samples at ``indices``, in that order."""
        return type(self)(
            self.a_start[indices],
            self.a_stop[indices],
            self.b_start[indices],
            self.b_stop[indices],
            self.random_next[indices],
            self.sample_ids[indices],
        )


class Objective(Protocol):
    """Cuts documents into samples.

    ``name`` is what the user calls it; with ``has_pairs`` the samples are A/B pairs to be judged; no sample is longer than
    ``max_length`` tokens, special ones included.
    """

    @property
    def name(self) -> str: ...

    @property
    def has_pairs(self) -> bool: ...

    @property
    def max_length(self) -> int: ...

    def plan(self, corpus: TokenStore, documents: Integers, pool: Integers, seed: int, epoch: int) -> Examples:
        """Cut ``documents``, in that order, into samples.

        Args:
            corpus: Where the documents are.
            documents: Ids of the documents, at least one.
            pool: Ids, ascending, of all documents from which a random segment may come.
            seed: The run's seed.
            epoch: Draws are made anew with every epoch.
        """


@dataclass(frozen=True, slots=True)
class Sentences:
    """The S sentences of some documents, one document after the other.

    ids            (S,)     index in the corpus
    token_starts   (S,)     first token in the corpus
    offsets        (S + 1,) tokens before each sentence, counted over these sentences only
    counts         (D,)     sentences of each document
    document_stops (S,)     where, in this numbering, the sentence's document stops
    """

    ids: Integers
    token_starts: Integers
    offsets: Integers
    counts: Integers
    document_stops: Integers

    @classmethod
    def of(cls, corpus: TokenStore, documents: Integers) -> Self:
        """Look up the sentences of ``documents``."""
        first = corpus.document_offsets[documents]
        counts = corpus.document_offsets[documents + 1] - first
        ids = ranges(first, counts)
        token_starts = corpus.sentence_offsets[ids]
        return cls(
            ids=ids,
            token_starts=token_starts,
            offsets=offsets_of(corpus.sentence_offsets[ids + 1] - token_starts),
            counts=counts,
            document_stops=np.repeat(np.cumsum(counts), counts),
        )


def offsets_of(lengths: npt.NDArray[np.integer]) -> Integers:
    """Return (n + 1,) the sums of the lengths before each, and of all."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def ranges(starts: Integers, lengths: Integers) -> Integers:
    """Return the numbers of each range ``start : start + length``, one range after the other."""
    stops = np.cumsum(lengths)
    numbers = np.repeat(starts - stops + lengths, lengths)
    numbers += np.arange(len(numbers))
    return numbers


def chain(following: Integers) -> Integers:
    """Return 0, following[0], following[following[0]], ... as far as there is an entry. Entries exceed their index."""
    steps = following.tolist()
    visited = []
    place = 0
    while place < len(steps):
        visited.append(place)
        place = steps[place]
    return np.array(visited, dtype=np.int64)

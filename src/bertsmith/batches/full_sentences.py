"""The full-sentences objective of RoBERTa."""

from dataclasses import dataclass

import numpy as np

from bertsmith.batches.examples import Examples, Integers, Sentences, TokenStore, chain, offsets_of, ranges
from bertsmith.errors import UsageError


@dataclass(frozen=True)
class FullSentences:
    """Single samples, each filled with consecutive sentences (Liu et al., 2019, section 4.2, FULL-SENTENCES).

    A sample that reaches the end of its document goes on with the beginning of the next document of the epoch's order behind
    one more [SEP], as far as whole sentences fit; it does not go on into a third one. All its tokens are of segment 0. A
    sentence longer than ``max_length`` less two special tokens is cut into pieces of that length, which count as sentences.
    Every token of every document is in exactly one sample.

    Raises:
        UsageError: ``max_length`` has no room for a token and two special ones.
    """

    max_length: int = 512
    name = "full-sentences"
    has_pairs = False

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise UsageError(f"a maximum length of {self.max_length} has no room for [CLS] a [SEP]; use 3 or more")

    def plan(self, corpus: TokenStore, documents: Integers, pool: Integers, seed: int, epoch: int) -> Examples:  # noqa: ARG002
        """See :class:`~bertsmith.batches.examples.Objective`; nothing is drawn here."""
        room = self.max_length - 2
        token_starts, offsets, document_stops = _pieces(Sentences.of(corpus, documents), room)
        stops = np.minimum(np.searchsorted(offsets, offsets[:-1] + room, side="right") - 1, document_stops)

        # Of a sample that ends with its document, what is left of the room less a separator goes to the next document.
        b_limits = offsets[:-1] + room - 1
        b_stops = np.searchsorted(offsets, b_limits, side="right") - 1
        next_document_stops = np.append(document_stops, len(document_stops))[stops]
        b_stops = np.clip(b_stops, stops, np.where(stops == document_stops, next_document_stops, stops))

        starts = chain(b_stops)
        stops, b_stops = stops[starts], b_stops[starts]
        a_start = token_starts[starts]
        b_start = token_starts[np.minimum(stops, len(token_starts) - 1)]
        return Examples(
            a_start=a_start,
            a_stop=a_start + offsets[stops] - offsets[starts],
            b_start=b_start,
            b_stop=b_start + offsets[b_stops] - offsets[stops],
            random_next=np.zeros(len(starts), dtype=np.bool_),
            sample_ids=a_start.astype(np.uint64),
        )


def _pieces(sentences: Sentences, longest: int) -> tuple[Integers, Integers, Integers]:
    """Cut sentences into pieces of at most ``longest`` tokens; return their token starts, offsets and document stops."""
    lengths = np.diff(sentences.offsets)
    n_pieces = (lengths + longest - 1) // longest
    begins = ranges(np.zeros(len(lengths), dtype=np.int64), n_pieces) * longest
    piece_lengths = np.minimum(np.repeat(lengths, n_pieces) - begins, longest)
    document_stops = np.cumsum(n_pieces)[sentences.document_stops - 1]
    return np.repeat(sentences.token_starts, n_pieces) + begins, offsets_of(piece_lengths), np.repeat(document_stops, n_pieces)

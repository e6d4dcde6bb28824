"""The next-sentence objective of BERT."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bertsmith.batches.examples import Examples, Integers, Sentences, TokenStore, chain, ranges
from bertsmith.errors import InputError, UsageError
from bertsmith.randomness import below, bits, key, uniform


@dataclass(frozen=True)
class NextSentence:
    """Pairs of segments, of which B follows A in half of the cases and is from another document in the others.

    The procedure is that of Devlin et al. (2019, section A.2) in their own program: each document has a target length, the
    maximum or, with probability ``short_share``, uniform from 2 up; sentences are collected until the target is reached and
    cut at a random place into A and B; a chunk of a single sentence, and half of the others, gets a random B instead, and
    what was cut off begins the next chunk; what exceeds the maximum is taken from the ends of the longer segment. Since the
    target is drawn per document and a short one cuts a document into more samples, more than ``short_share`` of the samples
    are short. One departure: the random document is always another one, where the program gives up after ten trials.

    Every draw hangs on the document or on the sentence with which a chunk may begin, so it is made for all sentences at once.

    Raises:
        UsageError: ``max_length`` has no room for two tokens and three special ones, or the share is no share.
    """

    max_length: int = 128
    short_share: float = 0.1
    name = "nsp"
    has_pairs = True

    def __post_init__(self) -> None:
        if self.max_length < 5:
            raise UsageError(f"a maximum length of {self.max_length} has no room for [CLS] a [SEP] b [SEP]; use 5 or more")
        if not 0 <= self.short_share <= 1:
            raise UsageError(f"the share of short documents is {self.short_share}; it must be from 0 to 1")

    def plan(self, corpus: TokenStore, documents: Integers, pool: Integers, seed: int, epoch: int) -> Examples:
        """See :class:`~bertsmith.batches.examples.Objective`; :class:`InputError` when there is no other document."""
        draws = _Draws(seed, epoch)
        sentences = Sentences.of(corpus, documents)
        targets = np.repeat(self._targets(documents, draws), sentences.counts)
        stops = np.searchsorted(sentences.offsets, sentences.offsets[:-1] + targets)
        stops = np.minimum(stops, sentences.document_stops)
        sizes = stops - np.arange(len(stops))
        cuts = np.arange(1, len(stops) + 1) + below(draws.key("cut"), sentences.ids, np.maximum(sizes - 1, 1))
        random_next = (sizes == 1) | (uniform(draws.key("random next"), sentences.ids) < 0.5)

        starts = chain(np.where(random_next, cuts, stops))
        cuts, stops, targets, random_next = cuts[starts], stops[starts], targets[starts], random_next[starts]
        sample_ids = sentences.ids[starts]
        a_start = sentences.token_starts[starts]
        a_length = sentences.offsets[cuts] - sentences.offsets[starts]
        b_length = sentences.offsets[stops] - sentences.offsets[cuts]
        # A chunk that is all A may end with the last sentence; its B is random.
        b_start = sentences.token_starts[np.minimum(cuts, len(sentences.ids) - 1)]
        own = np.repeat(documents, sentences.counts)[starts]
        b_start[random_next], b_length[random_next] = _random_segments(
            corpus, own[random_next], pool, sample_ids[random_next], (targets - a_length)[random_next], draws
        )
        a_start, a_stop, b_start, b_stop = self._truncate(a_start, a_length, b_start, b_length, sample_ids, draws)
        return Examples(a_start, a_stop, b_start, b_stop, random_next, sample_ids.astype(np.uint64))

    def _targets(self, documents: Integers, draws: "_Draws") -> Integers:
        """Return how many tokens to collect for each chunk of each document."""
        longest = self.max_length - 3
        short = uniform(draws.key("short"), documents) < self.short_share
        return np.where(short, 2 + below(draws.key("target"), documents, longest - 1), longest)

    def _truncate(
        self, a_start: Integers, a_length: Integers, b_start: Integers, b_length: Integers, ids: Integers, draws: "_Draws"
    ) -> tuple[Integers, Integers, Integers, Integers]:
        """Shorten the pairs to the maximum; return starts and stops.

        Taking one token after the other from the longer segment, from B when both are equal, leaves a segment whole that
        is no longer than its half of the room, and balances the two otherwise; A's half is the larger one. Each token is
        taken from either end with equal probability.
        """
        room = self.max_length - 3
        a_kept = np.minimum(a_length, np.maximum(room - room // 2, room - b_length))
        b_kept = np.minimum(b_length, np.maximum(room // 2, room - a_length))
        a_start = a_start + _heads(draws.key("front of a"), ids, a_length - a_kept)
        b_start = b_start + _heads(draws.key("front of b"), ids, b_length - b_kept)
        return a_start, a_start + a_kept, b_start, b_start + b_kept


@dataclass(frozen=True)
class _Draws:
    seed: int
    epoch: int

    def key(self, purpose: str) -> int:
        return key(self.seed, f"next sentence: {purpose}", self.epoch)


def _random_segments(
    corpus: TokenStore, own: Integers, pool: Integers, ids: Integers, targets: Integers, draws: _Draws
) -> tuple[Integers, Integers]:
    """Return first token and length of a segment from another document than ``own``, each at least of ``targets`` tokens.

    It begins at a random sentence; the end of its document may make it shorter than the target.
    """
    place = np.searchsorted(pool, own)
    in_pool = pool[np.minimum(place, len(pool) - 1)] == own
    others = len(pool) - in_pool
    if not others.all():
        raise InputError(
            "there is only one document, and next-sentence pairs draw their random segments from another one: use "
            "--objective full-sentences, add text, or split the text into documents (--documents blank, line or file)"
        )
    drawn = below(draws.key("document"), ids, others)
    documents = pool[drawn + (in_pool & (drawn >= place))]
    first, stop = corpus.document_offsets[documents], corpus.document_offsets[documents + 1]
    starts = first + below(draws.key("sentence"), ids, stop - first)
    token_starts = corpus.sentence_offsets[starts]
    stops = np.searchsorted(corpus.sentence_offsets, token_starts + np.maximum(targets, 1))
    return token_starts, corpus.sentence_offsets[np.minimum(stops, stop)] - token_starts


def _heads(draw_key: int, ids: Integers, tosses: Integers) -> Integers:
    """Return how many of ``tosses`` fair coins fall heads: coin i of a sample is bit i % 64 of its word i // 64."""
    some = np.flatnonzero(tosses)
    n_words = (tosses[some] + 63) // 64
    words = ranges(np.zeros(len(some), dtype=np.int64), n_words)
    counters = np.repeat(bits(draw_key, ids[some]), n_words) + words.astype(np.uint64)
    unused: npt.NDArray[np.int64] = np.maximum(64 * (words + 1) - np.repeat(tosses[some], n_words), 0)
    coins = bits(draw_key, counters) << unused.astype(np.uint64)
    heads = np.zeros(len(tosses), dtype=np.int64)
    np.add.at(heads, np.repeat(some, n_words), np.bitwise_count(coins))
    return heads

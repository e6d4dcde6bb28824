"""The vectorised plan against the published procedure, written down plainly."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pytest

from bertsmith.batches.next_sentence import NextSentence
from bertsmith.errors import InputError, UsageError
from bertsmith.randomness import below, bits, key, uniform


class Draws(Protocol):
    """The random choices of the procedure; a chunk is known by the number of its first sentence in the corpus."""

    def target(self, document: int, longest: int, short_share: float) -> int: ...
    def cut(self, chunk: int, n: int) -> int: ...
    def is_random(self, chunk: int) -> bool: ...
    def other_document(self, chunk: int, own: int, n_documents: int) -> int: ...
    def sentence(self, chunk: int, n: int) -> int: ...
    def from_front(self, chunk: int, segment: str, number: int) -> bool: ...


@dataclass
class HashedDraws:
    """The draws of the code under test."""

    seed: int
    epoch: int

    def _key(self, purpose: str) -> int:
        return key(self.seed, f"next sentence: {purpose}", self.epoch)

    def _below(self, purpose: str, counter: int, limit: int) -> int:
        return int(below(self._key(purpose), np.array([counter]), limit)[0])

    def target(self, document: int, longest: int, short_share: float) -> int:
        if uniform(self._key("short"), np.array([document]))[0] < short_share:
            return 2 + self._below("target", document, longest - 1)
        return longest

    def cut(self, chunk: int, n: int) -> int:
        return 1 + self._below("cut", chunk, n - 1)

    def is_random(self, chunk: int) -> bool:
        return bool(uniform(self._key("random next"), np.array([chunk]))[0] < 0.5)

    def other_document(self, chunk: int, own: int, n_documents: int) -> int:
        drawn = self._below("document", chunk, n_documents - 1)
        return drawn + (drawn >= own)

    def sentence(self, chunk: int, n: int) -> int:
        return self._below("sentence", chunk, n)

    def from_front(self, chunk: int, segment: str, number: int) -> bool:
        draw_key = self._key(f"front of {segment}")
        state = (int(bits(draw_key, np.array([chunk]))[0]) + number // 64) % 2**64
        word = int(bits(draw_key, np.array([state], dtype=np.uint64))[0])
        return bool(word >> number % 64 & 1)


class IndependentDraws:
    """The draws of the published program."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def target(self, document: int, longest: int, short_share: float) -> int:  # noqa: ARG002
        return self._random.randint(2, longest) if self._random.random() < short_share else longest

    def cut(self, chunk: int, n: int) -> int:  # noqa: ARG002
        return self._random.randint(1, n - 1)

    def is_random(self, chunk: int) -> bool:  # noqa: ARG002
        return self._random.random() < 0.5

    def other_document(self, chunk: int, own: int, n_documents: int) -> int:  # noqa: ARG002
        while (drawn := self._random.randrange(n_documents)) == own:
            pass
        return drawn

    def sentence(self, chunk: int, n: int) -> int:  # noqa: ARG002
        return self._random.randrange(n)

    def from_front(self, chunk: int, segment: str, number: int) -> bool:  # noqa: ARG002
        return self._random.random() < 0.5


@dataclass
class Pair:
    a: list[int]
    b: list[int]
    is_random: bool
    chunk: int
    n_sentences: int


def reference(corpus, document: int, objective: NextSentence, draws: Draws) -> list[Pair]:
    """The pairs of one document, step by step; tokens are their indices in the corpus."""
    sentences = corpus.sentences(document)
    first = int(corpus.document_offsets[document])
    longest = objective.max_length - 3
    target = draws.target(document, longest, objective.short_share)
    pairs, chunk, length, i = [], [], 0, 0
    while i < len(sentences):
        chunk.append(sentences[i])
        length += len(sentences[i])
        if i == len(sentences) - 1 or length >= target:
            start = first + i - len(chunk) + 1
            n_chunk = len(chunk)
            cut = draws.cut(start, n_chunk) if n_chunk >= 2 else 1
            a = [token for sentence in chunk[:cut] for token in sentence]
            b: list[int] = []
            is_random = n_chunk == 1 or draws.is_random(start)
            if is_random:
                other = corpus.sentences(draws.other_document(start, document, corpus.n_documents))
                for sentence in other[draws.sentence(start, len(other)) :]:
                    b.extend(sentence)
                    if len(b) >= target - len(a):
                        break
                i -= n_chunk - cut
            else:
                b = [token for sentence in chunk[cut:] for token in sentence]
            truncate(a, b, longest, start, draws)
            pairs.append(Pair(a, b, is_random, start, n_chunk))
            chunk, length = [], 0
        i += 1
    return pairs


def truncate(a: list[int], b: list[int], longest: int, chunk: int, draws: Draws) -> None:
    removed = {"a": 0, "b": 0}
    while len(a) + len(b) > longest:
        segment, tokens = ("a", a) if len(a) > len(b) else ("b", b)
        if draws.from_front(chunk, segment, removed[segment]):
            del tokens[0]
        else:
            tokens.pop()
        removed[segment] += 1


def plan(objective: NextSentence, corpus, seed: int = 1, epoch: int = 0, documents: np.ndarray | None = None):
    everything = np.arange(corpus.n_documents)
    return objective.plan(corpus, everything if documents is None else documents, everything, seed, epoch)


@pytest.mark.parametrize("max_length", [5, 6, 16, 33, 128])
@pytest.mark.parametrize("short_share", [0.0, 0.5])
def test_equals_the_published_procedure_given_the_same_draws(random_corpus, max_length: int, short_share: float) -> None:
    objective = NextSentence(max_length, short_share)
    corpus = random_corpus(40, seed=max_length)
    documents = np.random.default_rng(0).permutation(40)
    examples = plan(objective, corpus, seed=3, epoch=2, documents=documents)
    pairs = [pair for document in documents for pair in reference(corpus, document, objective, HashedDraws(3, 2))]
    assert len(examples) == len(pairs) > 40
    for i, pair in enumerate(pairs):
        assert list(range(examples.a_start[i], examples.a_stop[i])) == pair.a
        assert list(range(examples.b_start[i], examples.b_stop[i])) == pair.b
        assert examples.random_next[i] == pair.is_random
        assert examples.sample_ids[i] == pair.chunk


def test_long_sentences_lose_tokens_at_both_ends_like_fair_coins(make_corpus) -> None:
    corpus = make_corpus([[1000]] * 20_000)
    examples = plan(NextSentence(128, 0.0), corpus)
    assert (examples.a_stop - examples.a_start == 63).all()
    assert (examples.b_stop - examples.b_start == 62).all()
    for start, removed in ((examples.a_start, 937), (examples.b_start, 938)):
        front = start % 1000
        assert abs(front.mean() - removed / 2) < 3 * np.sqrt(removed / 4 / len(front))
        assert abs(front.var() / (removed / 4) - 1) < 3 * np.sqrt(2 / len(front))
    fronts = np.corrcoef(examples.a_start % 1000, examples.b_start % 1000)[0, 1]
    assert abs(fronts) < 3 / np.sqrt(len(examples))


def test_balance_over_100_000_samples(random_corpus) -> None:
    corpus = random_corpus(3_500, seed=1)
    objective = NextSentence(64, 0.0)
    n_samples, excess, variance = 0, 0.0, 0.0
    for epoch in range(5):
        examples = plan(objective, corpus, epoch=epoch)
        chunks = examples.sample_ids.astype(np.int64)
        stops = np.searchsorted(corpus.sentence_offsets, corpus.sentence_offsets[chunks] + 61)
        document = np.searchsorted(corpus.document_offsets, chunks, side="right")
        single = np.minimum(stops, corpus.document_offsets[document]) - chunks == 1
        assert examples.random_next[single].all()
        assert single.any()
        n_samples += len(examples)
        excess += examples.random_next[~single].sum() - 0.5 * (~single).sum()
        variance += 0.25 * (~single).sum()
    assert n_samples >= 100_000
    assert abs(excess) < 3 * np.sqrt(variance)


def test_short_targets_over_100_000_documents(make_corpus) -> None:
    """Where sentences have one token, a pair that is no random one has as many tokens as its target."""
    n_documents, longest = 100_000, 12
    examples = plan(NextSentence(longest + 3, 0.1), make_corpus([[1] * longest] * n_documents))
    first = (examples.sample_ids % np.uint64(longest) == 0) & ~examples.random_next
    targets = examples.lengths()[first] - 3
    n = len(targets)
    assert n > 0.45 * n_documents
    expected = np.zeros(longest + 1)
    expected[2:] = 0.1 / (longest - 1)
    expected[longest] += 0.9
    shares = np.bincount(targets, minlength=longest + 1) / n
    assert (np.abs(shares - expected) <= 3 * np.sqrt(expected * (1 - expected) / n)).all()


def test_same_statistics_as_the_published_procedure_with_its_own_random_numbers(random_corpus) -> None:
    """Documents are independent, so the mean over documents of the difference is zero within three standard errors."""
    n_documents = 15_000
    corpus = random_corpus(n_documents, seed=2)
    objective = NextSentence(64, 0.3)
    examples = plan(objective, corpus, seed=9)
    document = np.searchsorted(corpus.document_offsets, examples.sample_ids, side="right") - 1
    a_length, b_length = examples.a_stop - examples.a_start, examples.b_stop - examples.b_start
    ours = columns(document, a_length, b_length, examples.random_next)
    draws = IndependentDraws(4)
    pairs = [(number, pair) for number in range(n_documents) for pair in reference(corpus, number, objective, draws)]
    assert len(pairs) > 100_000
    theirs = columns(
        np.array([number for number, _ in pairs]),
        np.array([len(pair.a) for _, pair in pairs]),
        np.array([len(pair.b) for _, pair in pairs]),
        np.array([pair.is_random for _, pair in pairs]),
    )
    for name in ours:
        per_document = [np.bincount(rows[0], weights=rows[1], minlength=n_documents) for rows in (ours[name], theirs[name])]
        difference = per_document[0] - per_document[1]
        assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(n_documents), name


def columns(document: np.ndarray, a_length: np.ndarray, b_length: np.ndarray, is_random: np.ndarray):
    """What is summed over the samples of each document."""
    values = {
        "samples": np.ones(len(document)),
        "random": is_random,
        "a": a_length,
        "b": b_length,
        "b of random": b_length * is_random,
    }
    total = a_length + b_length
    values |= {f"length {low} to {low + 10}": (total >= low) & (total < low + 10) for low in range(0, 62, 10)}
    values |= {f"a {low} to {low + 10}": (a_length >= low) & (a_length < low + 10) for low in range(0, 60, 10)}
    return {name: (document, value.astype(float)) for name, value in values.items()}


def test_chunks_cover_every_sentence(random_corpus) -> None:
    """With room for everything there is no truncation, and each sentence is in A or in a true B exactly once."""
    corpus = random_corpus(50, seed=7)
    examples = plan(NextSentence(100_000, 0.0), corpus)
    seen = np.zeros(corpus.sentence_offsets[-1], dtype=int)
    for start, stop in zip(examples.a_start, examples.a_stop, strict=True):
        seen[start:stop] += 1
    true = ~examples.random_next
    for start, stop in zip(examples.b_start[true], examples.b_stop[true], strict=True):
        seen[start:stop] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("n_documents", [2, 3, 60])
def test_random_segments_are_from_all_other_documents_of_the_pool(random_corpus, n_documents: int) -> None:
    corpus = random_corpus(n_documents, seed=8)
    offsets = corpus.sentence_offsets[corpus.document_offsets]
    pool = np.arange(0, n_documents) if n_documents < 10 else np.arange(0, n_documents, 2)
    sources = set()
    for epoch in range(20):
        examples = NextSentence(64).plan(corpus, np.arange(n_documents), pool, 1, epoch)
        a_document = np.searchsorted(offsets, examples.a_start, side="right") - 1
        b_document = np.searchsorted(offsets, examples.b_start, side="right") - 1
        assert (a_document != b_document)[examples.random_next].all()
        assert (a_document == b_document)[~examples.random_next].all()
        assert (examples.b_stop > examples.b_start).all()
        assert (examples.lengths() <= 64).all()
        sources |= set(b_document[examples.random_next].tolist())
    assert sources == set(pool.tolist())


def test_samples_hang_on_seed_and_epoch_but_not_on_the_window(random_corpus) -> None:
    corpus = random_corpus(20, seed=3)
    objective = NextSentence(32)
    whole = plan(objective, corpus)
    parts = [plan(objective, corpus, documents=documents) for documents in (np.arange(7), np.arange(7, 20))]
    for name in ("a_start", "a_stop", "b_start", "b_stop", "random_next", "sample_ids"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
    assert len(np.unique(whole.sample_ids)) == len(whole)
    for other in (plan(objective, corpus, seed=2), plan(objective, corpus, epoch=1)):
        assert not np.array_equal(whole.b_start, other.b_start)


def test_a_single_document_is_refused_with_a_remedy(make_corpus) -> None:
    with pytest.raises(InputError, match="--objective full-sentences"):
        plan(NextSentence(), make_corpus([[5, 5, 5]]))


@pytest.mark.parametrize("values", [{"max_length": 4}, {"short_share": 1.5}, {"short_share": -0.1}])
def test_impossible_values_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        NextSentence(**values)

"""A small corpus in memory whose token ids say where they stand."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from bertsmith.batches.masking import SpecialIds

FIRST_ID = 10


@dataclass
class MemoryCorpus:
    """Token i of the corpus has the id ``FIRST_ID + i``."""

    sentence_offsets: np.ndarray
    document_offsets: np.ndarray
    word_starts: np.ndarray

    @property
    def tokens(self) -> np.ndarray:
        return np.arange(FIRST_ID, FIRST_ID + self.sentence_offsets[-1], dtype=np.uint32)

    @property
    def n_documents(self) -> int:
        return len(self.document_offsets) - 1

    def starts_word(self, token_indices: np.ndarray) -> np.ndarray:
        return self.word_starts[token_indices]

    def sentences(self, document: int) -> list[range]:
        """The token indices of each sentence of a document."""
        first, stop = self.document_offsets[document : document + 2]
        bounds = self.sentence_offsets[first : stop + 1].tolist()
        return [range(start, end) for start, end in pairwise(bounds)]

    @property
    def special_ids(self) -> SpecialIds:
        return SpecialIds(
            cls=2, sep=3, mask=4, vocabulary_size=FIRST_ID + int(self.sentence_offsets[-1]), special=frozenset(range(FIRST_ID))
        )


MakeCorpus = Callable[[list[list[int]]], MemoryCorpus]


@pytest.fixture(scope="session")
def make_corpus() -> MakeCorpus:
    """Build a corpus from the lengths of the sentences of each document."""

    def make(documents: list[list[int]]) -> MemoryCorpus:
        sentences = np.array([length for document in documents for length in document], dtype=np.int64)
        sizes = np.array([len(document) for document in documents], dtype=np.int64)
        n_tokens = int(sentences.sum())
        return MemoryCorpus(
            sentence_offsets=np.concatenate([[0], np.cumsum(sentences)]),
            document_offsets=np.concatenate([[0], np.cumsum(sizes)]),
            word_starts=np.random.default_rng(5).random(n_tokens) < 0.7,
        )

    return make


@pytest.fixture(scope="session")
def random_corpus(make_corpus: MakeCorpus) -> Callable[[int, int], MemoryCorpus]:
    """Build a corpus of a number of documents from a seed: one to thirty sentences of one to 150 tokens."""

    def make(n_documents: int, seed: int) -> MemoryCorpus:
        random = np.random.default_rng(seed)
        return make_corpus(
            [
                np.clip(random.lognormal(2.7, 0.8, random.integers(1, 31)), 1, 150).astype(int).tolist()
                for _ in range(n_documents)
            ]
        )

    return make

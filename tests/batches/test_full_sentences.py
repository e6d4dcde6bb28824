"""Full sentences against a plain loop, and that nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from bertsmith.batches.full_sentences import FullSentences
from bertsmith.errors import UsageError


def reference(corpus, documents: np.ndarray, room: int) -> list[tuple[list[int], list[int]]]:
    """Fill samples sentence by sentence; tokens are their indices in the corpus."""
    pieces = [
        (number, sentence[begin : begin + room])
        for number, document in enumerate(documents)
        for sentence in corpus.sentences(document)
        for begin in range(0, len(sentence), room)
    ]
    samples = []
    i = 0
    while i < len(pieces):
        document = pieces[i][0]
        segments: tuple[list[int], list[int]] = ([], [])
        while i < len(pieces) and pieces[i][0] <= document + 1:
            piece_document, piece = pieces[i]
            used = len(segments[0]) + len(segments[1]) + (piece_document > document)
            if used + len(piece) > room:
                break
            segments[piece_document - document].extend(piece)
            i += 1
        samples.append(segments)
    return samples


@pytest.mark.parametrize("max_length", [3, 4, 12, 50, 128, 512, 4096])
def test_equals_the_plain_loop_and_loses_no_token(random_corpus, max_length: int) -> None:
    corpus = random_corpus(60, seed=max_length)
    documents = np.random.default_rng(1).permutation(60)
    examples = FullSentences(max_length).plan(corpus, documents, np.arange(60), 1, 0)
    samples = reference(corpus, documents, max_length - 2)
    ranges = zip(examples.a_start, examples.a_stop, examples.b_start, examples.b_stop, strict=True)
    assert [(list(range(a, b)), list(range(c, d))) for a, b, c, d in ranges] == samples

    tokens = [token for sample in samples for segment in sample for token in segment]
    assert sorted(tokens) == list(range(corpus.sentence_offsets[-1]))
    assert (examples.lengths() <= max_length).all()
    assert len(np.unique(examples.sample_ids)) == len(examples)
    assert not examples.random_next.any()


def test_a_sentence_beyond_the_room_goes_on_in_the_next_sample(make_corpus) -> None:
    examples = FullSentences(12).plan(make_corpus([[4, 25, 3]]), np.array([0]), np.array([0]), 1, 0)
    assert examples.a_start.tolist() == [0, 4, 14, 24]
    assert examples.a_stop.tolist() == [4, 14, 24, 32]


def test_the_next_document_fills_up_a_sample_behind_a_separator(make_corpus) -> None:
    corpus = make_corpus([[3], [4, 2, 5], [1], [1]])
    examples = FullSentences(12).plan(corpus, np.array([0, 1, 2, 3]), np.arange(4), 1, 0)
    # 3 + 1 + 4 + 2 tokens make the ten; one token more of the second document would not fit.
    assert examples.a_start.tolist() == [0, 9, 15]
    assert examples.b_start.tolist()[:2] == [3, 14]
    assert examples.b_stop.tolist()[:2] == [9, 15]
    assert examples.lengths().tolist() == [12, 9, 3]


def test_no_room_is_refused() -> None:
    with pytest.raises(UsageError, match="use 3 or more"):
        FullSentences(2)

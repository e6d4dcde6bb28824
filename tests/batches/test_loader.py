"""The stream of batches: what is in them, and that it can be taken up anywhere."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import islice

import numpy as np
import pytest
import torch

from bertsmith.batches import order
from bertsmith.batches.full_sentences import FullSentences
from bertsmith.batches.loader import PretrainingLoader
from bertsmith.batches.masking import Masking
from bertsmith.batches.next_sentence import NextSentence
from bertsmith.batches.order import DocumentOrder, Position, split_documents
from bertsmith.errors import InputError, UsageError
from bertsmith.types import PretrainingBatch

N_DOCUMENTS = 40


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "WINDOW_SENTENCES", 150)


@pytest.fixture(scope="module")
def corpus(random_corpus):
    return random_corpus(N_DOCUMENTS, 11)


def loader(corpus, objective=None, seed: int = 1, n_workers: int = 0, masking: Masking | None = None) -> PretrainingLoader:
    return PretrainingLoader(
        corpus,
        np.arange(N_DOCUMENTS),
        objective or NextSentence(64),
        masking or Masking(),
        corpus.special_ids,
        512,
        seed,
        n_workers,
    )


def content(batch: PretrainingBatch) -> tuple[bytes, ...]:
    """Every byte of a batch."""
    inputs = batch.inputs
    tensors = [inputs.token_ids, inputs.segment_ids, inputs.position_ids, inputs.cu_seqlens]
    tensors += [batch.masked_positions, batch.masked_token_ids]
    tensors += [] if batch.next_sentence_labels is None else [batch.next_sentence_labels]
    return tuple(tensor.numpy().tobytes() for tensor in tensors)


def first_batches(loader: PretrainingLoader, n: int, position: int = 0, **ranks: int) -> list[tuple[int, tuple[bytes, ...]]]:
    stream = loader.iterate(position, **ranks)
    batches = [(after, content(batch)) for after, batch in islice(stream, n)]
    stream.close()
    return batches


def unmasked(batch: PretrainingBatch) -> list[list[int]]:
    """The token ids of each sequence before masking."""
    token_ids = batch.inputs.token_ids.clone()
    token_ids[batch.masked_positions] = batch.masked_token_ids
    return [sequence.tolist() for sequence in token_ids.tensor_split(batch.inputs.cu_seqlens[1:-1].long())]


@pytest.mark.parametrize("whole_words", [False, True])
def test_pairs_are_laid_out_as_cls_a_sep_b_sep(corpus, whole_words: bool) -> None:
    first = 10
    for batch in loader(corpus, masking=Masking(whole_words=whole_words)).fixed(5_000):
        assert batch.inputs.n_tokens <= 512
        labels = batch.next_sentence_labels
        assert labels is not None
        assert labels.dtype == batch.inputs.token_ids.dtype == batch.masked_positions.dtype == torch.int64
        segments = batch.inputs.segment_ids.tensor_split(batch.inputs.cu_seqlens[1:-1].long())
        for sequence, segment_ids, label in zip(unmasked(batch), segments, labels.tolist(), strict=True):
            middle = sequence.index(3)
            a, b = sequence[1:middle], sequence[middle + 1 : -1]
            assert sequence[0] == 2
            assert sequence[-1] == 3
            assert a == list(range(a[0], a[0] + len(a)))
            assert b == list(range(b[0], b[0] + len(b)))
            assert segment_ids.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1)
            bounds = corpus.sentence_offsets[corpus.document_offsets] + first
            same_document = np.searchsorted(bounds, a[0], side="right") == np.searchsorted(bounds, b[0], side="right")
            assert same_document == (label == 0)


def test_full_sentences_have_one_segment_and_no_labels(corpus) -> None:
    seen = []
    stream = loader(corpus, FullSentences(100)).fixed(10**9)
    for batch in stream:
        assert batch.next_sentence_labels is None
        assert not batch.inputs.segment_ids.any()
        for sequence in unmasked(batch):
            assert sequence[0] == 2
            assert sequence[-1] == 3
            assert sequence.count(3) <= 2
            seen += [token for token in sequence if token >= 10]
    assert sorted(seen) == corpus.tokens.tolist()


def test_masked_words_are_whole(corpus) -> None:
    for batch in loader(corpus, masking=Masking(whole_words=True)).fixed(5_000):
        masked = torch.zeros(batch.inputs.n_tokens, dtype=torch.bool)
        masked[batch.masked_positions] = True
        tokens = [token for sequence in unmasked(batch) for token in sequence]
        for row in range(1, len(tokens)):
            inside = tokens[row] == tokens[row - 1] + 1 and not corpus.word_starts[tokens[row] - 10] and tokens[row - 1] >= 10
            if inside:
                assert masked[row] == masked[row - 1]


def test_a_segment_that_begins_inside_a_word_begins_a_word(corpus) -> None:
    """So every token belongs to a word: to predict all means all but the special ones."""
    batch = loader(corpus, masking=Masking(predict_share=1.0, whole_words=True)).fixed(1)[0]
    specials = sum(token < 10 for sequence in unmasked(batch) for token in sequence)
    assert specials == 3 * batch.inputs.n_sequences
    assert len(batch.masked_positions) == batch.inputs.n_tokens - specials


def test_an_epoch_has_each_sample_once_in_an_order_of_its_own(corpus) -> None:
    batches = loader(corpus)
    epochs = []
    for epoch in (0, 1):
        n_batches = batches.n_batches(epoch)
        stream = list(islice(batches.iterate(Position(epoch, 0, 0).encode()), n_batches))
        assert [Position.decode(after).epoch for after, _ in stream] == [epoch] * (n_batches - 1) + [epoch + 1]
        documents = np.arange(N_DOCUMENTS)
        examples = NextSentence(64).plan(corpus, documents, documents, 1, epoch)
        sequences = [tuple(sequence) for _, batch in stream for sequence in unmasked(batch)]
        expected = [
            (2, *range(a + 10, b + 10), 3, *range(c + 10, d + 10), 3)
            for a, b, c, d in zip(examples.a_start, examples.a_stop, examples.b_start, examples.b_stop, strict=True)
        ]
        assert sorted(sequences) == sorted(expected)
        assert sequences != expected
        epochs.append(sequences)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("n_workers", [0, 2])
def test_any_position_takes_up_the_same_stream(corpus, n_workers: int) -> None:
    batches = loader(corpus, n_workers=n_workers)
    n = batches.n_batches(0) + batches.n_batches(1) // 2
    stream = first_batches(batches, n + 2)
    positions = [after for after, _ in stream]
    assert positions == sorted(set(positions))
    assert Position.decode(positions[n]).window > 0
    for number in range(n):
        assert first_batches(batches, 2, positions[number]) == stream[number + 1 : number + 3]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_stream_of_one(corpus, world: int) -> None:
    alone = first_batches(loader(corpus), 30 * world)
    for rank in range(world):
        mine = first_batches(loader(corpus, n_workers=rank), 30, rank=rank, world=world)
        assert [batch for _, batch in mine] == [batch for _, batch in alone[rank::world]]
        assert [after for after, _ in mine] == [after for after, _ in alone[world - 1 :: world]]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_workers_change_nothing_and_end_with_the_generator(corpus, n_workers: int) -> None:
    assert first_batches(loader(corpus, n_workers=n_workers), 100) == first_batches(loader(corpus), 100)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_seeds_differ(corpus) -> None:
    assert first_batches(loader(corpus, seed=1), 3) != first_batches(loader(corpus, seed=2), 3)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_what_a_worker_raises_arrives(corpus, n_workers: int) -> None:
    class Broken(NextSentence):
        def plan(self, *_: object) -> None:
            raise InputError("no such luck")

    with pytest.raises(InputError, match="no such luck"):
        next(loader(corpus, Broken(64), n_workers=n_workers).iterate(0))


def test_fixed_batches_are_the_first_ones_and_end_with_the_epoch(corpus) -> None:
    batches = loader(corpus)
    few = batches.fixed(1_000)
    assert sum(batch.inputs.n_tokens for batch in few[:-1]) < 1_000 <= sum(batch.inputs.n_tokens for batch in few)
    assert [content(batch) for batch in few] == [batch for _, batch in first_batches(batches, len(few))]
    assert len(batches.fixed(10**9)) == batches.n_batches(0)


def test_a_document_larger_than_a_window_and_windows_without_documents(make_corpus) -> None:
    corpus = make_corpus([[5] * 2_000, [5], [5]])
    batches = PretrainingLoader(corpus, np.arange(3), NextSentence(64), Masking(), corpus.special_ids, 512, 1)
    n_batches = batches.n_batches(0)
    positions = [after for after, _ in first_batches(batches, n_batches)]
    assert Position.decode(positions[-1]) == (1, 0, 0)
    documents = DocumentOrder(corpus, np.arange(3), 1)
    assert documents.n_windows == 13
    windows = [documents.window(0, window) for window in range(13)]
    assert sorted(np.concatenate(windows).tolist()) == [0, 1, 2]


def test_documents_are_shuffled_anew_for_every_epoch_and_seed(corpus) -> None:
    documents = DocumentOrder(corpus, np.arange(N_DOCUMENTS), 1)
    other_seed = DocumentOrder(corpus, np.arange(N_DOCUMENTS), 2)
    orders = [
        np.concatenate([shuffled.window(epoch, window) for window in range(shuffled.n_windows)]).tolist()
        for shuffled, epoch in ((documents, 0), (documents, 1), (other_seed, 0))
    ]
    assert all(sorted(shuffled) == list(range(N_DOCUMENTS)) for shuffled in orders)
    assert len({tuple(shuffled) for shuffled in orders}) == 3


def test_a_position_is_one_integer() -> None:
    assert Position(3, 5, 7).encode() == 3 * 2**48 + 5 * 2**24 + 7
    assert Position.decode(np.int64(Position(3, 5, 7).encode())) == (3, 5, 7)
    assert Position.decode(0) == (0, 0, 0)


def test_bad_settings_are_refused(corpus) -> None:
    with pytest.raises(UsageError, match="choose from 600"):
        loader(corpus, NextSentence(600))
    with pytest.raises(InputError, match="--objective full-sentences"):
        PretrainingLoader(corpus, np.array([4]), NextSentence(64), Masking(), corpus.special_ids, 512, 1)
    with pytest.raises(InputError, match="too few"):
        PretrainingLoader(corpus, np.arange(0), FullSentences(64), Masking(), corpus.special_ids, 512, 1)


@pytest.mark.parametrize(("held_out", "n"), [(0.0, 0), (0.01, 2), (0.25, 10), (0.99, 38)])
def test_split_is_a_partition_with_enough_on_both_sides(corpus, held_out: float, n: int) -> None:
    training, kept = split_documents(corpus, held_out, 2)
    assert len(kept) == n
    assert sorted([*training, *kept]) == list(range(N_DOCUMENTS))
    assert training.tolist() == sorted(training)
    assert kept.tolist() == sorted(kept)
    assert 0 < len(np.intersect1d(kept, split_documents(corpus, 0.99, 2)[1])) == n or not held_out


def test_split_of_too_little_names_the_remedy(make_corpus) -> None:
    with pytest.raises(InputError, match=r"the corpus has 1 document.*--objective full-sentences"):
        split_documents(make_corpus([[3, 4]]), 0.0, 2)
    with pytest.raises(InputError, match=r"has 3 document.*needs 4.*hold out none"):
        split_documents(make_corpus([[3], [4], [5]]), 0.1, 2)
    with pytest.raises(UsageError, match="below 1"):
        split_documents(make_corpus([[3], [4], [5]]), 1.0, 1)
    assert [len(part) for part in split_documents(make_corpus([[3]]), 0.0, 1)] == [1, 0]


def test_torch_is_not_imported_before_the_first_batch() -> None:
    code = "import sys, bertsmith.batches.loader, bertsmith.batches.next_sentence; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

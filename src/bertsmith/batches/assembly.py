"""Samples into a packed batch."""

import numpy as np

from bertsmith.batches.examples import Examples, Integers, TokenStore, offsets_of, ranges
from bertsmith.batches.masking import Masking, Sequences, SpecialIds
from bertsmith.types import PackedBatch, PretrainingBatch


def assemble(
    corpus: TokenStore,
    examples: Examples,
    masking: Masking,
    ids: SpecialIds,
    ordinary: Integers,
    *,
    has_pairs: bool,
    seed: int,
    epoch: int,
) -> PretrainingBatch:
    """Read the samples' tokens, lay them end to end with their special tokens, and mask them.

    Args:
        corpus: Where the tokens are.
        examples: The samples, in the order of the batch.
        masking: How to mask.
        ids: The special tokens.
        ordinary: Ids that a random replacement may have.
        has_pairs: Whether B is a segment of its own, to be judged.
        seed: The run's seed.
        epoch: The epoch of the masks.
    """
    import torch

    sequences, segment_ids = lay_out(corpus, examples, ids, with_words=masking.whole_words, has_pairs=has_pairs)
    token_ids, rows, labels = masking.apply(sequences, ids, ordinary, seed, epoch)
    return PretrainingBatch(
        inputs=PackedBatch.from_arrays(token_ids, segment_ids, sequences.lengths),
        masked_positions=torch.from_numpy(rows),
        masked_token_ids=torch.from_numpy(labels),
        next_sentence_labels=torch.from_numpy(examples.random_next.astype(np.int64)) if has_pairs else None,
    )


def lay_out(
    corpus: TokenStore, examples: Examples, ids: SpecialIds, *, with_words: bool, has_pairs: bool
) -> tuple[Sequences, Integers]:
    """Return the tokens of the samples as ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``, and their segment ids (T,)."""
    lengths = examples.lengths()
    offsets = offsets_of(lengths)
    a_lengths = examples.a_stop - examples.a_start
    b_lengths = examples.b_stop - examples.b_start
    a_rows, b_rows = offsets[:-1] + 1, offsets[:-1] + a_lengths + 2

    is_special = np.zeros(offsets[-1], dtype=np.bool_)
    is_special[offsets[:-1]] = True
    is_special[b_rows - 1] = True
    is_special[offsets[1:] - 1] = True
    token_rows = np.flatnonzero(~is_special)
    sources = ranges(
        np.column_stack([examples.a_start, examples.b_start]).ravel(), np.column_stack([a_lengths, b_lengths]).ravel()
    )
    token_ids = np.full(offsets[-1], ids.sep, dtype=np.int64)
    token_ids[offsets[:-1]] = ids.cls
    token_ids[token_rows] = corpus.tokens[sources]

    starts = None
    if with_words:
        starts = np.zeros(offsets[-1], dtype=np.bool_)
        starts[token_rows] = corpus.starts_word(sources)
        # A segment may begin in the midst of a word.
        starts[a_rows] = True
        starts[b_rows[b_lengths > 0]] = True
    if has_pairs:
        segment_ids = np.repeat(
            np.tile(np.array([0, 1]), len(examples)), np.column_stack([a_lengths + 2, lengths - a_lengths - 2]).ravel()
        )
    else:
        segment_ids = np.zeros(offsets[-1], dtype=np.int64)
    return Sequences(token_ids, is_special, starts, lengths, examples.sample_ids), segment_ids

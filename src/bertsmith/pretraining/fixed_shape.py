"""Batches brought to one shape, so that a compiled model is compiled once and runs without looking at shapes.

Dimensions: T tokens of a batch laid end to end, B sequences, M positions to predict.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from bertsmith.model.bert import BertOutput
from bertsmith.types import PretrainingBatch

# Numbers of sequences and of positions are multiples of these, the longest sequence too; there is filler in every batch, at
# least a token for each sequence that brings their number to a multiple.
_SEQUENCES, _POSITIONS, _LONGEST, _FILLER = 32, 64, 128, 64


@dataclass(frozen=True, slots=True)
class FixedShape:
    """Fills batches up with sequences of their own, and with positions to predict in them, until all have one shape.

    No real token attends to filler, and what the model says of filler stands behind all that it says of the batch, from where
    :func:`without_filler` takes it away, so nothing of it reaches a gradient.

    n_tokens     T of every batch, more than any has before
    n_positions  M of every batch that has no more
    """

    n_tokens: int
    n_positions: int

    @classmethod
    def of(cls, batch_tokens: int, predict_share: float) -> "FixedShape":
        """Return the shape for batches of at most ``batch_tokens`` tokens of which a share is to be predicted."""
        n_tokens = _multiple(batch_tokens, _FILLER) + _FILLER
        return cls(n_tokens, _multiple(predict_share * n_tokens, _POSITIONS))

    def fill(self, batch: PretrainingBatch) -> PretrainingBatch:
        """Return the batch with filler behind its tokens, sequences and positions; its labels stay as many as they are."""
        inputs = batch.inputs
        n_filler, n_positions = self.n_tokens - inputs.n_tokens, len(batch.masked_positions)
        longest = _multiple(inputs.max_seqlen, _LONGEST)
        n_new = _multiple(inputs.n_sequences + math.ceil(n_filler / longest), _SEQUENCES) - inputs.n_sequences
        ends = inputs.n_tokens + torch.arange(1, n_new + 1, device=inputs.cu_seqlens.device) * n_filler // n_new
        filled = dataclasses.replace(
            inputs,
            token_ids=F.pad(inputs.token_ids, (0, n_filler)),
            segment_ids=F.pad(inputs.segment_ids, (0, n_filler)),
            position_ids=F.pad(inputs.position_ids, (0, n_filler)),
            cu_seqlens=torch.cat([inputs.cu_seqlens, ends.to(inputs.cu_seqlens.dtype)]),
            max_seqlen=longest,
        )
        n_more = max(self.n_positions, _multiple(n_positions, _POSITIONS)) - n_positions
        positions = F.pad(batch.masked_positions, (0, n_more), value=self.n_tokens - 1)
        return dataclasses.replace(batch, inputs=filled, masked_positions=positions)


def without_filler(output: BertOutput, batch: PretrainingBatch) -> BertOutput:
    """Return what the model said of a batch that was filled up, without what it said of the filler."""
    token_logits, pair_logits = output.token_logits, output.next_sentence_logits
    return dataclasses.replace(
        output,
        token_logits=None if token_logits is None else token_logits[: len(batch.masked_positions)],
        next_sentence_logits=None if pair_logits is None else pair_logits[: batch.inputs.n_sequences],
    )


def _multiple(number: float, step: int) -> int:
    """Return the least multiple of ``step`` that is not below ``number``."""
    return math.ceil(number / step) * step

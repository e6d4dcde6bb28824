"""Fill in blanks: what the masked-token head says at each ``[MASK]``.

Dimensions: M masked positions of a batch, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from bertsmith.batches.windows import Window
from bertsmith.errors import ArtifactError, InputError
from bertsmith.tasks.task import Sample, SampleBatch
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import Encoding, PackedBatch

TokenScores = Callable[[PackedBatch, Tensor], Tensor]
"""From a batch and M positions of it to what the masked-token head says there (M, V)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token for a blank, with its probability."""

    token: str
    probability: float


Blank = tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """A text and, for each of its blanks in order, the likeliest tokens, the likeliest first."""

    text: str
    blanks: tuple[Blank, ...]


class BlankReader:
    """Fills the blanks of texts that each hold at least one mask token.

    Args:
        scores: The model with its masked-token head.
        tokenizer: The model's tokenizer.
        max_positions: Tokens that the model reads at most.
        top: Candidates for each blank.

    Raises:
        ArtifactError: the vocabulary has no mask token.
    """

    look_ahead = 16  # few, since somebody may be typing them

    def __init__(self, scores: TokenScores, tokenizer: Tokenizer, max_positions: int, top: int) -> None:
        if tokenizer.mask_id is None:
            raise ArtifactError("this model has no [MASK] in its vocabulary, so it cannot fill blanks")
        self._scores, self._tokenizer, self._mask_id = scores, tokenizer, tokenizer.mask_id
        self._max_positions, self._top = max_positions, top

    def samples(self, items: Sequence[str]) -> list[list[Sample]]:
        """Return each text as one sample.

        Raises:
            InputError: a text has no blank, or more tokens than the model has positions.
        """
        encodings = self._tokenizer.encode_many(items)
        return [[self._sample(text, encoding)] for text, encoding in zip(items, encodings, strict=True)]

    def _sample(self, text: str, encoding: Encoding) -> Sample:
        shown = text if len(text) <= 60 else text[:57] + "..."
        length = len(encoding.token_ids)
        if self._mask_id not in encoding.token_ids:
            mask_token = self._tokenizer.tokens[self._mask_id]
            raise InputError(f"no blank to fill in {shown!r}: write {mask_token} where a word is missing")
        if length > self._max_positions:
            raise InputError(f"{shown!r} has {length} tokens; this model reads at most {self._max_positions}")
        return Sample((Window(np.array(encoding.token_ids), np.zeros(length, np.int64), 0, length, 0, (0, length)),))

    def outputs(self, batch: SampleBatch) -> list[tuple[Blank, ...]]:
        """Return the blanks of each text of a batch."""
        blanks = blanks_at(self._mask_id, self._scores, self._tokenizer.tokens, batch.inputs, self._top)
        counts = [int((sample.windows[0].token_ids == self._mask_id).sum()) for sample in batch.samples]
        return [tuple(islice(blanks, count)) for count in counts]

    def decode(
        self,
        items: Sequence[str],
        samples: Sequence[Sequence[Sample]],  # noqa: ARG002
        outputs: Sequence[Sequence[tuple[Blank, ...]]],
    ) -> list[Filled]:
        """Return each text with its blanks."""
        return [Filled(text, blanks) for text, (blanks,) in zip(items, outputs, strict=True)]


def blanks_at(mask_id: int, scores: TokenScores, tokens: Sequence[str], batch: PackedBatch, top: int) -> Iterator[Blank]:
    """Yield the ``top`` likeliest of the ``tokens`` at each mask of the batch, in order."""
    positions_M = torch.nonzero(batch.token_ids == mask_id).flatten()
    with torch.inference_mode():
        logits_MV = scores(batch, positions_M).float()
    # A model may have more rows than there are tokens, so that their number is a multiple of some power of 2.
    probabilities, token_ids = logits_MV.softmax(dim=-1)[:, : len(tokens)].topk(min(top, len(tokens)))
    for row_probabilities, row_ids in zip(probabilities.tolist(), token_ids.tolist(), strict=True):
        pairs = zip(row_ids, row_probabilities, strict=True)
        yield tuple(Candidate(tokens[token_id], probability) for token_id, probability in pairs)

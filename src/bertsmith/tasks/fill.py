"""Fill in blanks: what the masked-token head says at each ``[MASK]``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from bertsmith.errors import ArtifactError, InputError
from bertsmith.model.bert import Bert
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import Encoding, PackedBatch


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token for a blank, with its probability."""

    token: str
    probability: float


@dataclass(frozen=True, slots=True)
class Filled:
    """A text and, for each of its blanks in order, the likeliest tokens, the likeliest first."""

    text: str
    blanks: tuple[tuple[Candidate, ...], ...]


def fill(model: Bert, tokenizer: Tokenizer, texts: Sequence[str], top: int = 5) -> list[Filled]:
    """Fill the blanks of texts that each hold at least one mask token.

    Raises:
        ArtifactError: the model has no masked-token head, or its vocabulary no mask token.
        InputError: a text has no blank, or more tokens than the model has positions.
    """
    mask_id = tokenizer.mask_id
    if mask_id is None or model.masked_token is None:
        lacking = "[MASK] in its vocabulary" if mask_id is None else "masked-token head"
        raise ArtifactError(f"this model has no {lacking}, so it cannot fill blanks")
    encodings = [tokenizer.encode(text) for text in texts]
    for text, encoding in zip(texts, encodings, strict=True):
        _check(text, encoding, mask_id, tokenizer.tokens[mask_id], model.config.max_positions)
    candidates = candidates_at_masks(model, tokenizer.tokens, mask_id, PackedBatch.from_encodings(encodings), top)
    return [
        Filled(text, tuple(next(candidates) for _ in range(encoding.token_ids.count(mask_id))))
        for text, encoding in zip(texts, encodings, strict=True)
    ]


def _check(text: str, encoding: Encoding, mask_id: int, mask_token: str, max_positions: int) -> None:
    shown = text if len(text) <= 60 else text[:57] + "..."
    if mask_id not in encoding.token_ids:
        raise InputError(f"no blank to fill in {shown!r}: write {mask_token} where a word is missing")
    if len(encoding.token_ids) > max_positions:
        raise InputError(f"{shown!r} has {len(encoding.token_ids)} tokens; this model reads at most {max_positions}")


def candidates_at_masks(
    model: Bert, tokens: Sequence[str], mask_id: int, batch: PackedBatch, top: int
) -> Iterator[tuple[Candidate, ...]]:
    """Yield the ``top`` likeliest tokens at each mask of the batch, in order."""
    positions_M = torch.nonzero(batch.token_ids == mask_id).flatten()
    with torch.inference_mode():
        logits_MV = model(batch, positions=positions_M).token_logits.float()
    probabilities, token_ids = logits_MV.softmax(dim=-1).topk(min(top, logits_MV.shape[-1]))
    for row_probabilities, row_ids in zip(probabilities.tolist(), token_ids.tolist(), strict=True):
        yield tuple(
            Candidate(tokens[token_id], probability) for token_id, probability in zip(row_ids, row_probabilities, strict=True)
        )

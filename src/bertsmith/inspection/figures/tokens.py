"""The input: WordPieces and the three embeddings that are summed (Devlin et al. 2019, section 3 and figure 2); what
pre-training masks of it (section 3.1).

Dimensions: T tokens, D width.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from bertsmith.batches.masking import Masking, Sequences
from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import Listed
from bertsmith.inspection.subject import Reading
from bertsmith.pretraining.run import special_ids


@dataclass(frozen=True, slots=True)
class Token:
    """A WordPiece: characters ``start`` to ``end`` of its segment's text, in the ``word``-th word of the segment."""

    token: str
    id: int
    segment: int
    position: int
    start: int
    end: int
    word: int | None
    is_special: bool
    is_unknown: bool
    is_continuation: bool


@dataclass(frozen=True, slots=True)
class Norms:
    """Euclidean lengths (T,) of the three embeddings of each token, and of their sum before it is normalised."""

    token: Listed
    segment: Listed
    position: Listed
    sum: Listed


@dataclass(frozen=True, slots=True)
class Input:
    """The tokens that the model reads, ``shown`` of the ``of`` that the text has."""

    text: str
    pair: str | None
    shown: int
    of: int
    tokens: list[Token]
    norms: Norms


def tokens_of(reading: Reading) -> list[Token]:
    """Return the tokens of a text or a pair."""
    encoding, tokenizer = reading.encoding, reading.subject.tokenizer
    return [
        Token(
            token=token,
            id=token_id,
            segment=segment,
            position=position,
            start=start,
            end=end,
            word=word,
            is_special=word is None,
            is_unknown=token_id == tokenizer.unk_id,
            is_continuation=bool(tokenizer.continuation[token_id]),
        )
        for position, (token, token_id, segment, (start, end), word) in enumerate(
            zip(
                encoding.tokens,
                encoding.token_ids,
                encoding.segment_ids,
                encoding.offsets,
                encoding.word_ids,
                strict=True,
            )
        )
    ]


def input_of(reading: Reading) -> Input:
    """Return the tokens with the lengths of their embeddings."""
    embeddings, batch = reading.subject.model.encoder.embeddings, reading.batch()
    with torch.inference_mode():
        parts = [
            embeddings.token(batch.token_ids),
            embeddings.segment(batch.segment_ids),
            embeddings.position(batch.position_ids),
        ]
        norms = [part_TD.norm(dim=1).numpy() for part_TD in (*parts, sum(parts))]
    return Input(reading.text, reading.pair, reading.n_tokens, reading.n_whole, tokens_of(reading), Norms(*norms))


@dataclass(frozen=True, slots=True)
class ChosenToken:
    """A token that pre-training would have the model predict, and what stands in its place: ``[MASK]`` in eight of ten cases,
    a random token in one, itself in one."""

    position: int
    kind: Literal["mask", "random", "kept"]
    token: str
    original: str


@dataclass(frozen=True, slots=True)
class Masked:
    """What is chosen of a text for a seed and an epoch; ``quota`` is 15 % of the tokens."""

    seed: int
    epoch: int
    chosen: list[ChosenToken]
    quota: int


def masking(reading: Reading, seed: int, epoch: int, whole_words: bool) -> Masked:
    """Return what pre-training would mask, drawn by its own code."""
    tokenizer, encoding = reading.subject.tokenizer, reading.encoding
    if tokenizer.mask_id is None:
        raise Refusal("no_mask", "this model's vocabulary has no [MASK], so nothing can be masked")
    ids = special_ids(tokenizer)
    before = np.array(encoding.token_ids)
    is_special = np.isin(before, [ids.cls, ids.sep])
    starts = ~tokenizer.continuation[before] if whole_words else None
    if starts is not None:
        starts[1:] |= is_special[:-1]
    sequences = Sequences(before, is_special, starts, np.array([len(before)]), np.zeros(1, np.uint64))
    drawing = Masking(whole_words=whole_words)
    after, rows, _ = drawing.apply(sequences, ids, ids.ordinary(), seed, epoch)
    chosen = [
        ChosenToken(row, _kind(before[row], after[row], ids.mask), tokenizer.tokens[after[row]], encoding.tokens[row])
        for row in rows.tolist()
    ]
    return Masked(seed, epoch, chosen, int(drawing.quotas(sequences.lengths)[0]))


def _kind(before: int, after: int, mask_id: int) -> Literal["mask", "random", "kept"]:
    if after == mask_id:
        return "mask"
    return "kept" if after == before else "random"

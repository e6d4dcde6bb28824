"""Where the heads look: attention matrices, what each head does in a word, rollout, queries and keys.

Scaled dot-product attention is section 3.2 of Vaswani et al. 2017; what heads of BERT do is described by Clark et al. 2019
(sections 3 and 4); rollout is section 3 of Abnar and Zuidema 2020.

Dimensions: T tokens, S blocks of them, L layers, N heads, H head width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bertsmith.inspection.arrays import Blocks, Grid, Number, Reduction
from bertsmith.inspection.subject import Reading

_THUMBNAIL_SIDE = 32


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention of a layer's heads, (N, S, S): how much each token, by row, looks at each, by column."""

    layer: int
    shown: int
    of: int
    reduction: Reduction
    edges: list[int]
    heads: Grid


@dataclass(frozen=True, slots=True)
class Overview:
    """The attention of all heads, (L, N, S, S), small."""

    shown: int
    of: int
    reduction: Reduction
    edges: list[int]
    layers: Grid


@dataclass(frozen=True, slots=True)
class Rollout:
    """How much of each token, by column, is in each token's state, by row, after a layer, (S, S)."""

    layer: int
    shown: int
    of: int
    reduction: Reduction
    edges: list[int]
    rollout: Grid


@dataclass(frozen=True, slots=True)
class QueryKey:
    """The queries and keys of a layer's heads, each (N, T, H); ``scale`` times their inner products are the scores whose
    softmax is the attention."""

    layer: int
    scale: float
    queries: Grid
    keys: Grid


def attention_of_layer(reading: Reading, layer: int) -> Attention:
    """Return the attention of ``layer``, from 1; of many tokens the maximum of each block."""
    reading.check_layer(layer)
    blocks = Blocks.of_tokens(reading.n_tokens)
    heads_NSS = blocks.maxima(reading.attention[layer - 1])
    return Attention(layer, blocks.shown, blocks.of, _reduction(blocks), blocks.edges, heads_NSS)


def overview(reading: Reading) -> Overview:
    """Return the attention of all layers, thumbnails to choose from."""
    blocks = Blocks.of_tokens(reading.n_tokens, _THUMBNAIL_SIDE)
    layers = np.stack([blocks.maxima(heads_NTT) for heads_NTT in reading.attention])
    return Overview(blocks.shown, blocks.of, _reduction(blocks), blocks.edges, layers)


def rollout(reading: Reading, layer: int) -> Rollout:
    """Return attention rolled out from the embeddings to ``layer``: the product of what each layer mixes.

    A layer's heads are averaged, and half of what comes out is taken to be what went in, for the residual connection.
    """
    reading.check_layer(layer)
    rolled_TT = identity_TT = np.eye(reading.n_tokens, dtype=np.float32)
    for heads_NTT in reading.attention[:layer]:
        rolled_TT = (heads_NTT.mean(axis=0) + identity_TT) / 2 @ rolled_TT
    blocks = Blocks.of_tokens(reading.n_tokens)
    return Rollout(layer, blocks.shown, blocks.of, _reduction(blocks), blocks.edges, blocks.maxima(rolled_TT))


def query_key(reading: Reading, layer: int) -> QueryKey:
    """Return the queries and keys of ``layer``, from 1."""
    reading.check_layer(layer)
    attention = reading.subject.model.encoder.layers[layer - 1].attention
    with torch.inference_mode():
        projected = attention.query_key_value(torch.from_numpy(reading.layers[layer - 1]))
    query_NTH, key_NTH, _ = projected.view(reading.n_tokens, 3, attention.n_heads, -1).permute(1, 2, 0, 3).numpy()
    return QueryKey(layer, query_NTH.shape[-1] ** -0.5, query_NTH, key_NTH)


def _reduction(blocks: Blocks) -> Reduction:
    return "none" if blocks.shown == blocks.of else "max"


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """What a head does with a text, on average over its tokens.

    entropy      of where a token looks, in bits
    distance     in tokens, to where a token looks
    first … same_token   shares of attention on ``[CLS]``, ``[SEP]``, the token itself, the previous and the next one, other
                 pieces of the same word, other places of the same token
    within_a …   of the attention of A's tokens, what goes to A and what to B; so for B; None without a second text
    pattern      the plain-words name of what the head mostly does
    """

    entropy: Number
    distance: Number
    first: Number
    separator: Number
    self: Number
    previous: Number
    next: Number
    same_word: Number
    same_token: Number
    within_a: Number | None
    a_to_b: Number | None
    b_to_a: Number | None
    within_b: Number | None
    pattern: str


@dataclass(frozen=True, slots=True)
class HeadSummaries:
    """A summary of each head, by layer."""

    heads: list[list[HeadSummary]]


def head_summaries(reading: Reading) -> HeadSummaries:
    """Return what each head does with the text."""
    n_tokens = reading.n_tokens
    relations = _relations(reading)
    flat_RK = torch.from_numpy(np.stack(list(relations.values()))).reshape(len(relations), -1).float()
    found = []
    for heads_NTT in reading.attention:
        flat_NK = torch.from_numpy(heads_NTT).reshape(len(heads_NTT), -1)
        shares_NR = (flat_NK @ flat_RK.T / n_tokens).numpy()
        entropies_N = (torch.special.entr(flat_NK).sum(1) / (n_tokens * np.log(2))).numpy()
        layer = [
            _summary(dict(zip(relations, shares.tolist(), strict=True)), entropy, reading)
            for shares, entropy in zip(shares_NR, entropies_N.tolist(), strict=True)
        ]
        found.append(layer)
    return HeadSummaries(found)


def _relations(reading: Reading) -> dict[str, npt.NDArray[np.floating]]:
    """Return by name the weight (T, T) that a summary gives to each token's looking at each other."""
    n_tokens, encoding = reading.n_tokens, reading.encoding
    places = np.arange(n_tokens)
    steps = places - places[:, None]
    segments, token_ids = np.array(encoding.segment_ids), np.array(encoding.token_ids)
    is_word, is_self = ~np.array(reading.is_special), steps == 0
    words = segments * n_tokens + [-1 if word is None else word for word in encoding.word_ids]
    both_words = is_word & is_word[:, None] & ~is_self
    in_a, in_b = (segments == number for number in (0, 1))
    looks = {
        "distance": np.abs(steps),
        "first": np.broadcast_to(places == 0, steps.shape),
        "separator": np.broadcast_to(token_ids == reading.subject.tokenizer.sep_id, steps.shape),
        "self": is_self,
        "previous": steps == -1,
        "next": steps == 1,
        "same_word": (words == words[:, None]) & both_words,
        "same_token": (token_ids == token_ids[:, None]) & both_words,
        "near": (np.abs(steps) <= 2) & ~is_self,
        "other": (segments != segments[:, None]) & is_word,
    }
    if reading.pair is not None:
        # Shares of a segment's own tokens: they are averaged over all.
        for name, rows, columns in (
            ("within_a", in_a, in_a),
            ("a_to_b", in_a, in_b),
            ("b_to_a", in_b, in_a),
            ("within_b", in_b, in_b),
        ):
            looks[name] = (rows[:, None] & columns) * (n_tokens / max(rows.sum(), 1))
    return looks


def _summary(shares: dict[str, float], entropy: float, reading: Reading) -> HeadSummary:
    near, other = shares.pop("near"), shares.pop("other")
    pattern = _pattern(shares, entropy, near, other, reading.n_tokens)
    by_segment = dict.fromkeys(("within_a", "a_to_b", "b_to_a", "within_b"))
    values: dict[str, Any] = {**by_segment, **shares, "entropy": entropy, "pattern": pattern}
    return HeadSummary(**values)


_NAMED = {
    "previous": "previous-token",
    "next": "next-token",
    "self": "itself",
    "first": "first-token",
    "separator": "separator",
    "same_word": "same-word",
    "same_token": "same-token",
}
# What counts as "mostly", and how far attention is spread, as a share of the most that it can be.
_MOSTLY, _NEAR, _BROAD, _FOCUSED = 0.4, 0.6, 0.85, 0.35


def _pattern(shares: dict[str, float], entropy: float, near: float, other: float, n_tokens: int) -> str:
    """Return the name of what a head does with at least two fifths of its attention, else of how it spreads it."""
    best = max(_NAMED, key=lambda name: shares[name])
    if shares[best] >= _MOSTLY:
        return _NAMED[best]
    if near >= _NEAR and near >= 2 * (4 / n_tokens):
        return "neighbourhood"
    if other >= _NEAR:
        return "other-text"
    spread = entropy / np.log2(n_tokens)
    if spread >= _BROAD:
        return "broad"
    return "focused" if spread <= _FOCUSED else "mixed"

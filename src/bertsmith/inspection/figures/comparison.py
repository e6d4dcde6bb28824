"""Two models on the same text: states, attention, and how alike their layers are.

Centred kernel alignment is Kornblith et al. 2019 (section 3), with linear kernels and the unbiased estimate that Nguyen et al.
2021 (section 2) use, so that few tokens of many dimensions do not look alike by themselves.

Dimensions: T tokens, L layers (of models a and b), N heads, D width, n tokens of all texts.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import Floats, Grid
from bertsmith.inspection.subject import Reading, Subject
from bertsmith.inspection.watcher import NOBODY, Watcher

_MOST_TOKENS, _FEWEST_TOKENS = 512, 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two models agree on a text.

    hidden     (L+1, T)  cosine of the two states of each token
    attention  (L, N)    mean Jensen-Shannon divergence of the rows of heads in the same place, in bits
    reason     why either is None: models of other tokens or sizes cannot be compared like this
    """

    tokens: Literal["same", "different"]
    hidden: Grid | None
    attention: Grid | None
    reason: str | None


def compare(reading: Reading, other: Reading) -> Comparison:
    """Compare what two models make of the same text."""
    tokens: Literal["same", "different"] = "same" if reading.encoding.tokens == other.encoding.tokens else "different"
    if tokens == "different":
        return Comparison(tokens, None, None, "the two models cut the text into different tokens")
    hidden = attention = None
    if reading.layers.shape == other.layers.shape:
        lengths = np.linalg.norm(reading.layers, axis=-1) * np.linalg.norm(other.layers, axis=-1)
        hidden = (reading.layers * other.layers).sum(-1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    if reading.attention.shape == other.attention.shape:
        attention = np.stack([_divergence(p, q) for p, q in zip(reading.attention, other.attention, strict=True)])
    is_whole = hidden is not None and attention is not None
    return Comparison(tokens, hidden, attention, None if is_whole else "the two models have different sizes")


def _divergence(first_NTT: Floats, second_NTT: Floats) -> Floats:
    """Return the Jensen-Shannon divergence (N,) in bits, on average over rows."""
    middle_NTT = (first_NTT + second_NTT) / 2
    divergence: Floats = _entropy(middle_NTT) - (_entropy(first_NTT) + _entropy(second_NTT)) / 2
    return np.maximum(divergence, 0)


def _entropy(shares_NTT: Floats) -> Floats:
    logarithms = np.log2(np.maximum(shares_NTT, np.finfo(np.float32).tiny))
    entropy: Floats = -(shares_NTT * logarithms).sum(-1).mean(-1)
    return entropy


@dataclass(frozen=True, slots=True)
class Alignment:
    """CKA of each layer of one model with each of the other, (La+1, Lb+1), over ``n_tokens`` tokens; 1 for the same up to
    rotation and scale, about 0 for unrelated ones."""

    n_tokens: int
    cka: Grid


def alignment(subject: Subject, other: Subject, texts: list[str], watcher: Watcher = NOBODY) -> Alignment:
    """Return how alike the layers of two models are, over the tokens that both cut alike out of the texts.

    Raises:
        Refusal: there are too few such tokens.
    """
    first, second = [], []
    n_tokens = 0
    for reading, theirs in zip(subject.read_apart(texts, watcher), other.read_apart(texts, watcher), strict=True):
        mine, their = _places(reading), _places(theirs)
        shared = sorted(mine.keys() & their.keys())
        first.append(reading.layers[:, [mine[place] for place in shared]])
        second.append(theirs.layers[:, [their[place] for place in shared]])
        n_tokens += len(shared)
        if n_tokens >= _MOST_TOKENS:
            break
    states, other_states = (np.concatenate(parts, axis=1)[:, :_MOST_TOKENS] for parts in (first, second))
    n_tokens = states.shape[1]
    if n_tokens < _FEWEST_TOKENS:
        raise Refusal(
            "too_few",
            f"both models cut {n_tokens} tokens of these texts alike; at least {_FEWEST_TOKENS} are needed: give more text",
            found=n_tokens,
        )
    return Alignment(n_tokens, cka(states, other_states))


def _places(reading: Reading) -> dict[tuple[int, int], int]:
    """Return the row of each token by the characters it stands for."""
    return {
        span: row
        for row, (span, special) in enumerate(zip(reading.encoding.offsets, reading.is_special, strict=True))
        if not special
    }


def cka(states_LnD: Floats, other_states_LnD: Floats) -> Floats:
    """Return the debiased linear CKA of every layer of one model with every one of the other, (La, Lb)."""
    kernels, other_kernels = _centred_kernels(states_LnD), _centred_kernels(other_states_LnD)
    aligned: Floats = kernels @ other_kernels.T
    return aligned


def _centred_kernels(states_LnD: Floats) -> Floats:
    """Return the inner products of each layer's states, U-centred (Székely and Rizzo 2014), as vectors of length 1."""
    n = states_LnD.shape[1]
    rows = []
    for states_nD in states_LnD.astype(np.float64):
        kernel = states_nD @ states_nD.T
        np.fill_diagonal(kernel, 0)
        sums = kernel.sum(0)
        kernel += sums.sum() / ((n - 1) * (n - 2)) - (sums[:, None] + sums) / (n - 2)
        np.fill_diagonal(kernel, 0)
        rows.append(kernel.ravel() / max(np.linalg.norm(kernel), np.finfo(np.float64).tiny))
    return np.stack(rows)

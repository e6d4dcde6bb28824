"""What changes when heads are switched off (Michel et al. 2019, section 3; Voita et al. 2019, section 6).

A head that is off adds nothing to the output projection of its layer.

Dimensions: T tokens of all copies, B copies, L layers, N heads, C labels, K of them shown.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import Floats, Grid, Listed, Number
from bertsmith.inspection.figures.score_probes import ScoreProbe, copies_in_parts, next_sentence_probe, task_probe, token_probe
from bertsmith.inspection.subject import Reading
from bertsmith.inspection.watcher import NOBODY, Watcher
from bertsmith.model.attention import plan_attention
from bertsmith.model.attention_plan import Attended, AttentionPlan
from bertsmith.model.encoder import TextEncoder
from bertsmith.types import PackedBatch

MOST_ABLATED = 128
_SHOWN = 10
Target = Literal["token", "next-sentence", "task"]


@dataclass(frozen=True, slots=True)
class Ablation:
    """The probabilities of the K likeliest labels as they are (K,) and with each head off (L, N, K), and how much the
    distribution over all labels changes (L, N): its total variation distance, half the sum of the differences; of a single
    number, the difference."""

    labels: list[str]
    before: Listed
    after: Grid
    change: Grid


@dataclass(frozen=True, slots=True)
class Ablated:
    """The same for some heads that are off together."""

    labels: list[str]
    before: Listed
    after: Listed
    change: Number


def ablation(reading: Reading, target: Target, position: int | None = None, watcher: Watcher = NOBODY) -> Ablation:
    """Return what becomes of a prediction when each head is switched off by itself."""
    probe = _probe(reading, target, position, watcher)
    n_layers, n_heads = reading.subject.n_layers, reading.subject.model.config.n_heads
    kept_LBN = torch.ones(n_layers, 1 + n_layers * n_heads, n_heads)
    for number in range(n_layers * n_heads):
        kept_LBN[number // n_heads, 1 + number, number % n_heads] = 0
    found = _compare(probe, reading, kept_LBN, watcher)
    shape = (n_layers, n_heads)
    return Ablation(found.labels, found.shares[0], found.shares[1:].reshape(*shape, -1), found.changes[1:].reshape(shape))


def ablate(
    reading: Reading,
    target: Target,
    off: list[tuple[int, int]],
    position: int | None = None,
    watcher: Watcher = NOBODY,
) -> Ablated:
    """Return what becomes of a prediction with some heads off together, each a layer and a number, both from 1."""
    n_layers, n_heads = reading.subject.n_layers, reading.subject.model.config.n_heads
    kept_LBN = torch.ones(n_layers, 2, n_heads)
    for layer, head in off:
        if not (1 <= layer <= n_layers and 1 <= head <= n_heads):
            raise Refusal(
                "invalid", f"there is no head {layer}.{head}: the model has {n_layers} layers of {n_heads} heads", field="off"
            )
        kept_LBN[layer - 1, 1, head - 1] = 0
    found = _compare(_probe(reading, target, position, watcher), reading, kept_LBN, watcher)
    return Ablated(found.labels, found.shares[0], found.shares[1], float(found.changes[1]))


def _probe(reading: Reading, target: Target, position: int | None, watcher: Watcher) -> ScoreProbe:
    if reading.n_tokens > MOST_ABLATED:
        raise Refusal(
            "too_many_tokens",
            f"the text has {reading.n_tokens} tokens; heads are switched off on at most {MOST_ABLATED}",
            limit=MOST_ABLATED,
            found=reading.n_tokens,
        )
    if target == "next-sentence":
        return next_sentence_probe(reading)
    if target == "task":
        return task_probe(reading, position, watcher)
    if position is None:
        raise Refusal("invalid", "which token is to be predicted? give its position", field="position")
    return token_probe(reading, position)


@dataclass(frozen=True, slots=True)
class _Compared:
    """Shares (B, K) of the labels that are likeliest in the first copy, and changes (B,) from it."""

    labels: list[str]
    shares: Floats
    changes: Floats


def _compare(probe: ScoreProbe, reading: Reading, kept_LBN: Tensor, watcher: Watcher) -> _Compared:
    encoder = reading.subject.model.encoder
    shares, changes = [], []
    first_C: Tensor | None = None
    for part in copies_in_parts(kept_LBN.shape[1], reading.n_tokens, watcher):
        batch = probe.batch(np.tile(probe.token_ids, (part.stop - part.start, 1)))
        with torch.inference_mode():
            hidden = encoder(batch, _without_heads(encoder, batch, kept_LBN[:, part])).hidden
            shares_BC = probe.to_shares(probe.logits(hidden, batch).float())
        if first_C is None:
            first_C = shares_BC[0]
            best_K = first_C.topk(min(_SHOWN, len(first_C))).indices
        differences_B = (shares_BC - first_C).abs().sum(1)
        changes.append(differences_B if len(first_C) == 1 else differences_B / 2)
        shares.append(shares_BC[:, best_K])
    labels = [probe.labels[number] for number in best_K.tolist()]
    return _Compared(labels, torch.cat(shares).numpy(), torch.cat(changes).numpy())


class _HeadsKept:
    """Attention in which some heads of some sequences say nothing: their contexts are 0."""

    def __init__(self, plan: AttentionPlan, kept_TN: Tensor) -> None:
        self._plan, self._kept_TN = plan, kept_TN

    def attend(self, query_key_value: Tensor, dropout: float) -> Attended:
        """Return the context vectors (T, N, H)."""
        return Attended(self._plan.attend(query_key_value, dropout).context * self._kept_TN[:, :, None])


def _without_heads(encoder: TextEncoder, batch: PackedBatch, kept_LBN: Tensor) -> list[AttentionPlan]:
    """Return each layer's plan, in which the heads that are 0, by layer and sequence, are off; the others are 1."""
    plan = plan_attention(batch, encoder.embeddings.token.weight.dtype, 0.0, want_probabilities=False)
    kept_LTN = kept_LBN.repeat_interleave(batch.cu_seqlens.diff().long(), dim=1)
    return [_HeadsKept(plan, kept_TN) for kept_TN in kept_LTN]

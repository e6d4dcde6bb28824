"""Which tokens mattered for a score: integrated gradients (Sundararajan et al. 2017, section 3) and erasure (Li et al. 2016,
section 3).

Dimensions: T tokens, B copies, D width.
"""

import importlib.util
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import Floats, Listed, Number
from bertsmith.inspection.figures.score_probes import ScoreProbe, copies_in_parts, task_probe, token_probe
from bertsmith.inspection.subject import Reading
from bertsmith.inspection.watcher import NOBODY, TOKENS_AT_ONCE, Watcher
from bertsmith.threads import threads_for

MOST_ATTRIBUTED = 256
_STEPS = 50
Method = Literal["integrated-gradients", "erasure"]


@dataclass(frozen=True, slots=True)
class Attribution:
    """How much each token speaks for a target, (T,), in the units of its score, the logit.

    value     the score of the text
    baseline  that of the text with all words masked; with integrated gradients, scores sum to value - baseline - gap
    gap       what is lost because the integral is a sum of a few steps
    """

    method: Method
    target: str
    position: int | None
    scores: Listed
    value: Number
    baseline: Number | None
    gap: Number | None


def has_captum() -> bool:
    """Say whether the library of integrated gradients is installed."""
    return importlib.util.find_spec("captum") is not None


def attribution(
    reading: Reading,
    method: Method,
    target: str | None = None,
    position: int | None = None,
    watcher: Watcher = NOBODY,
) -> Attribution:
    """Return how much each token speaks for ``target``, the likeliest label or token unless given.

    Of a model without a task, ``position`` is masked and the target is a token there; of one that tags, it is the token whose
    tag is looked at.

    Raises:
        Refusal: the model has no such target or nothing to predict with, or captum is not installed, or the text is too long.
    """
    if reading.n_tokens > MOST_ATTRIBUTED:
        raise Refusal(
            "too_many_tokens",
            f"the text has {reading.n_tokens} tokens; at most {MOST_ATTRIBUTED} are attributed",
            limit=MOST_ATTRIBUTED,
            found=reading.n_tokens,
        )
    if reading.subject.pipeline is not None:
        probe = task_probe(reading, position, watcher)
    elif position is None:
        raise Refusal("invalid", "which token is to be predicted? give its position", field="position")
    else:
        probe = token_probe(reading, position)
    number = _number(probe, reading, target)
    if method == "erasure":
        return _erased(probe, reading, number, position, watcher)
    if not has_captum():
        raise Refusal("missing", "integrated gradients need captum: pip install 'bertsmith[inspect]'", view="attribution")
    return _integrated(probe, reading, number, position, watcher)


def _number(probe: ScoreProbe, reading: Reading, target: str | None) -> int:
    if target is None:
        batch = probe.batch(probe.token_ids[None])
        with torch.inference_mode():
            return int(probe.logits(reading.subject.model.encoder(batch).hidden, batch)[0].argmax())
    if target not in probe.labels:
        raise Refusal("invalid", f"{target!r} is no label or token of this model", field="target")
    return list(probe.labels).index(target)


def _erased(probe: ScoreProbe, reading: Reading, number: int, position: int | None, watcher: Watcher) -> Attribution:
    """Return the score less that with the token replaced by ``[MASK]``, for each token in turn."""
    n_tokens = reading.n_tokens
    token_ids_BT = np.tile(probe.token_ids, (1 + n_tokens, 1))
    token_ids_BT[np.arange(n_tokens) + 1, np.arange(n_tokens)] = _nothing(reading)
    scores = []
    for part in copies_in_parts(len(token_ids_BT), n_tokens, watcher):
        batch = probe.batch(token_ids_BT[part])
        with torch.inference_mode():
            scores.append(probe.logits(reading.subject.model.encoder(batch).hidden, batch)[:, number])
    value, *without = torch.cat(scores).tolist()
    differences = np.array(
        [0.0 if special else value - score for special, score in zip(reading.is_special, without, strict=True)]
    )
    return Attribution("erasure", probe.labels[number], position, differences, value, None, None)


def _nothing(reading: Reading) -> int:
    """Return the token that stands for the absence of one."""
    tokenizer = reading.subject.tokenizer
    return tokenizer.unk_id if tokenizer.mask_id is None else tokenizer.mask_id


def _integrated(probe: ScoreProbe, reading: Reading, number: int, position: int | None, watcher: Watcher) -> Attribution:
    """Return integrated gradients along the line from the text of nothing but ``[MASK]`` to the text, in token embeddings."""
    from captum.attr import IntegratedGradients  # with matplotlib, so slow to import

    encoder, n_tokens = reading.subject.model.encoder, reading.n_tokens

    n_scored = 0

    def score(embedded_BTD: Tensor) -> Tensor:
        nonlocal n_scored
        watcher.reach(min(n_scored / _STEPS, 1))
        n_scored += len(embedded_BTD)
        batch = probe.batch(np.tile(probe.token_ids, (len(embedded_BTD), 1)))
        with threads_for(len(batch.token_ids)):
            return probe.logits(encoder(batch, token_vectors_TD=embedded_BTD.flatten(0, 1)).hidden, batch)[:, number]

    nothing = np.where(reading.is_special, probe.token_ids, _nothing(reading))
    embed = encoder.embeddings.token
    embedded_1TD, nothing_1TD = (embed(torch.from_numpy(token_ids))[None] for token_ids in (probe.token_ids, nothing))
    parts_1TD = IntegratedGradients(score).attribute(
        embedded_1TD, nothing_1TD, n_steps=_STEPS, internal_batch_size=max(1, TOKENS_AT_ONCE // n_tokens)
    )
    with torch.inference_mode():
        value, baseline = (float(score(one)) for one in (embedded_1TD, nothing_1TD))
    scores: Floats = parts_1TD[0].sum(-1).detach().numpy()
    gap = value - baseline - float(scores.sum())
    return Attribution("integrated-gradients", probe.labels[number], position, scores, value, baseline, gap)

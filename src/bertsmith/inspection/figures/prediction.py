"""What the pre-training heads say: a masked token's candidates, after each layer too; next sentences; pseudo-perplexity.

Masked tokens and next sentences are section 3.1 of Devlin et al. 2019. The head on states of earlier layers than the one it
was trained on is the logit lens (nostalgebraist 2020; for masked models Geva et al. 2022, section 2). Pseudo-perplexity is that
of Salazar et al. 2020 (section 2).

Dimensions: T tokens, L layers, V vocabulary, n predicted positions.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import Number
from bertsmith.inspection.figures.score_probes import copies_in_parts, masked_ids, next_sentence_probe
from bertsmith.inspection.subject import Reading
from bertsmith.inspection.watcher import NOBODY, Watcher
from bertsmith.types import PackedBatch

TOP, _TOP_OF_LAYER = 10, 5
MOST_SCORED = 256
# Beyond this e to it is no number any more.
_MOST_SURPRISE = 700.0


@dataclass(frozen=True, slots=True)
class TokenCandidate:
    """A token and its probability."""

    token: str
    id: int
    probability: Number


@dataclass(frozen=True, slots=True)
class Readout:
    """What the masked-token head makes of a layer's output; entropy in bits."""

    layer: int
    entropy: Number
    original_probability: Number
    candidates: list[TokenCandidate]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The likeliest tokens at a position, and where the token that stands there is among them; entropy in bits."""

    position: int
    masked: bool
    original: str
    entropy: Number
    original_probability: Number
    original_rank: int
    candidates: list[TokenCandidate]
    layers: list[Readout]


def predict(reading: Reading, position: int, masked: bool) -> Prediction:
    """Return what the model says stands at ``position``, where it reads ``[MASK]`` or the token itself."""
    token_ids = masked_ids(reading, position)
    original = reading.encoding.token_ids[position]
    if not masked:
        token_ids[position] = original
    model, tokens = reading.subject.model, reading.subject.tokenizer.tokens
    segment_ids = np.array(reading.encoding.segment_ids)
    batch = PackedBatch.from_arrays(token_ids, segment_ids, np.array([len(token_ids)]))
    assert model.masked_token is not None
    with torch.inference_mode():
        states = model.encoder(batch, want_layers=True).layers
        logits_LV = model.masked_token(torch.stack([layer_TD[position] for layer_TD in states]))
        probabilities_LV = logits_LV.float().softmax(-1)
        entropies_L = (torch.special.entr(probabilities_LV).sum(1) / math.log(2)).tolist()
    readouts = [
        Readout(layer, entropy, float(row[original]), _best(row, tokens, _TOP_OF_LAYER))
        for layer, (entropy, row) in enumerate(zip(entropies_L, probabilities_LV, strict=True))
    ]
    last_V = probabilities_LV[-1]
    return Prediction(
        position=position,
        masked=masked,
        original=reading.encoding.tokens[position],
        entropy=entropies_L[-1],
        original_probability=float(last_V[original]),
        original_rank=1 + int((last_V > last_V[original]).sum()),
        candidates=_best(last_V, tokens, TOP),
        layers=readouts,
    )


def _best(probabilities_V: Tensor, tokens: list[str], top: int) -> list[TokenCandidate]:
    best, token_ids = probabilities_V[: len(tokens)].topk(min(top, len(tokens)))
    return [
        TokenCandidate(tokens[token_id], token_id, probability)
        for token_id, probability in zip(token_ids.tolist(), best.tolist(), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class NextSentencePrediction:
    """How probable it is that the second text follows the first, or is from elsewhere."""

    follows: Number
    elsewhere: Number


def next_sentence(reading: Reading) -> NextSentencePrediction:
    """Return what the next-sentence head says of a pair."""
    probe = next_sentence_probe(reading)
    with torch.inference_mode():
        shares_12 = probe.to_shares(probe.logits(torch.from_numpy(reading.layers[-1]), reading.batch()).float())
    return NextSentencePrediction(*shares_12[0].tolist())


@dataclass(frozen=True, slots=True)
class Scored:
    """A token, its probability where it alone is masked, the natural logarithm of it, and the likeliest token there."""

    position: int
    probability: Number
    log_probability: Number
    likeliest: str


@dataclass(frozen=True, slots=True)
class PseudoPerplexity:
    """How surprising the tokens are: ``perplexity`` is e to the mean of minus their logarithms of probabilities."""

    perplexity: Number
    tokens: list[Scored]


def pseudo_perplexity(reading: Reading, watcher: Watcher = NOBODY) -> PseudoPerplexity:
    """Return the probability of each token, special ones left out, with itself masked and all others seen.

    Raises:
        Refusal: there are more tokens than can be masked one by one, or none.
    """
    positions = np.flatnonzero(~np.array(reading.is_special))
    if len(positions) > MOST_SCORED:
        raise Refusal(
            "too_many_tokens",
            f"the text has {len(positions)} tokens; one by one at most {MOST_SCORED} are masked",
            limit=MOST_SCORED,
            found=len(positions),
        )
    if not len(positions):
        raise Refusal("empty_text", "the text holds no tokens", field="text")
    token_ids_nT = np.stack([masked_ids(reading, position) for position in positions.tolist()])
    segment_ids, n_tokens = np.array(reading.encoding.segment_ids), reading.n_tokens
    originals_n = torch.tensor(reading.encoding.token_ids)[positions]
    tokens = reading.subject.tokenizer.tokens
    logarithms: list[float] = []
    likeliest: list[int] = []
    for part in copies_in_parts(len(positions), n_tokens, watcher):
        n_copies = part.stop - part.start
        batch = PackedBatch.from_arrays(token_ids_nT[part].ravel(), np.tile(segment_ids, n_copies), np.full(n_copies, n_tokens))
        rows = batch.cu_seqlens[:-1].long() + torch.from_numpy(positions[part])
        with torch.inference_mode():
            logits = reading.subject.model.logits(batch, positions=rows).token_logits
            assert logits is not None
            logarithms_nV = logits.float().log_softmax(-1)
        logarithms += logarithms_nV.gather(1, originals_n[part][:, None])[:, 0].tolist()
        likeliest += logarithms_nV[:, : len(tokens)].argmax(1).tolist()
    scored = [
        Scored(position, math.exp(logarithm), logarithm, tokens[best])
        for position, logarithm, best in zip(positions.tolist(), logarithms, likeliest, strict=True)
    ]
    surprise = -sum(logarithms) / len(logarithms)
    return PseudoPerplexity(math.exp(min(surprise, _MOST_SURPRISE)), scored)

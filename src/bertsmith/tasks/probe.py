"""A linear probe: the last layer of a head, trained on frozen vectors of the model to start from.

What it scores is the baseline of a run, and fine-tuning may go on from it (Kumar et al. 2022, "Fine-tuning can distort
pretrained features").

Dimensions: N rows, one a sequence or a token; D width, C scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bertsmith.errors import DivergedError
from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.randomness import key, permutation
from bertsmith.tasks.predictor import TOKEN_BUDGET, Forward, in_batches
from bertsmith.tasks.task import Sample, SampleBatch, Task

_MOST_SAMPLES, _MOST_TOKENS = 4096, 100_000
_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Weights of the squared norm that are tried, on vectors whose figures have a deviation of 1."""
_USUAL_PENALTY, _FEWEST_TO_CHOOSE_BY, _HELD_OUT = 10.0, 10, 5
_ITERATIONS = 60


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the layer reads of samples, in order: of each the vectors of its rows."""

    samples: Sequence[Sample]
    vectors: Sequence[Tensor]

    def only(self, places: Sequence[int]) -> "_Rows":
        return _Rows([self.samples[place] for place in places], [self.vectors[place] for place in places])


def fit_probe(task: Task, head: ScoringHead, samples: Sequence[Sample], forward: Forward) -> None:
    """Train the output layer of a head, and nothing else, on some of the samples.

    It is logistic regression, or what the task's loss makes of it, with a penalty on the squared norm that is chosen on samples
    held out.

    Args:
        task: Has the loss.
        head: Of the model that ``forward`` runs; it has an output layer, which is changed.
        samples: What to train on; of very many some.
        forward: From a batch to the head's logits, without dropout.

    Raises:
        DivergedError: the model says what is no number.
    """
    layer = head.output_layer
    assert layer is not None
    rows = _read(head, layer, _some(samples), forward)
    all_ND = torch.cat(list(rows.vectors))
    if not all_ND.isfinite().all():
        raise DivergedError("the vectors of the model to start from are NaN or infinite")
    mean_D, deviation_D = all_ND.mean(0), all_ND.std(0, correction=0).clamp(min=1e-6)
    rows = _Rows(rows.samples, [(of_sample - mean_D) / deviation_D for of_sample in rows.vectors])
    weight_CD, bias_C = _fitted(task, head, rows, layer.out_features, _best_penalty(task, head, rows, layer.out_features))
    with torch.no_grad():
        layer.weight.copy_(weight_CD / deviation_D)
        layer.bias.copy_(bias_C - weight_CD / deviation_D @ mean_D)


def _some(samples: Sequence[Sample]) -> list[Sample]:
    order = permutation(key("probe"), len(samples))[:_MOST_SAMPLES]
    n_tokens = np.cumsum([samples[place].n_tokens for place in order])
    return [samples[place] for place in order[: max(1, int(np.searchsorted(n_tokens, _MOST_TOKENS)))]]


def _read(head: ScoringHead, layer: nn.Linear, samples: Sequence[Sample], forward: Forward) -> _Rows:
    read: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _layer, inputs: read.append(inputs[0].detach().float().cpu()))

    def vectors(batch: SampleBatch) -> Sequence[Tensor]:
        forward(batch.inputs)
        of_tokens = head.scores == "tokens"
        return torch.split(read.pop(), [sample.n_tokens if of_tokens else len(sample.windows) for sample in batch.samples])

    try:
        found = dict(in_batches(samples, TOKEN_BUDGET, vectors))
    finally:
        hook.remove()
    return _Rows(samples, [found[place] for place in range(len(samples))])


def _best_penalty(task: Task, head: ScoringHead, rows: _Rows, n_scores: int) -> float:
    """Return the penalty whose layer has the lowest loss on samples that it was not trained on."""
    places = range(len(rows.samples))
    if len(places) < _FEWEST_TO_CHOOSE_BY:
        return _USUAL_PENALTY
    kept, held = (rows.only([place for place in places if (place % _HELD_OUT == 0) == is_held]) for is_held in (False, True))
    unpenalised = _Objective(task, head, held, 0.0)

    def loss(penalty: float) -> float:
        with torch.no_grad():
            return unpenalised(*_fitted(task, head, kept, n_scores, penalty)).item()

    return min(_PENALTIES, key=loss)


class _Objective:
    """The mean loss over the targets with a layer, and its penalty."""

    def __init__(self, task: Task, head: ScoringHead, rows: _Rows, penalty: float) -> None:
        self._task, self._head, self._penalty = task, head, penalty
        self._vectors_ND, self._batch = torch.cat(list(rows.vectors)), SampleBatch.collate(rows.samples)
        self._n_targets = max(1, sum(task.n_targets(sample) for sample in rows.samples))

    def __call__(self, weight_CD: Tensor, bias_C: Tensor) -> Tensor:
        loss = self._task.loss(self._vectors_ND @ weight_CD.T + bias_C, self._batch, self._head)
        return (loss + self._penalty / 2 * weight_CD.square().sum()) / self._n_targets


@torch.enable_grad()
def _fitted(task: Task, head: ScoringHead, rows: _Rows, n_scores: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Return the weight (C, D) and the bias (C,) with the lowest objective."""
    weight_CD = torch.zeros(n_scores, rows.vectors[0].shape[1], requires_grad=True)
    bias_C = torch.zeros(n_scores, requires_grad=True)
    objective = _Objective(task, head, rows, penalty)
    optimiser = torch.optim.LBFGS([weight_CD, bias_C], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        loss = objective(weight_CD, bias_C)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight_CD.detach(), bias_C.detach()

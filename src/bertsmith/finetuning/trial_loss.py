"""The losses that a trial can train on: the task's own, with R-Drop, with adversarial embeddings, and both of these.

A loss adds its gradients over a step's batch to the model's. One that changes how another is trained on holds that other.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from bertsmith.finetuning.grid import Recipe
from bertsmith.model.bert import Bert
from bertsmith.tasks.predictor import pack_samples
from bertsmith.tasks.task import Sample, SampleBatch, Task
from bertsmith.training.stepper import Stepper


@dataclass(frozen=True, slots=True)
class StepBatch:
    """The samples that a step is made on, all of one task.

    head       answers for the task
    parts      the samples in parts that fit into memory one at a time
    n_targets  predictions that the loss of all parts sums over, at least 1
    """

    task: Task
    head: nn.Module
    parts: Sequence[Sequence[Sample]]
    n_targets: int

    @classmethod
    def of(cls, task: Task, head: nn.Module, samples: Sequence[Sample], token_budget: int) -> Self:
        """Divide the samples into parts of at most ``token_budget`` tokens, unless the loss compares them all."""
        places = [list(range(len(samples)))] if task.compares_samples else pack_samples(samples, token_budget)
        n_targets = max(1, sum(task.n_targets(sample) for sample in samples))
        return cls(task, head, [[samples[place] for place in part] for part in places], n_targets)


class Loss(Protocol):
    """What a step makes smaller."""

    @property
    def needs_probabilities(self) -> bool:
        """Whether it is for tasks alone that predict probabilities."""

    def accumulate(self, step: int, stepper: Stepper, batch: StepBatch) -> Tensor:
        """Add the gradients of the mean over the batch's targets to the model's, and return that mean."""


class PlainLoss:
    """The task's own loss."""

    needs_probabilities = False

    def accumulate(self, step: int, stepper: Stepper, batch: StepBatch) -> Tensor:
        """Add the gradients of the parts, one after the other, and return the sum of their shares."""
        losses = []
        for place, samples in enumerate(batch.parts):
            part = SampleBatch.collate(samples).to(stepper.device)
            losses.append(stepper.accumulate(step, place, partial(self.share, stepper.compute, batch, part)))
        return torch.stack(losses).sum()

    def share(self, model: Bert, batch: StepBatch, part: SampleBatch) -> Tensor:
        """Return what a part adds to the mean over the batch's targets."""
        return _forward(model, batch, part)[1] / batch.n_targets


class RDropLoss(PlainLoss):
    """R-Drop (Liang et al. 2021): two passes with other dropout, their mean loss, and ``weight`` times their disagreement.

    That is half the sum of the divergences KL(p‖q) and KL(q‖p) of their probabilities p and q.
    """

    needs_probabilities = True

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def share(self, model: Bert, batch: StepBatch, part: SampleBatch) -> Tensor:
        """Return what a part adds to the mean over the batch's targets."""
        first, own = _forward(model, batch, part)
        second, other = _forward(model, batch, part)
        log_p, log_q = (batch.task.log_probabilities(logits, part) for logits in (first, second))
        disagreement = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum() / 2
        return ((own + other) / 2 + self.weight * disagreement) / batch.n_targets


class AdversarialLoss:
    """FGM (Miyato et al. 2017): another loss, and the same again with token embeddings moved up its gradient by ``size``."""

    def __init__(self, loss: Loss, size: float) -> None:
        self.loss, self.size = loss, size
        self.needs_probabilities = loss.needs_probabilities

    def accumulate(self, step: int, stepper: Stepper, batch: StepBatch) -> Tensor:
        """Add the gradients of both, and return the loss on the embeddings as they are."""
        value = self.loss.accumulate(step, stepper, batch)
        with _moved(stepper.master.encoder.embeddings.token.weight, self.size):
            self.loss.accumulate(step, stepper, batch)
        return value


def make_loss(recipe: Recipe) -> Loss:
    """Return the loss that a recipe asks for."""
    loss = RDropLoss(recipe.r_drop) if recipe.r_drop else PlainLoss()
    return AdversarialLoss(loss, recipe.fgm) if recipe.fgm else loss


def _forward(model: Bert, batch: StepBatch, part: SampleBatch) -> tuple[Tensor, Tensor]:
    """Return the head's logits for a part and the task's loss, summed over the targets."""
    logits = model.logits(part.inputs).task_logits
    assert logits is not None
    return logits.float(), batch.task.loss(logits.float(), part, batch.head)


@contextmanager
def _moved(weight: Tensor, size: float) -> Iterator[None]:
    """Move a weight by ``size`` in the direction of its gradient while the body runs."""
    assert weight.grad is not None
    # The lengthening is bounded for a gradient that is nothing.
    change = weight.grad * (size / weight.grad.norm().clamp_min(1e-12))
    before = weight.detach().clone()
    with torch.no_grad():
        weight += change
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(before)

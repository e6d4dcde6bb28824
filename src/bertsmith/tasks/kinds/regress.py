"""A number for a text or a pair (Devlin et al. 2019, appendix B.1: STS-B).

Dimensions: B sequences, n examples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.config import Flag
from bertsmith.errors import InputError, UsageError
from bertsmith.model.heads.scoring_head import ScoringHead, TaskHead
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.labels import LabelReading, number
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.scoring.scores import constant_caveat, regression_scores
from bertsmith.tasks.sentence_task import SentenceTask, described, texts_of
from bertsmith.tasks.shown import NumberAnswer
from bertsmith.tasks.split_keys import SplitKeys, quantiles
from bertsmith.tasks.task import Floats, Mistake, Review, SampleBatch, Seen, worst


@dataclass(frozen=True, slots=True)
class Estimated:
    """A number."""

    score: float

    def __str__(self) -> str:
        return f"{self.score:.3f}"


class Regress(SentenceTask[Estimated]):
    """One text or a pair, a number."""

    kind: ClassVar[str] = "regress"
    pipeline_tag: ClassVar[str] = "text-classification"
    usual_metric: ClassVar[str] = "spearman"

    bounds: Annotated[tuple[float, float] | None, Flag(has_commas=True)] = None
    """The least and the most that is predicted; without bounds unless given."""

    # The head learns numbers of mean 0 and deviation 1: of others it would learn the mean alone for most of a short training.
    _mean: float = 0.0
    _deviation: float = 1.0

    @property
    def read_label(self) -> LabelReading:
        """Cells hold numbers."""
        return number

    def fitted(self, examples: Sequence[TextExample]) -> Self:
        """Return the task with the mean and the deviation of the numbers; refuse examples that all have the same."""
        if self.bounds and not self.bounds[0] < self.bounds[1]:
            raise UsageError(f"--bounds {self.bounds[0]:g},{self.bounds[1]:g}: the first must be less than the second")
        numbers = np.array([self.number(example) for example in examples])
        if np.ptp(numbers) == 0:
            raise InputError(
                f"all {len(examples):,} training examples have the number {examples[0].label}; nothing can be learnt"
            )
        fitted = self.model_copy()
        fitted._mean, fitted._deviation = float(numbers.mean()), float(numbers.std())
        return fitted

    def check(self, examples: Sequence[TextExample]) -> None:
        """Refuse labels that are no numbers."""
        for example in examples:
            self.number(example)

    def content(self, example: TextExample) -> Content:
        """Return the texts with their number."""
        number = self.number(example)
        return Content((texts_of(example),), f"{number:g}", number=number)

    def caveat(self, examples: Sequence[TextExample]) -> str | None:
        """Return that there is but one number, if so."""
        return constant_caveat({self.number(example) for example in examples})

    def split_keys(self, examples: Sequence[TextExample]) -> SplitKeys:
        """Stratify by the size of the number."""
        strata = quantiles([self.number(example) for example in examples])
        return replace(super().split_keys(examples), strata=strata, stratum_name="size of the number")

    def head(self) -> TaskHead:
        """Return the head with one score."""
        return self.sequence_scores(("score",), "regression")

    def target(self, example: TextExample) -> float:
        """Return what the head learns to say of the example."""
        return (self.number(example) - self._mean) / self._deviation

    def finished(self, head: nn.Module) -> Self:
        """Return the task whose head says the numbers themselves."""
        assert isinstance(head, ScoringHead) and head.output_layer is not None
        layer = head.output_layer
        with torch.no_grad():
            layer.weight.mul_(self._deviation)
            layer.bias.mul_(self._deviation).add_(self._mean)
        finished = self.model_copy()
        finished._mean, finished._deviation = 0.0, 1.0
        return finished

    def number(self, example: TextExample) -> float:
        """Return the number that is right."""
        try:
            value = float(example.label)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{example.source}: the label {example.label!r} is no number; use classify for classes")
        return value

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:  # noqa: ARG002
        """Return the squared error."""
        return F.mse_loss(logits[:, 0], batch.targets(torch.float32, logits.device), reduction="sum")

    def predicted(self, logits_C: Floats) -> Estimated:
        """Return the number, within the bounds."""
        value = float(logits_C[0]) * self._deviation + self._mean
        return Estimated(value if self.bounds is None else min(max(value, self.bounds[0]), self.bounds[1]))

    def constant(self, examples: Sequence[TextExample]) -> Estimated:
        """Return the mean."""
        return Estimated(float(np.mean([self.number(example) for example in examples])))

    def outcomes(self, examples: Sequence[TextExample], predictions: Sequence[Estimated]) -> Floats:
        """Return (n, 2): the right number and the predicted one."""
        pairs = zip(examples, predictions, strict=True)
        return np.array([(self.number(example), found.score) for example, found in pairs]).reshape(-1, 2)

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return Pearson's and Spearman's correlation and the mean squared error."""
        return regression_scores(outcomes[:, 0], outcomes[:, 1])

    def shown(self, seen: Seen[TextExample, Estimated]) -> NumberAnswer:
        """Return the number."""
        return NumberAnswer(seen.prediction.score)

    def review(self, examples: Sequence[TextExample], predictions: Sequence[Estimated]) -> Review:
        """Return the examples that are farthest off."""
        return Review(
            mistakes=worst(
                [
                    Mistake(
                        described(example), f"{self.number(example):g}", str(found), abs(self.number(example) - found.score)
                    )
                    for example, found in zip(examples, predictions, strict=True)
                ]
            )
        )

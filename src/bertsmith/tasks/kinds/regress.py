"""A number for a text or a pair (Devlin et al. 2019, appendix B.1: STS-B).

Dimensions: B sequences, n examples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.errors import InputError
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.sequence import SequenceScores
from bertsmith.tasks.files.labels import LabelReading, number
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.scoring.scores import constant_caveat, regression_scores
from bertsmith.tasks.sentence_task import SentenceTask, described
from bertsmith.tasks.shown import NumberAnswer
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

    @property
    def read_label(self) -> LabelReading:
        """Cells hold numbers."""
        return number

    def fitted(self, examples: Sequence[TextExample]) -> Self:
        """Return the task unchanged; refuse examples that all have the same number."""
        self.check(examples)
        if len({self.target(example) for example in examples}) < 2:
            raise InputError(
                f"all {len(examples):,} training examples have the number {examples[0].label}; nothing can be learnt"
            )
        return self

    def check(self, examples: Sequence[TextExample]) -> None:
        """Refuse labels that are no numbers."""
        for example in examples:
            self.target(example)

    def caveat(self, examples: Sequence[TextExample]) -> str | None:
        """Return that there is but one number, if so."""
        return constant_caveat({self.target(example) for example in examples})

    def head(self) -> TaskHead:
        """Return the head with one score."""
        return SequenceScores(("score",), "regression")

    def target(self, example: TextExample) -> float:
        """Return the number."""
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
        """Return the number."""
        return Estimated(float(logits_C[0]))

    def outcomes(self, examples: Sequence[TextExample], predictions: Sequence[Estimated]) -> Floats:
        """Return (n, 2): the right number and the predicted one."""
        pairs = zip(examples, predictions, strict=True)
        return np.array([(self.target(example), found.score) for example, found in pairs]).reshape(-1, 2)

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
                        described(example), f"{self.target(example):g}", str(found), abs(self.target(example) - found.score)
                    )
                    for example, found in zip(examples, predictions, strict=True)
                ]
            )
        )

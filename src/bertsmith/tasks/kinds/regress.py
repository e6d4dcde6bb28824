"""A number, or several, for a text or a pair (Devlin et al. 2019, appendix B.1: STS-B).

Dimensions: B sequences, C numbers of an example, n examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.config import Flag, Names
from bertsmith.errors import InputError, UsageError
from bertsmith.model.heads.scoring_head import ScoringHead, TaskHead
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.labels import LabelReading, finite, number
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.scoring.scores import constant_caveat, regression_scores
from bertsmith.tasks.sentence_task import SentenceTask, described, texts_of
from bertsmith.tasks.shown import NumberAnswer
from bertsmith.tasks.split_keys import SplitKeys, quantiles
from bertsmith.tasks.task import Floats, Mistake, Review, SampleBatch, Seen, worst


@dataclass(frozen=True, slots=True)
class Estimated:
    """A number; of several their mean, and each by its name."""

    score: float
    scores: dict[str, float] | None = None

    def __str__(self) -> str:
        values = [self.score] if self.scores is None else self.scores.values()
        return ",".join(f"{value:.3f}" for value in values)


class Regress(SentenceTask[Estimated]):
    """One text or a pair, a number or several."""

    kind: ClassVar[str] = "regress"
    pipeline_tag: ClassVar[str] = "text-classification"
    usual_metric: ClassVar[str] = "spearman"

    labels: Names = ()
    """Columns of a number each, where several are learnt."""
    bounds: Annotated[tuple[float, float] | None, Flag(has_commas=True)] = None
    """The least and the most that is predicted; without bounds unless given."""

    # The head learns numbers of mean 0 and deviation 1: of others it would learn the mean alone for most of a short training.
    _means: tuple[float, ...] = ()
    _deviations: tuple[float, ...] = ()

    @property
    def read_label(self) -> LabelReading:
        """Cells hold numbers."""
        return number

    @property
    def label_columns(self) -> Sequence[str]:
        """The columns of the numbers."""
        return self.labels

    def fitted(self, examples: Sequence[TextExample]) -> Self:
        """Return the task with the mean and the deviation of the numbers; refuse examples that all have the same."""
        if not self.labels and isinstance(examples[0].label, dict):
            return self.model_copy(update={"labels": tuple(examples[0].label)}).fitted(examples)
        if self.bounds and not self.bounds[0] < self.bounds[1]:
            raise UsageError(f"--bounds {self.bounds[0]:g},{self.bounds[1]:g}: the first must be less than the second")
        numbers_nC = np.array([self.numbers(example) for example in examples])
        if (np.ptp(numbers_nC, axis=0) == 0).any():
            raise InputError(
                f"all {len(examples):,} training examples have the number {examples[0].label}; nothing can be learnt"
            )
        fitted = self.model_copy()
        fitted._means, fitted._deviations = tuple(numbers_nC.mean(0).tolist()), tuple(numbers_nC.std(0).tolist())
        return fitted

    def check(self, examples: Sequence[TextExample]) -> None:
        """Refuse labels that are no numbers."""
        for example in examples:
            self.numbers(example)

    def content(self, example: TextExample) -> Content:
        """Return the texts with their numbers; of several the first is what is counted."""
        numbers = self.numbers(example).tolist()
        return Content((texts_of(example),), ", ".join(f"{number:g}" for number in numbers), number=numbers[0])

    def caveat(self, examples: Sequence[TextExample]) -> str | None:
        """Return that there is but one number, if so."""
        columns = zip(*(self.numbers(example).tolist() for example in examples), strict=True)
        return next((caveat for column in columns if (caveat := constant_caveat(set(column)))), None)

    def split_keys(self, examples: Sequence[TextExample]) -> SplitKeys:
        """Stratify by the size of the number, of several by that of the first."""
        strata = quantiles([float(self.numbers(example)[0]) for example in examples])
        return replace(super().split_keys(examples), strata=strata, stratum_name="size of the number")

    def head(self) -> TaskHead:
        """Return the head with a score for each number."""
        return self.sequence_scores(self.labels or ("score",), "regression")

    def target(self, example: TextExample) -> Floats:
        """Return (C,), what the head learns to say of the example."""
        means_C, deviations_C = self._scale()
        return (self.numbers(example) - means_C) / deviations_C

    def _scale(self) -> tuple[Floats, Floats]:
        """Return the means and the deviations of the numbers (C,), of the head's own scores 0 and 1."""
        n_numbers = len(self.labels) or 1
        return np.array(self._means or (0.0,) * n_numbers), np.array(self._deviations or (1.0,) * n_numbers)

    def finished(self, head: nn.Module) -> Self:
        """Return the task whose head says the numbers themselves."""
        assert isinstance(head, ScoringHead) and head.output_layer is not None
        layer = head.output_layer
        means_C, deviations_C = (torch.from_numpy(values_C).to(layer.bias) for values_C in self._scale())
        with torch.no_grad():
            layer.weight.mul_(deviations_C[:, None])
            layer.bias.mul_(deviations_C).add_(means_C)
        finished = self.model_copy()
        finished._means, finished._deviations = (), ()
        return finished

    def numbers(self, example: TextExample) -> Floats:
        """Return the numbers that are right (C,)."""
        labels = list(example.label.values()) if isinstance(example.label, dict) else [example.label]
        if len(labels) != (len(self.labels) or 1):
            named = ", ".join(self.labels) or "one number"
            raise InputError(f"{example.source}: the label is {example.label!r:.80} where {named} are expected; see --labels")
        return np.array([finite(label, example.source) for label in labels])

    def gold(self, example: TextExample) -> float | dict[str, float]:
        """Return the number that is right, or each by its name."""
        numbers = self.numbers(example).tolist()
        return dict(zip(self.labels, numbers, strict=True)) if self.labels else float(numbers[0])

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:  # noqa: ARG002
        """Return the squared error, of several numbers the mean over them."""
        targets_BC = batch.targets(torch.float32, logits.device).reshape(logits.shape)
        return F.mse_loss(logits, targets_BC, reduction="sum") / logits.shape[1]

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the numbers, which are no probabilities."""
        return scores

    def predicted(self, logits_C: Floats) -> Estimated:
        """Return the number, within the bounds, or each of several."""
        means_C, deviations_C = self._scale()
        values_C = logits_C.reshape(-1) * deviations_C + means_C
        return self._estimated(values_C if self.bounds is None else values_C.clip(*self.bounds))

    def _estimated(self, values_C: Floats) -> Estimated:
        by_name = dict(zip(self.labels, values_C.tolist(), strict=True)) if self.labels else None
        return Estimated(float(values_C.mean()), by_name)

    def constant(self, examples: Sequence[TextExample]) -> Estimated:
        """Return the mean."""
        return self._estimated(np.mean([self.numbers(example) for example in examples], axis=0))

    def outcomes(self, examples: Sequence[TextExample], predictions: Sequence[Estimated]) -> Floats:
        """Return (n, 2 C): the right numbers and the predicted ones."""
        pairs = zip(examples, predictions, strict=True)
        rows = [np.concatenate([self.numbers(example), _values(found)]) for example, found in pairs]
        return np.array(rows).reshape(-1, 2 * (len(self.labels) or 1))

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return Pearson's and Spearman's correlation and the mean squared error; of several numbers the means, and of each."""
        gold_nC, predicted_nC = np.hsplit(outcomes, 2)
        columns = [regression_scores(*column) for column in zip(gold_nC.T, predicted_nC.T, strict=True)]
        means = {name: float(np.mean([scores[name] for scores in columns])) for name in columns[0]}
        each = zip(self.labels, columns, strict=False)
        return means | {f"{label}/{name}": value for label, scores in each for name, value in scores.items()}

    def shown(self, seen: Seen[TextExample, Estimated]) -> NumberAnswer:
        """Return the number."""
        return NumberAnswer(seen.prediction.score)

    def review(self, examples: Sequence[TextExample], predictions: Sequence[Estimated]) -> Review:
        """Return the examples that are farthest off."""
        mistakes = []
        for example, found in zip(examples, predictions, strict=True):
            numbers_C = self.numbers(example)
            expected = ",".join(f"{value:g}" for value in numbers_C)
            distance = float(np.abs(numbers_C - _values(found)).mean())
            mistakes.append(Mistake(described(example), expected, str(found), distance))
        return Review(mistakes=worst(mistakes))

    def record(self, example: TextExample, prediction: Estimated) -> Mapping[str, Any]:
        """Return the number, and where there are several each by its name."""
        record = super().record(example, prediction)
        return {name: value for name, value in record.items() if value is not None or name != "scores"}


def _values(found: Estimated) -> Floats:
    return np.array([found.score] if found.scores is None else list(found.scores.values()))

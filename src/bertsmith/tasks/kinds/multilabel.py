"""Any of C labels for a text or a pair.

Dimensions: B sequences, C classes, n examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.config import Names, Numbers
from bertsmith.errors import InputError, UsageError
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.labels import HOT, LabelReading, any_labels, are_multi_hot, hot_names, known_name
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.classify import check_labels, sort_labels
from bertsmith.tasks.scoring.scores import multilabel_scores, tune_thresholds
from bertsmith.tasks.sentence_task import SentenceTask, content_of, described
from bertsmith.tasks.shown import LabelsAnswer
from bertsmith.tasks.split_keys import SplitKeys
from bertsmith.tasks.task import Floats, Mistake, Review, SampleBatch, Seen, counted, log, worst


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labels whose probability reaches their threshold, and the probability of every label."""

    labels: tuple[str, ...]
    probabilities: dict[str, float]

    def __str__(self) -> str:
        return ",".join(self.labels)


class Multilabel(SentenceTask[Labelled]):
    """One text or a pair, any of C labels."""

    kind: ClassVar[str] = "multilabel"
    pipeline_tag: ClassVar[str] = "text-classification"
    usual_metric: ClassVar[str] = "micro_f1"

    separator: str = pydantic.Field(default=",", min_length=1)
    """What stands between the labels of a row in CSV and TSV."""
    labels: Names = ()
    """The labels, in order, which may be columns of a 1 or a 0 each; those of the training file unless given."""
    thresholds: Numbers = ()
    """Probability from which each label is given; tuned on the dev file unless given."""
    multi_hot: bool | None = None
    """Whether a row has a 1 or a 0 for each label, in order, instead of names; found by itself."""

    @property
    def read_label(self) -> LabelReading:
        """Cells hold any number of labels."""
        return partial(any_labels, self.separator)

    @property
    def label_columns(self) -> Sequence[str]:
        """Columns of a 1 or a 0 each may be named as the labels are."""
        return self.labels

    def fitted(self, examples: Sequence[TextExample]) -> Self:
        """Return the task with the labels that the examples have, and whether these are in multi-hot form."""
        lists = [self._listed(example) for example in examples]
        sources = [example.source for example in examples]
        multi_hot = are_multi_hot(lists, sources) if self.multi_hot is None else self.multi_hot
        if multi_hot:
            labels = self.labels or tuple(map(str, range(len(lists[0]))))
            log.warning("rows have a 1 or a 0 for each of %d labels: %s (--labels)", len(labels), ", ".join(labels[:20]))
        else:
            labels = self.labels or tuple(sort_labels({label for names in lists for label in names}))
        if not labels:
            raise InputError(f"none of {len(examples):,} training examples has a label")
        if self.thresholds and len(self.thresholds) != len(labels):
            raise UsageError(f"--thresholds has {len(self.thresholds)} values for {len(labels)} labels")
        fitted = self.model_copy(update={"labels": labels, "multi_hot": multi_hot})
        fitted.check(examples)
        return fitted

    def check(self, examples: Sequence[TextExample]) -> None:
        """Refuse labels that the task does not have."""
        for example in examples:
            check_labels(example.source, self._of(example), self.labels)

    def content(self, example: TextExample) -> Content:
        """Return the texts with their labels, each of which counts for F1."""
        labels = self._of(example)
        return replace(content_of(example, labels), n_scored=len(labels))

    def caveat(self, examples: Sequence[TextExample]) -> str | None:
        """Return that there are no labels, if so."""
        return (
            None if any(map(self._of, examples)) else "no example has a label: F1 and average precision are 0, whatever is said"
        )

    def gold(self, example: TextExample) -> list[str]:
        """Return the names of the labels."""
        return self._of(example)

    def split_keys(self, examples: Sequence[TextExample]) -> SplitKeys:
        """Stratify by all labels."""
        return replace(super().split_keys(examples), strata=[self._of(example) for example in examples], stratum_name="label")

    def _of(self, example: TextExample) -> list[str]:
        listed = self._listed(example)
        # A model of other tools does not say how its labels were written.
        may_be_hot = len(listed) == len(self.labels) > 1 and HOT.issuperset(listed) and not HOT & set(self.labels)
        if may_be_hot if self.multi_hot is None else self.multi_hot:
            return hot_names(listed, self.labels, example.source)
        return [known_name(label, self.labels) for label in listed]

    def _listed(self, example: TextExample) -> list[str]:
        """Return what stands in the row: names, or a 1 or a 0 for each label."""
        if isinstance(example.label, list):
            return [str(label) for label in example.label]
        return [label for part in str(example.label).split(self.separator) if (label := part.strip())]

    def head(self) -> TaskHead:
        """Return the head that scores each label by itself."""
        return self.sequence_scores(self.labels, "multi_label_classification")

    def target(self, example: TextExample) -> Floats:
        """Return (C,): 1 for the labels that it has."""
        own = set(self._of(example))
        return np.array([float(label in own) for label in self.labels])

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:  # noqa: ARG002
        """Return the mean over the labels of the binary cross-entropy."""
        targets_BC = batch.targets(torch.float32, logits.device)
        return F.binary_cross_entropy_with_logits(logits, targets_BC, reduction="sum") / len(self.labels)

    def log_probabilities(self, logits: Tensor, batch: SampleBatch) -> Tensor:  # noqa: ARG002
        """Return (2, B, C): of having each label and of not having it."""
        return torch.stack([F.logsigmoid(logits), F.logsigmoid(-logits)])

    def predicted(self, logits_C: Floats) -> Labelled:
        """Return the labels."""
        probabilities_C = (1 + np.tanh(logits_C / 2)) / 2
        return self.apply(Labelled((), dict(zip(self.labels, probabilities_C.tolist(), strict=True))))

    def tuned(self, examples: Sequence[TextExample], predictions: Sequence[Labelled]) -> Self:
        """Return the task with the thresholds that are best on these examples, unless they were given."""
        if self.thresholds:
            return self
        gold_nC, _, probabilities_nC = np.hsplit(self.outcomes(examples, predictions), 3)
        thresholds = tune_thresholds(gold_nC > 0, probabilities_nC)
        return self.model_copy(update={"thresholds": tuple(thresholds.tolist())})

    def constant(self, examples: Sequence[TextExample]) -> Labelled:
        """Return the share of the examples that has each label, and the labels that so are likelier than not."""
        shares_C = np.mean([self.target(example) for example in examples], axis=0)
        return self.apply(Labelled((), dict(zip(self.labels, shares_C.tolist(), strict=True))))

    @property
    def _thresholds(self) -> tuple[float, ...]:
        """The thresholds of all labels, 0.5 where there are none yet."""
        return self.thresholds or (0.5,) * len(self.labels)

    def apply(self, prediction: Labelled) -> Labelled:
        """Return the prediction under the task's thresholds."""
        pairs = zip(self.labels, self._thresholds, strict=True)
        labels = tuple(label for label, threshold in pairs if prediction.probabilities[label] >= threshold)
        return replace(prediction, labels=labels)

    def outcomes(self, examples: Sequence[TextExample], predictions: Sequence[Labelled]) -> Floats:
        """Return (n, 3 C): which labels are right, which are given, and the probability of each."""
        gold_nC = np.array([self.target(example) for example in examples])
        given_nC = np.array([[float(label in found.labels) for label in self.labels] for found in predictions])
        probabilities_nC = np.array([[found.probabilities[label] for label in self.labels] for found in predictions])
        return np.hstack([gold_nC, given_nC, probabilities_nC])

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return micro and macro F1, mean average precision, and the share of examples with exactly the right labels."""
        return multilabel_scores(*np.hsplit(outcomes, 3))

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the probability of each label by itself."""
        return scores.sigmoid()

    def shown(self, seen: Seen[TextExample, Labelled]) -> LabelsAnswer:
        """Return the probability and the threshold of each label."""
        by_label = seen.prediction.probabilities
        return LabelsAnswer(list(by_label), list(by_label.values()), list(self._thresholds), list(seen.prediction.labels))

    def review(self, examples: Sequence[TextExample], predictions: Sequence[Labelled]) -> Review:
        """Return the examples with the most unlikely labels, and the thresholds."""
        gold_nC, predicted_nC, probabilities_nC = np.hsplit(self.outcomes(examples, predictions), 3)
        distances_n = np.abs(gold_nC - probabilities_nC).sum(axis=1)
        mistakes = [
            Mistake(described(example), ", ".join(self._of(example)), ", ".join(found.labels), float(distance))
            for example, found, distance in zip(examples, predictions, distances_n, strict=True)
            if set(self._of(example)) != set(found.labels)
        ]
        rows = zip(self.labels, self._thresholds, gold_nC.sum(axis=0).astype(int), strict=True)
        return Review(
            mistakes=worst(mistakes),
            table=[("label", "threshold", "examples"), *rows],
            used=counted(self.labels, gold_nC.sum(axis=0), predicted_nC.sum(axis=0)),
        )

"""Classification of a text or a pair into one of C classes (Devlin et al. 2019, section 4.1).

Dimensions: B sequences, C classes, n examples.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.config import Names, Numbers
from bertsmith.errors import InputError, UsageError
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.labels import known_name
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.scoring.scores import class_report, class_scores, confusion_matrix
from bertsmith.tasks.sentence_task import SentenceTask, content_of, described
from bertsmith.tasks.shown import ClassAnswer
from bertsmith.tasks.split_keys import SplitKeys
from bertsmith.tasks.task import Floats, Mistake, Review, SampleBatch, Seen, counted, log, worst


@dataclass(frozen=True, slots=True)
class Classified:
    """The likeliest label, its probability, and the probability of every label."""

    label: str
    probability: float
    probabilities: dict[str, float]

    def __str__(self) -> str:
        return self.label


_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


class Classify(SentenceTask[Classified]):
    """One text or a pair, one of C classes."""

    kind: ClassVar[str] = "classify"
    pipeline_tag: ClassVar[str] = "text-classification"
    usual_metric: ClassVar[str] = "accuracy"

    labels: Names = ()
    """The classes, in order; those of the training file unless given."""
    positive: str = ""
    """Of two classes the one that the F1 is of; the rarer one of the training file unless given."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weigh classes in the loss by how rare they are in the training file."""
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)
    """Share of each target given to all classes alike."""
    weights: Numbers = ()
    """Weight of each class in the loss, in the order of the labels; overrides --class-weights."""

    def fitted(self, examples: Sequence[TextExample]) -> Self:
        """Return the task with the labels that the examples have and their weights."""
        counts = Counter(self._of(example) for example in examples)
        labels = self.labels or tuple(sort_labels(counts))
        if len(labels) < 2:
            raise InputError(f"all {len(examples):,} training examples have the label {labels[0]!r}; two classes are needed")
        fitted = self.model_copy(update={"labels": labels, "positive": self._positive_of(labels, counts)})
        fitted.check(examples)
        if self.weights and len(self.weights) != len(labels):
            raise UsageError(f"--weights has {len(self.weights)} values for {len(labels)} labels")
        if self.weights or self.class_weights == "none":
            return fitted
        weights = tuple(len(examples) / len(labels) / max(counts[label], 1) for label in labels)
        return fitted.model_copy(update={"weights": weights})

    def _positive_of(self, labels: Sequence[str], counts: Counter[str]) -> str:
        if self.positive and (len(labels) != 2 or self.positive not in labels):
            raise UsageError(f"--positive {self.positive} is not one of two classes; the classes are {', '.join(labels[:20])}")
        if self.positive or len(labels) != 2:
            return self.positive
        rarer = min(reversed(labels), key=lambda label: counts[label])
        if len(set(counts.values())) > 1:
            log.info("the F1 is of the class %r, the rarer one (--positive)", rarer)
        return rarer

    def check(self, examples: Sequence[TextExample]) -> None:
        """Refuse labels that the task does not have."""
        for example in examples:
            check_labels(example.source, [self._of(example)], self.labels)

    def content(self, example: TextExample) -> Content:
        """Return the texts with their class."""
        return content_of(example, [self._of(example)])

    def caveat(self, examples: Sequence[TextExample]) -> str | None:
        """Return that there is but one class, if so."""
        labels = {self._of(example) for example in examples}
        return (
            None if len(labels) > 1 else f"every example has the label {labels.pop()!r}: whoever always says so is always right"
        )

    def split_keys(self, examples: Sequence[TextExample]) -> SplitKeys:
        """Stratify by the label."""
        return replace(
            super().split_keys(examples), strata=[(self._of(example),) for example in examples], stratum_name="label"
        )

    def _of(self, example: TextExample) -> str:
        if not isinstance(example.label, str):
            raise InputError(f"{example.source}: the label {example.label!r} is no single class; see multilabel and regress")
        return known_name(example.label, self.labels)

    def head(self) -> TaskHead:
        """Return the head that scores the classes."""
        return self.sequence_scores(self.labels)

    def target(self, example: TextExample) -> int:
        """Return the number of the label."""
        return self.labels.index(self._of(example))

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:  # noqa: ARG002
        """Return the cross-entropy."""
        weight = torch.tensor(self.weights, device=logits.device) if self.weights else None
        targets_B = batch.targets(torch.int64, logits.device)
        return F.cross_entropy(logits, targets_B, weight, reduction="sum", label_smoothing=self.label_smoothing)

    def log_probabilities(self, logits: Tensor, batch: SampleBatch) -> Tensor:  # noqa: ARG002
        """Return (B, C)."""
        return logits.log_softmax(-1)

    def predicted(self, logits_C: Floats) -> Classified:
        """Return the likeliest class."""
        exponentials_C = np.exp(logits_C - logits_C.max())
        probabilities_C = exponentials_C / exponentials_C.sum()
        best = int(probabilities_C.argmax())
        by_label = dict(zip(self.labels, probabilities_C.tolist(), strict=True))
        return Classified(self.labels[best], float(probabilities_C[best]), by_label)

    def constant(self, examples: Sequence[TextExample]) -> Classified:
        """Return the class that most examples have."""
        counts = Counter(self._of(example) for example in examples)
        shares = {label: counts[label] / len(examples) for label in self.labels}
        label = max(self.labels, key=lambda one: shares[one])
        return Classified(label, shares[label], shares)

    def outcomes(self, examples: Sequence[TextExample], predictions: Sequence[Classified]) -> Floats:
        """Return the numbers of the right and of the predicted class."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        pairs = zip(examples, predictions, strict=True)
        # What is not a number must not pass for a class.
        return np.array(
            [(numbers[self._of(example)], numbers[found.label] + 0 * found.probability) for example, found in pairs]
        ).reshape(-1, 2)

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return accuracy, F1 over classes and Matthews' correlation; of two classes also F1 of the positive one."""
        gold, predicted = outcomes.T
        scores = class_scores(gold, predicted, len(self.labels))
        if len(self.labels) == 2:
            # Of a model of other tools, which does not say, the second is the positive one.
            positive = self.labels.index(self.positive or self.labels[1])
            gold, predicted = (numbers == positive for numbers in (gold, predicted))
            scores["f1"] = 2 * float((gold & predicted).sum()) / max(float(gold.sum() + predicted.sum()), 1.0)
        return scores

    def shown(self, seen: Seen[TextExample, Classified]) -> ClassAnswer:
        """Return the probability of each class."""
        by_label = seen.prediction.probabilities
        return ClassAnswer(list(by_label), list(by_label.values()), seen.prediction.label)

    def review(self, examples: Sequence[TextExample], predictions: Sequence[Classified]) -> Review:
        """Return confusion, per-class report, confidences and the worst errors."""
        outcomes = self.outcomes(examples, predictions)
        confusion = confusion_matrix(outcomes[:, 0], outcomes[:, 1], len(self.labels))
        mistakes = [
            Mistake(described(example), self._of(example), f"{found.label} ({found.probability:.0%})", found.probability)
            for example, found in zip(examples, predictions, strict=True)
            if self._of(example) != found.label
        ]
        return Review(
            mistakes=worst(mistakes),
            confidence=np.array([found.probability for found in predictions]),
            is_right=outcomes[:, 0] == outcomes[:, 1],
            confusion=confusion,
            labels=self.labels,
            table=[("label", "precision", "recall", "F1", "examples"), *class_report(confusion, self.labels)],
            used=counted(self.labels, confusion.sum(axis=1), confusion.sum(axis=0)),
        )


def sort_labels(labels: Counter[str] | set[str]) -> list[str]:
    """Return labels in order, numbers by their value."""
    return sorted(labels, key=lambda label: (0, float(label), label) if _NUMBER.fullmatch(label) else (1, 0.0, label))


def check_labels(source: str, labels: Iterable[str], known: Sequence[str]) -> None:
    """Raise :class:`InputError` for a label at ``source`` that is not known."""
    for label in labels:
        if label not in known:
            listed = ", ".join(repr(one) for one in known[:20]) + (" …" if len(known) > 20 else "")
            raise InputError(f"{source}: the label {label!r} is not among those learnt in training: {listed}")

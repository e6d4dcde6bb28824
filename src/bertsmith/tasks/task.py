"""What a task is: its files, its sequences, its head, its loss, its answers and their scores, in one object.

A task is a configuration with methods. Its fields are the flags of ``bertsmith finetune`` and what ``task.json`` keeps beside
a trained model, so that predicting needs no flag again.

Dimensions: T tokens, B sequences, C classes, S tokens of one sequence, n examples, k figures of an example.
"""

import dataclasses
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from bertsmith.batches.windows import Window
from bertsmith.config import Config
from bertsmith.errors import Refusal, UsageError
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.tasks.content import Content
from bertsmith.tasks.shown import ClassAnswer, NumberAnswer, Shown
from bertsmith.tasks.split_keys import SplitKeys
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import Encoding, PackedBatch

Example = TypeVar("Example", default=Any)
Prediction = TypeVar("Prediction", default=Any)
Floats = npt.NDArray[np.float64]
Explains = Literal["sequence", "token", "span"]
"""Which scores of a head are traced to tokens and attention heads: of the sequence, of a token, of the likeliest span shown."""
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """What goes through the model together: one sequence, or the choices of a question; and what it should say of it.

    The task itself knows what its ``target`` is; None where it is not known.
    """

    windows: tuple[Window, ...]
    target: Any = None

    @property
    def n_tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(len(window.token_ids) for window in self.windows)


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """Samples laid end to end: ``inputs`` has their sequences in order."""

    samples: tuple[Sample, ...]
    inputs: PackedBatch

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Self:
        """Lay at least one sample end to end."""
        windows = [window for sample in samples for window in sample.windows]
        inputs = PackedBatch.from_arrays(
            np.concatenate([window.token_ids for window in windows]),
            np.concatenate([window.segment_ids for window in windows]),
            np.array([len(window.token_ids) for window in windows]),
        )
        return cls(tuple(samples), inputs)

    def to(self, device: torch.device) -> Self:
        """Return the batch with its sequences on ``device``."""
        return dataclasses.replace(self, inputs=self.inputs.to(device))

    def by_sample(self, scores_B: Tensor) -> tuple[Tensor, ...]:
        """Return for each sample the scores of its sequences."""
        return torch.split(scores_B, [len(sample.windows) for sample in self.samples])

    def targets(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the samples' targets, numbers or arrays of one shape, as a tensor with a row a sample."""
        return torch.as_tensor(np.array([sample.target for sample in self.samples]), dtype=dtype, device=device)


@dataclass(frozen=True, slots=True)
class Seen(Generic[Example, Prediction]):
    """An example and its prediction, beside the one sequence that a page shows of it.

    encoding  the sequence, which may be cut
    scores    what the head says of it, (1, C) or (S, C)
    """

    example: Example
    prediction: Prediction
    encoding: Encoding
    scores: Tensor


@dataclass(frozen=True, slots=True)
class Mistake:
    """An example that the model is wrong about, and how much: what a report shows to read."""

    text: str
    expected: str
    predicted: str
    badness: float


@dataclass(frozen=True, slots=True)
class Review:
    """What a report shows of predictions beside their scores.

    mistakes    the worst ones, the worst first
    confidence  (n,) what the model thinks the probability of its answers is, and is_right (n,) whether they are; may be empty
    confusion   (C, C) counts, rows what is right, of tasks with one class an example
    labels      of the confusion
    table       per-class figures, its first row the heading
    used        by label, how many examples have it and how many predictions
    """

    mistakes: Sequence[Mistake] = ()
    confidence: Floats | None = None
    is_right: npt.NDArray[np.bool_] | None = None
    confusion: npt.NDArray[np.int64] | None = None
    labels: Sequence[str] = ()
    table: Sequence[Sequence[Any]] = ()
    used: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)


MISTAKES_SHOWN = 30
_GOLD = ("label", "tags", "answers", "relevances", "score")
log = logging.getLogger("bertsmith")


def worst(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Return the mistakes to show, the worst first."""
    return sorted(mistakes, key=lambda mistake: -mistake.badness)[:MISTAKES_SHOWN]


def counted(labels: Sequence[str], gold_C: npt.NDArray[Any], predicted_C: npt.NDArray[Any]) -> dict[str, tuple[int, int]]:
    """Return for each label how many examples have it and how many predictions, as a :class:`Review` has it."""
    return {label: (int(gold), int(predicted)) for label, gold, predicted in zip(labels, gold_C, predicted_C, strict=True)}


class Task(Config, ABC, Generic[Example, Prediction]):
    """What a model is fine-tuned for. Subclass it for a task of your own, with the types of its examples and predictions."""

    kind: ClassVar[str]
    """The name of the task, on the command line and in ``task.json``."""
    pipeline_tag: ClassVar[str] = "feature-extraction"
    """The task's name on the Hugging Face hub."""
    usual_metric: ClassVar[str]
    """The score by which models are chosen unless another is asked for; more is better."""
    gives_vectors: ClassVar[bool] = False
    """Whether its predictions are vectors of texts, as the head gives them, and nothing else."""
    explains: ClassVar[Explains | None] = "sequence"
    """Which scores of the head a page explains; None where a text alone has none."""
    reads_examples_of: ClassVar[Literal["text", "question", "query", "choices"]] = "text"
    """What a page begins with: a text, a question and its passage, a query and a candidate, or a prompt and its choices."""
    reads_windows: ClassVar[bool] = True
    """Whether texts of more than ``max_length`` tokens are read in windows; else their ends are cut off."""
    look_ahead: ClassVar[int] = 1024
    """Examples that are tokenised together for predictions: the fewer, the more sequences each has."""

    max_length: int = pydantic.Field(default=128, ge=8)
    """The longest sequence, special tokens included; longer texts are read in windows of it."""
    stride: int = pydantic.Field(default=64, gt=0)
    """Tokens from the beginning of one window to that of the next."""
    metric: str = ""
    """Score by which the best model is chosen; the task's usual one unless given."""

    @property
    def has_probe(self) -> bool:
        """Whether a linear probe, its head's output layer trained on frozen vectors, is a baseline for it."""
        return False

    @property
    def usual_head_rate(self) -> float | None:
        """The learning rate of the head where another than the encoder's is usual."""
        return None

    @property
    def compares_samples(self) -> bool:
        """Whether the loss compares the samples of a batch with each other, so that a batch cannot be done in parts."""
        return False

    @property
    def classes(self) -> Sequence[str]:
        """The names of the head's scores, in order: the labels where the task has some, else none."""
        return getattr(self, "labels", ())

    @property
    def scored_by(self) -> str | None:
        """How predictions are compared with what is right, where there are several ways."""
        return None

    @property
    def main_metric(self) -> str:
        """The score by which models are chosen."""
        return self.metric or self.usual_metric

    @abstractmethod
    def read(self, path: str | Path, *, labelled: bool, format: str | None = None) -> Iterator[Example]:  # noqa: A002
        """Yield the examples of a file; ``labelled`` ones must say what is right.

        Raises:
            InputError: the file is not what the task reads; names the line.
        """

    @abstractmethod
    def example(self, value: Any) -> Example:
        """Return the example that a caller of the pipeline means; :class:`InputError` for what is none."""

    def question(self, text: str, pair: str | None, choices: Sequence[str] | None) -> Any:  # noqa: ARG002
        """Return what the pipeline takes, given what a page has: a text, a second one or None, and choices or None.

        Raises:
            Refusal: the task needs what is not given.
        """
        return text if pair is None else (text, pair)

    def fitted(self, examples: Sequence[Example]) -> Self:  # noqa: ARG002
        """Return the task with what it learns from the training examples before training, such as its labels."""
        return self

    def prepared(
        self,
        train: Sequence[Example],
        dev: Sequence[Example],  # noqa: ARG002
        model: Path,  # noqa: ARG002
        tokenizer: Tokenizer,  # noqa: ARG002
        device: torch.device,  # noqa: ARG002
    ) -> tuple[Self, Sequence[Example]]:
        """Return the task with what it takes from the model to start from, and the examples to train on, changed by it.

        Args:
            train: The training examples, without those held out.
            dev: Those that the best model is chosen by.
            model: The directory to start from.
            tokenizer: Its tokenizer.
            device: Where the model may run.
        """
        return self, train

    def split_keys(self, examples: Sequence[Example]) -> SplitKeys:
        """Return what the examples are parted by when some of them are held out; each is alone unless the task says more."""
        return SplitKeys(range(len(examples)))

    def check(self, examples: Sequence[Example]) -> None:
        """Raise :class:`InputError` for examples to be scored with what the task does not know, such as a new label."""

    def content(self, example: Example) -> Content:  # noqa: ARG002
        """Return what a labelled example says and what is right of it, to be counted; of a task that tells nothing, nothing."""
        return Content()

    def caveat(self, examples: Sequence[Example]) -> str | None:  # noqa: ARG002
        """Return what makes scores on these examples worth little, such as one class alone; None where they are sound."""
        return None

    def check_to_score(self, examples: Sequence[Example], name: str) -> None:
        """Check labelled examples that are to be scored, as :meth:`check`, and say what their scores are worth if little."""
        self.check(examples)
        if caveat := self.caveat(examples):
            log.warning("%s: %s", name, caveat)

    @abstractmethod
    def head(self) -> TaskHead:
        """Return the head that the model needs."""

    @abstractmethod
    def samples(self, examples: Sequence[Example], tokenizer: Tokenizer, *, labelled: bool) -> list[list[Sample]]:
        """Return for each example what goes through the model, each sample with its target where ``labelled``."""

    def n_targets(self, sample: Sample) -> int:  # noqa: ARG002
        """Return the number of predictions that the loss of a sample sums over."""
        return 1

    @abstractmethod
    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:
        """Return the loss summed over the predictions of the batch; ``logits`` (B, C) or (T, C) in float32."""

    def log_probabilities(self, logits: Tensor, batch: SampleBatch) -> Tensor:  # noqa: ARG002
        """Return the logarithms of all probabilities that the logits stand for, in any shape (for R-Drop)."""
        raise UsageError(f"--r-drop compares probabilities, and {self.kind} predicts none")

    @abstractmethod
    def decode(
        self,
        examples: Sequence[Example],
        samples: Sequence[Sequence[Sample]],
        logits: Sequence[Sequence[Logits]],
        head: nn.Module,
    ) -> list[Prediction]:
        """Return a prediction for each example.

        ``logits[i][j]`` is what the head said of ``samples[i][j]``, a row a token or a row a sequence: (S, C) or (1, C), or
        (choices, C) of a sample of several sequences.
        """

    def constant(self, examples: Sequence[Example]) -> Prediction | None:  # noqa: ARG002
        """Return what is best said of every example by whoever has seen the training examples' labels alone, or None."""
        return None

    def finished(self, head: nn.Module) -> Self:  # noqa: ARG002
        """Return the task as it is saved beside a trained head, out of which is taken what was for training alone."""
        return self

    def tuned(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Self:  # noqa: ARG002
        """Return the task with what it learns from predictions on held-out examples, such as thresholds."""
        return self

    def apply(self, prediction: Prediction) -> Prediction:
        """Return a prediction from before tuning as the task's thresholds make it."""
        return prediction

    @abstractmethod
    def outcomes(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Floats:
        """Return (n, k) figures of labelled examples and their predictions, from which all scores follow."""

    @abstractmethod
    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return the scores by name, the :attr:`usual_metric` among them."""

    def score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
        """Return the scores of predictions on labelled examples under the task's thresholds."""
        return self.scores(self.outcomes(examples, [self.apply(prediction) for prediction in predictions]))

    def review(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Review:  # noqa: ARG002
        """Return what a report shows of predictions."""
        return Review()

    def record(self, example: Example, prediction: Prediction) -> Mapping[str, Any]:
        """Return a prediction as one JSON object."""
        values: dict[str, Any] = {"prediction": prediction}
        if dataclasses.is_dataclass(prediction) and not isinstance(prediction, type):
            values = dataclasses.asdict(prediction)
        return {"id": getattr(example, "id", None), **values}

    def gold(self, example: Example) -> Any:
        """Return what is right of a labelled example."""
        return next((value for name in _GOLD if (value := getattr(example, name, None)) is not None), None)

    def place(self, example: Example) -> Mapping[str, int]:
        """Return the ``line`` of its file on which an example begins, where it says one."""
        line = getattr(example, "source", "").rpartition(":")[2]
        return {"line": int(line)} if line.isdecimal() else {}

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the probabilities that the scores explained, (…, C), stand for; a score alone is a value as it is."""
        return scores.softmax(-1) if scores.shape[-1] > 1 else scores

    def shown(self, seen: Seen[Example, Prediction]) -> Shown:
        """Return what a page shows of a prediction: the probabilities of classes where the task has some, else a number.

        Raises:
            Refusal: the prediction is neither.
        """
        if seen.scores.shape == (1, len(self.classes)):
            return ClassAnswer(list(self.classes), self.probabilities(seen.scores)[0].tolist(), str(seen.prediction))
        if isinstance(seen.prediction, Real):
            return NumberAnswer(float(seen.prediction))
        raise Refusal("missing", f"the task {self.kind!r} is not one that this view knows", view="task")

    def submission(self) -> "Submission[Example, Prediction]":
        """Return what writes predictions in the form that the task's benchmarks ask for."""
        raise UsageError(f"{self.kind} has no submission format")


@dataclass(frozen=True, slots=True)
class Submission(Generic[Example, Prediction]):
    """A benchmark's form of predictions: the text of each (example, prediction), and what stands around and between them."""

    line: Callable[[Example, Prediction], str]
    before: str = ""
    between: str = ""
    behind: str = ""

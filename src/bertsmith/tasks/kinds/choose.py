"""Multiple choice, with any number of choices (Devlin et al. 2019, section 4.4: SWAG).

Dimensions: B sequences, Q questions of the batch, n examples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.errors import InputError, Refusal
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.sequence import ChoiceScores
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.choices import ChoiceColumns, ChoiceExample, read_choices
from bertsmith.tasks.scoring.scores import check_predictions
from bertsmith.tasks.sentence_task import PairCutter
from bertsmith.tasks.shown import ChoiceAnswer, RatedChoice
from bertsmith.tasks.split_keys import SplitKeys
from bertsmith.tasks.task import Explains, Floats, Logits, Mistake, Review, Sample, SampleBatch, Seen, Submission, Task, worst
from bertsmith.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Chosen:
    """The likeliest choice, its number from 0, and the probability of every choice."""

    choice: str
    number: int
    probabilities: tuple[float, ...]

    def __str__(self) -> str:
        return str(self.number)


class Choose(Task[ChoiceExample, Chosen]):
    """A prompt and choices, one of them right: SWAG, HellaSwag, RACE, ARC, COPA, or any table with such columns."""

    kind: ClassVar[str] = "choose"
    pipeline_tag: ClassVar[str] = "multiple-choice"
    usual_metric: ClassVar[str] = "accuracy"
    reads_examples_of: ClassVar[Literal["text", "question", "query", "choices"]] = "choices"
    explains: ClassVar[Explains | None] = None
    reads_windows: ClassVar[bool] = False

    columns: ChoiceColumns = ChoiceColumns()
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)
    """Share of each target given to all choices alike."""

    def read(self, path: str | Path, *, labelled: bool, format: str | None = None) -> Iterator[ChoiceExample]:  # noqa: A002
        """Yield the questions of a file."""
        return read_choices(path, self.columns, labelled=labelled, format=format)

    def example(self, value: Any) -> ChoiceExample:
        """Return the example for (prompt, choices)."""
        match value:
            case (str() as prompt, [_, _, *_] as choices) if all(isinstance(choice, str) for choice in choices):
                return ChoiceExample(prompt, tuple(choices), None, "", "")
        raise InputError(f"choose takes pairs of a prompt and two choices or more, not {value!r:.80}")

    def question(self, text: str, pair: str | None, choices: Sequence[str] | None) -> tuple[str, Sequence[str]]:  # noqa: ARG002
        """Return the text as a prompt, with the choices."""
        if choices is None:
            raise Refusal("needs_choices", "this model chooses between texts: give two or more choices")
        return text, choices

    def split_keys(self, examples: Sequence[ChoiceExample]) -> SplitKeys:
        """Keep the questions of a prompt together."""
        prompts = [example.prompt for example in examples]
        return SplitKeys([(example.prompt, example.choices) for example in examples], prompts, "prompt")

    def content(self, example: ChoiceExample) -> Content:
        """Return the prompt with each choice; what is counted is the place of the right one."""
        assert example.label is not None
        pairs = tuple((example.prompt, choice) for choice in example.choices)
        return Content(pairs, example.choices[example.label], (f"choice {example.label + 1}",), group=example.prompt)

    def head(self) -> TaskHead:
        """Return the head that scores one choice."""
        return ChoiceScores()

    def samples(self, examples: Sequence[ChoiceExample], tokenizer: Tokenizer, *, labelled: bool) -> list[list[Sample]]:
        """Return one sample an example, with a sequence for each choice; what is too long is cut, and said."""
        prompts = tokenizer.token_ids([example.prompt for example in examples])
        choices = iter(tokenizer.token_ids([choice for example in examples for choice in example.choices]))
        cutter = PairCutter(tokenizer, self.max_length, self.stride)
        found = []
        for example, prompt in zip(examples, prompts, strict=True):
            windows = tuple(cutter.first_window(prompt, next(choices)) for _ in example.choices)
            found.append([Sample(windows, example.label if labelled else None)])
        cutter.report()
        return found

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:  # noqa: ARG002
        """Return the cross-entropy of the right choice among its question's."""
        losses = [
            F.cross_entropy(scores, torch.tensor(sample.target, device=logits.device), label_smoothing=self.label_smoothing)
            for scores, sample in zip(batch.by_sample(logits[:, 0]), batch.samples, strict=True)
        ]
        return torch.stack(losses).sum()

    def log_probabilities(self, logits: Tensor, batch: SampleBatch) -> Tensor:
        """Return (B,)."""
        return torch.cat([scores.log_softmax(0) for scores in batch.by_sample(logits[:, 0])])

    def decode(
        self,
        examples: Sequence[ChoiceExample],
        samples: Sequence[Sequence[Sample]],  # noqa: ARG002
        logits: Sequence[Sequence[Logits]],
        head: nn.Module,  # noqa: ARG002
    ) -> list[Chosen]:
        """Return the likeliest choice of each question."""
        found = []
        for example, (scores,) in zip(examples, logits, strict=True):
            exponentials = np.exp(scores[:, 0].astype(np.float64) - scores.max())
            probabilities = exponentials / exponentials.sum()
            best = int(probabilities.argmax())
            found.append(Chosen(example.choices[best], best, tuple(probabilities.tolist())))
        return found

    def outcomes(self, examples: Sequence[ChoiceExample], predictions: Sequence[Chosen]) -> Floats:
        """Return (n, 1): whether the choice is right."""
        return np.array(
            [
                [float(example.label == found.number) + 0 * found.probabilities[found.number]]
                for example, found in zip(examples, predictions, strict=True)
            ]
        ).reshape(-1, 1)

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return the share of right choices."""
        check_predictions(outcomes, outcomes)
        return {"accuracy": float(outcomes.mean())}

    def shown(self, seen: Seen[ChoiceExample, Chosen]) -> ChoiceAnswer:
        """Return the probability of each choice."""
        pairs = zip(seen.example.choices, seen.prediction.probabilities, strict=True)
        return ChoiceAnswer([RatedChoice(*pair) for pair in pairs], seen.prediction.number)

    def review(self, examples: Sequence[ChoiceExample], predictions: Sequence[Chosen]) -> Review:
        """Return confidences and the worst errors."""
        confidence = np.array([found.probabilities[found.number] for found in predictions])
        mistakes = [
            Mistake(example.prompt, example.choices[example.label], f"{found.choice} ({sure:.0%})", float(sure))
            for example, found, sure in zip(examples, predictions, confidence, strict=True)
            if example.label is not None and example.label != found.number
        ]
        return Review(worst(mistakes), confidence, self.outcomes(examples, predictions)[:, 0] > 0)

    def submission(self) -> Submission[ChoiceExample, Chosen]:
        """Return SWAG's form: the question's id and the number of the choice."""
        return Submission(before="id,label\n", line=lambda example, found: f"{example.id},{found.number}\n")

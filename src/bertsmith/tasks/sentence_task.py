"""What tasks on a text or a pair of texts have in common: files, windows, and one row of logits an example."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, Self

import numpy as np
import torch
from torch import nn

from bertsmith.artifacts.sentence_modules import MODULES, read_sentence_modules
from bertsmith.batches.windows import Part, Window, make_windows
from bertsmith.errors import ArtifactError, InputError
from bertsmith.model.heads.sequence import Problem, SequenceScores
from bertsmith.notices import say_once
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.labels import LabelReading, one_class
from bertsmith.tasks.files.texts import Columns, TextExample, read_texts
from bertsmith.tasks.split_keys import SplitKeys
from bertsmith.tasks.task import Floats, Logits, Prediction, Sample, Submission, Task, log
from bertsmith.text.tokenizer import Tokenizer


class SentenceTask(Task[TextExample, Prediction], ABC, Generic[Prediction]):
    """A judgement on a text or a pair; that on a long text is the mean of those on its windows."""

    columns: Columns = Columns()
    pooling: Literal["auto", "cls", "mean", "max", "attention"] = "auto"
    """What the scores are of: the pooler on [CLS], as in the paper, or all tokens together; auto is what the directory to
    start from says for sentence vectors, else cls."""

    @property
    def has_probe(self) -> bool:
        """Yes: a linear layer on the pooled vectors is a usual way of judging texts."""
        return True

    @property
    def read_label(self) -> LabelReading:
        """What the cells of the column of labels mean."""
        return one_class

    @property
    def label_columns(self) -> Sequence[str]:
        """Names of columns that are the label together, where a file has them all."""
        return ()

    def read(self, path: str | Path, *, labelled: bool, format: str | None = None) -> Iterator[TextExample]:  # noqa: A002
        """Yield the rows of a table (GLUE's files, CSV, TSV, JSON lines) as examples."""
        return read_texts(
            path,
            self.columns,
            labelled=labelled,
            format=format,
            read_label=self.read_label,
            label_columns=self.label_columns,
        )

    def example(self, value: Any) -> TextExample:
        """Return the example for a text or for a pair of texts."""
        match value:
            case str():
                return TextExample(value, None, None, "", "")
            case (str() as text, str() as pair):
                return TextExample(text, pair, None, "", "")
        raise InputError(f"{self.kind} takes texts and pairs of texts, not {value!r:.80}")

    def prepared(
        self,
        train: Sequence[TextExample],
        dev: Sequence[TextExample],  # noqa: ARG002
        model: Path,
        tokenizer: Tokenizer,  # noqa: ARG002
        device: torch.device,  # noqa: ARG002
    ) -> tuple[Self, Sequence[TextExample]]:
        """Return the task with the pooling of the directory to start from."""
        if self.pooling != "auto" or not (model / MODULES).exists():
            return self, train
        try:
            pooling = read_sentence_modules(model)[0].pooling
        except ArtifactError as error:
            say_once(f"{error}; sequences are scored by [CLS] (--pooling)")
            return self, train
        say_once(f"sequences are pooled as {MODULES} says, by {pooling} (--pooling)", logging.INFO)
        return self.model_copy(update={"pooling": pooling}), train

    def sequence_scores(self, labels: tuple[str, ...], problem: Problem = "single_label_classification") -> SequenceScores:
        """Return the head of the task's pooling."""
        return SequenceScores(labels, problem, "cls" if self.pooling == "auto" else self.pooling)

    def split_keys(self, examples: Sequence[TextExample]) -> SplitKeys:
        """Keep equal texts, or equal pairs of them, together."""
        return SplitKeys([(example.text, example.pair) for example in examples])

    def content(self, example: TextExample) -> Content:
        """Return the texts with their label as it is written."""
        return Content((texts_of(example),), str(example.label))

    @abstractmethod
    def target(self, example: TextExample) -> Any:
        """Return what the loss compares the logits of the example with."""

    def samples(self, examples: Sequence[TextExample], tokenizer: Tokenizer, *, labelled: bool) -> list[list[Sample]]:
        """Return a sample for each window of each example, with the same target."""
        first_ids = tokenizer.token_ids([example.text for example in examples])
        second_ids = iter(tokenizer.token_ids([example.pair for example in examples if example.pair is not None]))
        cutter = PairCutter(tokenizer, self.max_length, self.stride)
        found = []
        for example, first in zip(examples, first_ids, strict=True):
            windows = cutter.windows(first, None if example.pair is None else next(second_ids))
            target = self.target(example) if labelled else None
            found.append([Sample((window,), target) for window in windows])
        cutter.report()
        return found

    @abstractmethod
    def predicted(self, logits_C: Floats) -> Prediction:
        """Return the prediction that the mean of the logits of an example's windows stands for."""

    def decode(
        self,
        examples: Sequence[TextExample],  # noqa: ARG002
        samples: Sequence[Sequence[Sample]],  # noqa: ARG002
        logits: Sequence[Sequence[Logits]],
        head: nn.Module,  # noqa: ARG002
    ) -> list[Prediction]:
        """Return the prediction of each example."""
        means_nC = (np.mean([window[0] for window in windows], axis=0) for windows in logits)
        return [self.predicted(mean_C.astype(np.float64)) for mean_C in means_nC]

    def submission(self) -> Submission[TextExample, Prediction]:
        """Return GLUE's form: a heading, then the row's index and the prediction."""
        return Submission(before="index\tprediction\n", line=lambda example, found: f"{example.id}\t{found}\n")


def content_of(example: TextExample, classes: Sequence[str]) -> Content:
    """Return a text or a pair with its classes."""
    return Content((texts_of(example),), ", ".join(sorted(classes)), tuple(classes))


def texts_of(example: TextExample) -> tuple[str, ...]:
    """Return the text, or both of a pair."""
    return (example.text,) if example.pair is None else (example.text, example.pair)


class PairCutter:
    """Lays texts and pairs out as windows: of a pair, the longer text slides past the other, which is whole in each window.

    Only where the other has more than half of the room as well is it cut; how often is counted.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, stride: int) -> None:
        self._cls, self._sep = Part([tokenizer.cls_id]), tokenizer.sep_id
        self._max_length, self._stride = max_length, stride
        self._n_cut = 0

    def windows(self, first: Sequence[int], second: Sequence[int] | None) -> list[Window]:
        """Return the windows of ``[CLS] first [SEP]`` or ``[CLS] first [SEP] second [SEP]``."""
        if second is None:
            return make_windows([self._cls], Part(first), [Part([self._sep])], self._max_length, self._stride)
        windows, is_cut = self._of_pair(first, second)
        self._n_cut += is_cut
        return windows

    def first_window(self, first: Sequence[int], second: Sequence[int]) -> Window:
        """Return a pair as one sequence; where it is too long, the end of the longer text is cut off, and it is counted."""
        windows, is_cut = self._of_pair(first, second)
        self._n_cut += is_cut or len(windows) > 1
        return windows[0]

    def _of_pair(self, first: Sequence[int], second: Sequence[int]) -> tuple[list[Window], bool]:
        """Return the windows of a pair, and whether its shorter text had to be cut."""
        room, shorter = self._max_length - 3, min(len(first), len(second))
        is_cut = len(first) + len(second) > room and shorter > room // 2
        kept = room // 2 if is_cut else shorter
        end_of_first, end_of_second = Part([self._sep]), Part([self._sep], segment=1)
        if len(second) >= len(first):
            before = [self._cls, Part(first[:kept]), end_of_first]
            return make_windows(before, Part(second, 1), [end_of_second], self._max_length, self._stride), is_cut
        behind = [end_of_first, Part(second[:kept], 1), end_of_second]
        return make_windows([self._cls], Part(first), behind, self._max_length, self._stride), is_cut

    def report(self) -> None:
        """Say how many texts were cut since the last time."""
        if self._n_cut:
            log.warning(
                "%d pair(s) of texts are too long for --max-length %d, and were cut: part of them was not read",
                self._n_cut,
                self._max_length,
            )
        self._n_cut = 0


def described(example: TextExample) -> str:
    """Return the text or the pair, to be read."""
    return example.text if example.pair is None else f"{example.text}  ¦  {example.pair}"

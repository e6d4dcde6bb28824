"""The pipeline of a model directory's own task."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from bertsmith.artifacts.configuration import read_configuration
from bertsmith.artifacts.directory import TASK, load_model, verify_directory
from bertsmith.errors import ArtifactError, InputError
from bertsmith.model.bert import Bert
from bertsmith.tasks.fill import Filled, fill
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.saved import load_task_model
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.hardware import choose_device, choose_dtype
from bertsmith.training.precision import apply_precision, task_logits

_TEXTS_AT_ONCE = 32


class FillPipeline:
    """Fills the blanks of texts."""

    def __init__(self, model: Bert, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def __call__(self, texts: Iterable[str], top: int = 5) -> list[Filled]:
        """Return each text with the ``top`` likeliest tokens for every ``[MASK]`` in it.

        Raises:
            InputError: a text has no ``[MASK]``, or more tokens than the model has positions.
        """
        return list(self.stream(texts, top))

    def stream(self, texts: Iterable[str], top: int = 5) -> Iterator[Filled]:
        """Yield results one after the other; any number of texts in bounded memory."""
        _refuse_single(texts)
        remaining = iter(texts)
        while batch := list(islice(remaining, _TEXTS_AT_ONCE)):
            yield from fill(self.model, self.tokenizer, batch, top)


class TaskPipeline:
    """Answers for a fine-tuned task: typed predictions for texts, pairs, lists of words or whatever the task takes.

    Args:
        task: The task, as the model directory has it.
        model: Its model.
        tokenizer: The model's tokenizer.
        device: Where to compute.
        dtype: float32 for what the weights say to the last digit; bfloat16 for speed.
    """

    def __init__(
        self, task: Task, model: Bert, tokenizer: Tokenizer, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.task, self.model, self.tokenizer = task, model, tokenizer
        precision = apply_precision(model.to(device), device, dtype)
        assert precision.compute.task is not None
        self._predictor = Predictor(task, tokenizer, task_logits(precision, device), precision.compute.task)

    def __call__(self, inputs: Iterable[Any]) -> list[Any]:
        """Return a prediction for each input, in order.

        Raises:
            InputError: an input is not what the task takes.
        """
        return list(self.stream(inputs))

    def stream(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """Yield predictions in order; any number of inputs in bounded memory."""
        _refuse_single(inputs)
        for _, prediction in self.predict(self.task.example(value) for value in inputs):
            yield prediction

    def predict(self, examples: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield the task's own examples, as it reads them from a file, each with its prediction."""
        return self._predictor.predict(examples)


def _refuse_single(inputs: Iterable[Any]) -> None:
    if isinstance(inputs, str):
        raise InputError(f"a pipeline takes a list or a generator of texts, not one text: write pipe([{inputs!r:.40}])")


def pipeline(
    path: str | Path, *, task: type[Task] | None = None, device: str = "cpu", precision: str = "float32"
) -> FillPipeline | TaskPipeline:
    """Return the pipeline for the task that the directory's model was trained for.

    Args:
        path: Model directory, one of transformers' too.
        task: The class of the task, where it is one of your own.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``float32`` or ``bf16``.

    Returns:
        A :class:`TaskPipeline`; of a model with a masked-token head a :class:`FillPipeline`.

    Raises:
        ArtifactError: no model directory, or one whose model has no head to predict with.
        UsageError: the machine has no such device.
    """
    path = Path(path)
    verify_directory(path)
    _, heads = read_configuration(path)
    if task is not None or (path / TASK).exists() or (heads is not None and heads.task is not None):
        return task_pipeline(path, task, device, precision)
    model = load_model(path)
    if model.masked_token is None:
        raise ArtifactError(f"{path} holds a model without a masked-token head; there is nothing for a pipeline to predict")
    return FillPipeline(model, Tokenizer.load(path))


def task_pipeline(path: Path, kind: type[Task] | None = None, device: str = "cpu", precision: str = "float32") -> TaskPipeline:
    """Return the pipeline of a fine-tuned model; arguments and errors as for :func:`pipeline`."""
    chosen = choose_device(device, 0)
    task, model = load_task_model(path, kind)
    return TaskPipeline(task, model, Tokenizer.load(path), chosen, choose_dtype(precision, chosen))

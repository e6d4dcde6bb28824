"""The pipelines of model directories: blanks, a task's own predictions, vectors.

Dimensions: B sequences of a batch, n texts, D width.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Self, overload

import numpy as np
import numpy.typing as npt
import torch

from bertsmith.arguments import check_text, converted, path_of, shown, texts, whole_number
from bertsmith.artifacts.configuration import read_heads
from bertsmith.artifacts.directory import TASK, heads_if_known, load_model, task_directories, verify_directory
from bertsmith.artifacts.sentence_modules import MODULES, read_sentence_modules
from bertsmith.batches.windows import Window
from bertsmith.engine.engine import Engine, Wanted, make_engine
from bertsmith.errors import ArtifactError, UsageError
from bertsmith.inference.pipeline import Pipeline, check_length
from bertsmith.model.bert import Bert, Heads
from bertsmith.tasks.fill import BlankReader, Filled
from bertsmith.tasks.predictor import Predictor, predictions
from bertsmith.tasks.saved import load_task_model
from bertsmith.tasks.scoring.scores import check_predictions
from bertsmith.tasks.task import Example, Prediction, Sample, SampleBatch, Task
from bertsmith.text.tokenizer import Tokenizer

Floats = npt.NDArray[np.float32]

log = logging.getLogger("bertsmith")


class FillPipeline(Pipeline[str, Filled]):
    """Fills the blanks of texts.

    Args:
        engine: Runs a model with a masked-token head.
        tokenizer: The model's tokenizer.

    Raises:
        ArtifactError: the model has no such head, or its vocabulary no mask token.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        super().__init__(engine, tokenizer)
        if engine.model.masked_token is None:
            raise ArtifactError("this model has no masked-token head, so it cannot fill blanks")
        self._reader(1)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", precision: Wanted = "float32") -> Self:
        """Open a model directory; arguments and errors as for :func:`pipeline`."""
        return cls(make_engine(load_model(path), device, precision), Tokenizer.load(path))

    def __call__(self, inputs: Iterable[str], top: int = 5) -> list[Filled]:
        """Return each text with the ``top`` likeliest tokens for every ``[MASK]`` in it.

        Raises:
            InputError: a text has no ``[MASK]``, or more tokens than the model has positions.
        """
        return list(self.stream(inputs, top))

    def stream(self, inputs: Iterable[str], top: int = 5) -> Iterator[Filled]:
        """Yield results one after the other; any number of texts in bounded memory."""
        reader = self._reader(whole_number(top, "top", 1))
        for _, filled in predictions(reader, texts(inputs), self.engine.token_budget):
            yield filled

    def _reader(self, top: int) -> BlankReader:
        return BlankReader(self.engine.token_logits, self.tokenizer, self.engine.model.config.max_positions, top)

    def check(self, value: Any) -> None:
        """Raise :class:`InputError` for what is no text, has no ``[MASK]`` or too many tokens."""
        check_text(value)
        self._reader(1).samples([value])

    def record(self, value: str, prediction: Filled) -> Mapping[str, Any]:  # noqa: ARG002
        """Return the text and its blanks as one JSON object."""
        return asdict(prediction)


class TaskPipeline(Pipeline[Any, Prediction], Generic[Example, Prediction]):
    """Answers for a fine-tuned task: typed predictions for texts, pairs, lists of words or whatever the task takes.

    Args:
        task: The task, as the model directory has it.
        tokenizer: The model's tokenizer.
        engine: Runs its model.
    """

    def __init__(self, task: Task[Example, Prediction], tokenizer: Tokenizer, engine: Engine) -> None:
        super().__init__(engine, tokenizer)
        self.task = task
        assert engine.model.task is not None
        self._predictor = Predictor(task, tokenizer, engine.logits, engine.model.task, engine.token_budget)

    @classmethod
    def load(
        cls,
        path: str | Path,
        kind: type[Task[Example, Prediction]] | None = None,
        *,
        device: str = "cpu",
        precision: Wanted = "float32",
    ) -> "TaskPipeline[Example, Prediction]":
        """Open the directory of a fine-tuned model; arguments and errors as for :func:`pipeline`."""
        path = path_of(path)
        task, model = load_task_model(path, kind)
        return cls(task, Tokenizer.load(path), make_engine(model, device, precision))

    def stream(self, inputs: Iterable[Any]) -> Iterator[Prediction]:
        """Yield predictions in order; any number of inputs in bounded memory."""
        for _, prediction in self.predict(converted(inputs, self.task.example)):
            yield prediction

    def _facts(self) -> Iterator[str]:
        yield f"task {self.task.kind!r}"
        if self.task.classes:
            yield f"{len(self.task.classes)} labels {shown(self.task.classes)}"

    def predict(self, examples: Iterable[Example]) -> Iterator[tuple[Example, Prediction]]:
        """Yield the task's own examples, as it reads them from a file, each with its prediction."""
        return self._predictor.predict(examples)

    def check(self, value: Any) -> None:
        """Raise :class:`InputError` for what the task does not take."""
        self.task.example(value)

    def record(self, value: Any, prediction: Prediction) -> Mapping[str, Any]:
        """Return a prediction as one JSON object, the one that ``bertsmith predict`` writes."""
        return self.task.record(self.task.example(value), prediction)


class VectorPipeline(Pipeline[str, Floats]):
    """Turns texts into vectors.

    Args:
        engine: Runs a model whose head is :class:`~bertsmith.model.heads.pooling.SentenceVectors`.
        tokenizer: The model's tokenizer.
        max_length: Tokens read of a text, ``[CLS]`` and ``[SEP]`` included; all that the model has positions for unless given.

    Raises:
        UsageError: the model has fewer positions.
    """

    look_ahead = 1024

    def __init__(self, engine: Engine, tokenizer: Tokenizer, max_length: int | None = None) -> None:
        super().__init__(engine, tokenizer)
        self.max_length = check_length(engine, max_length)
        self.warns_of_cuts = True

    @classmethod
    def load(
        cls, path: str | Path, *, device: str = "cpu", precision: Wanted = "float32", max_length: int | None = None
    ) -> Self:
        """Open the encoder of any model directory.

        A directory of sentence-transformers says itself how a vector is made; of another, it is the mean of the hidden states
        of all tokens, ``[CLS]`` and ``[SEP]`` too. Arguments and errors as for :func:`pipeline`.

        Raises:
            ArtifactError: the directory is of sentence-transformers, and has a part that bertsmith does not compute.
        """
        path = path_of(path)
        verify_directory(path)
        vectors, own_length = read_sentence_modules(path)
        engine = make_engine(load_model(path, Heads(task=vectors)), device, precision)
        pipe = cls(engine, Tokenizer.load(path), own_length if max_length is None else max_length)
        pipe.warns_of_cuts = max_length is None  # who chooses a length knows of it
        return pipe

    def _facts(self) -> Iterator[str]:
        yield f"at most {self.max_length} tokens"

    @property
    def width(self) -> int:
        """D, the number of figures of a vector."""
        return self.engine.model.config.width

    def __call__(self, inputs: Iterable[str]) -> Floats:  # type: ignore[override]  # rows of one array in place of a list
        """Return the vectors (n, D) of the texts, in order."""
        vectors = list(self.stream(inputs))
        return np.stack(vectors) if vectors else np.zeros((0, self.width), np.float32)

    def stream(self, inputs: Iterable[str]) -> Iterator[Floats]:
        """Yield the vectors (D,) in order; any number of texts in bounded memory.

        Raises:
            DivergedError: the model says what is no number.
        """
        for _, vector in predictions(self, texts(inputs), self.engine.token_budget):
            yield vector

    def check(self, value: Any) -> None:
        """Raise :class:`InputError` for what is no text."""
        check_text(value)

    def record(self, value: str, prediction: Floats) -> Mapping[str, Any]:
        """Return the text and its vector as one JSON object."""
        return {"text": value, "vector": prediction.tolist()}

    def samples(self, items: Sequence[str]) -> list[list[Sample]]:
        """Return each text, cut to what is read of it, as one sample."""
        token_ids, room = self.tokenizer.token_ids(items), self.max_length - 2
        if self.warns_of_cuts and any(len(ids) > room for ids in token_ids):
            log.warning("texts of more than %d tokens are cut to what the model reads", self.max_length)
            self.warns_of_cuts = False
        return [[self._sample(ids[:room])] for ids in token_ids]

    def _sample(self, inner: list[int]) -> Sample:
        token_ids = np.array([self.tokenizer.cls_id, *inner, self.tokenizer.sep_id])
        n_inner = len(inner)
        return Sample((Window(token_ids, np.zeros_like(token_ids), 0, n_inner, 1, (0, n_inner)),))

    def outputs(self, batch: SampleBatch) -> Floats:
        """Return the vectors (B, D) of a batch."""
        vectors_BD: Floats = self.engine.logits(batch.inputs).cpu().numpy()
        check_predictions(vectors_BD, vectors_BD)
        return vectors_BD

    def decode(
        self,
        items: Sequence[str],  # noqa: ARG002
        samples: Sequence[Sequence[Sample]],  # noqa: ARG002
        outputs: Sequence[Sequence[Floats]],
    ) -> list[Floats]:
        """Return the vector of each text."""
        return [vector for (vector,) in outputs]


@overload
def pipeline(
    path: str | Path,
    *,
    task: type[Task[Example, Prediction]],
    device: str = "cpu",
    precision: Wanted = "float32",
) -> TaskPipeline[Example, Prediction]: ...


@overload
def pipeline(
    path: str | Path,
    *,
    task: None = None,
    device: str = "cpu",
    precision: Wanted = "float32",
    max_length: int | None = None,
) -> Pipeline[Any, Any]: ...


def pipeline(
    path: str | Path,
    *,
    task: type[Task] | None = None,
    device: str = "cpu",
    precision: Wanted = "float32",
    max_length: int | None = None,
) -> Pipeline[Any, Any]:
    """Return the pipeline for what the directory's model was trained for.

    Args:
        path: Model directory, one of transformers' too.
        task: The class of the task, such as :class:`~bertsmith.Classify`, which also tells a type checker what is predicted;
            needed where the task is one of your own.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``float32`` for what the weights say to the last digit, ``bf16`` or ``int8`` for speed, ``auto`` for bf16
            where the machine has instructions for it.
        max_length: Tokens read of a text that is turned into a vector; unless given, as many as the directory says, or as the
            model has positions.

    Returns:
        A :class:`TaskPipeline`; of a model with a masked-token head a :class:`FillPipeline`, and of an encoder alone or a
        directory of sentence-transformers a :class:`VectorPipeline`.

    Raises:
        ArtifactError: no model directory, or one whose model has no head to predict with.
        UsageError: there is no such device or precision, the machine has none of it, or ``max_length`` is no length for
            this model.
    """
    path = path_of(path)
    kind = _kind(path, task)
    if kind is VectorPipeline:
        return VectorPipeline.load(path, device=device, precision=precision, max_length=max_length)
    if max_length is not None:
        raise UsageError(f"max_length is for vectors of texts, and {path} gives none: leave it out")
    if kind is FillPipeline:
        return FillPipeline.load(path, device=device, precision=precision)
    return TaskPipeline.load(path, task, device=device, precision=precision)


def _kind(path: Path, task: type[Task] | None) -> type[Pipeline[Any, Any]]:
    """Return the kind of pipeline that a model directory is for."""
    verify_directory(path)
    is_encoder = task is None and (path / MODULES).exists()
    heads = heads_if_known(path) if is_encoder else read_heads(path)
    has_task_head = heads is not None and heads.task is not None
    if is_encoder and not has_task_head:
        return VectorPipeline
    if task is not None or has_task_head or (path / TASK).exists():
        return TaskPipeline
    heads = heads or load_model(path).heads  # where no architecture is named, the tensors tell
    if heads.masked_token:
        return FillPipeline
    if heads.next_sentence:
        raise ArtifactError(f"{path} holds a model with a next-sentence head alone, for which there is no pipeline")
    return VectorPipeline


def pipelines(
    path: str | Path, *, device: str = "cpu", precision: Wanted = "float32"
) -> dict[str, TaskPipeline | VectorPipeline]:
    """Return the pipelines, by task, of the directory of a run of several tasks; their encoder is in memory once.

    Each is what :func:`pipeline` returns for that task's directory. A model whose encoder is another, such as one that was
    trained on alone, has its own.

    Args:
        path: The directory, ``final`` of a run of ``bertsmith finetune multi``.
        device: As for :func:`pipeline`.
        precision: As for :func:`pipeline`.

    Raises:
        ArtifactError: no such directory.
        UsageError: as for :func:`pipeline`.
    """
    found: dict[str, TaskPipeline | VectorPipeline] = {}
    engines: list[tuple[Bert, Engine]] = []
    for name, directory in task_directories(path_of(path)).items():
        task, model = load_task_model(directory)
        assert model.task is not None and model.heads.task is not None
        shared = next((engine for other, engine in engines if _equal_encoders(other, model)), None)
        if shared is None:
            engine = make_engine(model, device, precision)
            engines.append((model, engine))
        else:
            engine = shared.with_task(model.heads.task, model.task)
        tokenizer = Tokenizer.load(directory)
        if task.gives_vectors:
            found[name] = VectorPipeline(engine, tokenizer, task.max_length)
        else:
            found[name] = TaskPipeline(task, tokenizer, engine)
    return found


def _equal_encoders(one: Bert, other: Bert) -> bool:
    tensors, others = (model.get_submodule("encoder").state_dict() for model in (one, other))
    return tensors.keys() == others.keys() and all(torch.equal(tensor.cpu(), others[name]) for name, tensor in tensors.items())

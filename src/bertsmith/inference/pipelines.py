"""The pipeline of a model directory's own task.

Dimensions: T tokens of a batch, B sequences of it, n texts, D width.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from bertsmith.artifacts.configuration import read_configuration
from bertsmith.artifacts.directory import TASK, load_model, task_directories, verify_directory
from bertsmith.artifacts.sentence_modules import MODULES, read_sentence_modules
from bertsmith.batches.look_ahead import prepared_ahead
from bertsmith.batches.packing import pack
from bertsmith.engine.engine import Engine, choose_precision
from bertsmith.errors import ArtifactError
from bertsmith.inference.checks import check_length, refuse_single
from bertsmith.machine import choose_device
from bertsmith.model.bert import Bert, Heads
from bertsmith.tasks.embed import Embed
from bertsmith.tasks.fill import Filled, fill
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.saved import load_task_model
from bertsmith.tasks.scoring.scores import check_predictions
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import PackedBatch

Floats = npt.NDArray[np.float32]
Wanted = Literal["auto", "float32", "bf16", "int8"]

_TEXTS_AT_ONCE = 32
_LOOK_AHEAD = 1024

log = logging.getLogger("bertsmith")


class FillPipeline:
    """Fills the blanks of texts."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self.engine, self.tokenizer = engine, tokenizer

    def __call__(self, texts: Iterable[str], top: int = 5) -> list[Filled]:
        """Return each text with the ``top`` likeliest tokens for every ``[MASK]`` in it.

        Raises:
            InputError: a text has no ``[MASK]``, or more tokens than the model has positions.
        """
        return list(self.stream(texts, top))

    def stream(self, texts: Iterable[str], top: int = 5) -> Iterator[Filled]:
        """Yield results one after the other; any number of texts in bounded memory."""
        refuse_single(texts)
        remaining = iter(texts)
        while batch := list(islice(remaining, _TEXTS_AT_ONCE)):
            yield from fill(self.engine.model, self.tokenizer, batch, top)


class TaskPipeline:
    """Answers for a fine-tuned task: typed predictions for texts, pairs, lists of words or whatever the task takes.

    Args:
        task: The task, as the model directory has it.
        tokenizer: The model's tokenizer.
        engine: Runs its model.
    """

    def __init__(self, task: Task, tokenizer: Tokenizer, engine: Engine) -> None:
        self.task, self.tokenizer, self.engine = task, tokenizer, engine
        assert engine.model.task is not None
        self._predictor = Predictor(task, tokenizer, engine.logits, engine.model.task, engine.token_budget)

    def __call__(self, inputs: Iterable[Any]) -> list[Any]:
        """Return a prediction for each input, in order.

        Raises:
            InputError: an input is not what the task takes.
        """
        return list(self.stream(inputs))

    def stream(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """Yield predictions in order; any number of inputs in bounded memory."""
        refuse_single(inputs)
        for _, prediction in self.predict(self.task.example(value) for value in inputs):
            yield prediction

    def predict(self, examples: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield the task's own examples, as it reads them from a file, each with its prediction."""
        return self._predictor.predict(examples)


class VectorPipeline:
    """Turns texts into vectors.

    Args:
        engine: Runs a model whose head is :class:`~bertsmith.model.heads.pooling.SentenceVectors`.
        tokenizer: The model's tokenizer.
        max_length: Tokens read of a text, ``[CLS]`` and ``[SEP]`` included; all that the model has positions for unless given.

    Raises:
        UsageError: the model has fewer positions.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, max_length: int | None = None) -> None:
        self.engine, self.tokenizer = engine, tokenizer
        self.max_length = check_length(engine, max_length)
        self.warns_of_cuts = True

    @property
    def width(self) -> int:
        """D, the number of figures of a vector."""
        return self.engine.model.config.width

    def __call__(self, texts: Iterable[str]) -> Floats:
        """Return the vectors (n, D) of the texts, in order."""
        vectors = list(self.stream(texts))
        return np.stack(vectors) if vectors else np.zeros((0, self.width), np.float32)

    def stream(self, texts: Iterable[str]) -> Iterator[Floats]:
        """Yield the vectors (D,) in order; any number of texts in bounded memory.

        Raises:
            DivergedError: the model says what is no number.
        """
        refuse_single(texts)
        for _, sequences in prepared_ahead(texts, _LOOK_AHEAD, self._sequences):
            yield from self._vectors(sequences)

    def _sequences(self, texts: Sequence[str]) -> list[list[int]]:
        token_ids, room = self.tokenizer.token_ids(texts), self.max_length - 2
        if self.warns_of_cuts and any(len(ids) > room for ids in token_ids):
            log.warning("texts of more than %d tokens are cut to what the model reads", self.max_length)
            self.warns_of_cuts = False
        return [[self.tokenizer.cls_id, *ids[:room], self.tokenizer.sep_id] for ids in token_ids]

    def _vectors(self, sequences: Sequence[Sequence[int]]) -> Floats:
        """Return (n, D), computed in batches of similar lengths."""
        lengths = np.array([len(sequence) for sequence in sequences])
        order = np.argsort(-lengths, kind="stable")
        vectors = np.empty((len(sequences), self.width), np.float32)
        for part in pack(lengths[order], max(self.engine.token_budget, int(lengths.max()))):
            places = order[part]
            token_ids = np.concatenate([sequences[place] for place in places])
            batch = PackedBatch.from_arrays(token_ids, np.zeros_like(token_ids), lengths[places])
            vectors[places] = self.engine.logits(batch).cpu().numpy()
        check_predictions(vectors, vectors)
        return vectors


def pipeline(
    path: str | Path,
    *,
    task: type[Task] | None = None,
    device: str = "cpu",
    precision: Wanted = "float32",
    max_length: int | None = None,
) -> FillPipeline | TaskPipeline | VectorPipeline:
    """Return the pipeline for what the directory's model was trained for.

    Args:
        path: Model directory, one of transformers' too.
        task: The class of the task, where it is one of your own.
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
        UsageError: the machine has no such device, or no instructions for int8.
    """
    path = Path(path)
    verify_directory(path)
    _, heads = read_configuration(path)
    has_task_head = heads is not None and heads.task is not None
    if task is None and not has_task_head and (path / MODULES).exists():
        return vector_pipeline(path, device=device, precision=precision, max_length=max_length)
    if task is not None or has_task_head or (path / TASK).exists():
        return task_pipeline(path, task, device, precision)
    heads = heads or load_model(path).heads  # where no architecture is named, the tensors tell
    if heads.masked_token:
        chosen = choose_device(device, 0)
        engine = Engine(load_model(path), chosen, choose_precision(precision, chosen))
        return FillPipeline(engine, Tokenizer.load(path))
    if heads.next_sentence:
        raise ArtifactError(f"{path} holds a model with a next-sentence head alone, for which there is no pipeline")
    return vector_pipeline(path, device=device, precision=precision, max_length=max_length)


def vector_pipeline(
    path: str | Path, *, device: str = "cpu", precision: Wanted = "float32", max_length: int | None = None
) -> VectorPipeline:
    """Return what makes vectors of texts with the encoder of any model directory.

    A directory of sentence-transformers says itself how; of another, a vector is the mean of the hidden states of all tokens,
    ``[CLS]`` and ``[SEP]`` too. Arguments and errors as for :func:`pipeline`.

    Raises:
        ArtifactError: the directory is of sentence-transformers, and has a part that bertsmith does not compute.
    """
    path, chosen = Path(path), choose_device(device, 0)
    verify_directory(path)
    vectors, own_length = read_sentence_modules(path)
    model, tokenizer = load_model(path, Heads(task=vectors)), Tokenizer.load(path)
    pipe = VectorPipeline(Engine(model, chosen, choose_precision(precision, chosen)), tokenizer, max_length or own_length)
    pipe.warns_of_cuts = max_length is None  # who chooses a length knows of it
    return pipe


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
    chosen = choose_device(device, 0)
    wanted = choose_precision(precision, chosen)
    found: dict[str, TaskPipeline | VectorPipeline] = {}
    engines: list[tuple[Bert, Engine]] = []
    for name, directory in task_directories(Path(path)).items():
        task, model = load_task_model(directory)
        assert model.task is not None and model.heads.task is not None
        shared = next((engine for other, engine in engines if _equal_encoders(other, model)), None)
        if shared is None:
            engine = Engine(model, chosen, wanted)
            engines.append((model, engine))
        else:
            engine = shared.with_task(model.heads.task, model.task)
        tokenizer = Tokenizer.load(directory)
        is_vectors = isinstance(task, Embed)
        found[name] = (
            VectorPipeline(engine, tokenizer, task.max_length) if is_vectors else TaskPipeline(task, tokenizer, engine)
        )
    return found


def _equal_encoders(one: Bert, other: Bert) -> bool:
    tensors, others = (model.get_submodule("encoder").state_dict() for model in (one, other))
    return tensors.keys() == others.keys() and all(torch.equal(tensor.cpu(), others[name]) for name, tensor in tensors.items())


def task_pipeline(
    path: Path, kind: type[Task] | None = None, device: str = "cpu", precision: Wanted = "float32"
) -> TaskPipeline:
    """Return the pipeline of a fine-tuned model; arguments and errors as for :func:`pipeline`."""
    chosen = choose_device(device, 0)
    task, model = load_task_model(path, kind)
    return TaskPipeline(task, Tokenizer.load(path), Engine(model, chosen, choose_precision(precision, chosen)))

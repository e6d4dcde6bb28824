"""A model to look into, and what it makes of a text.

Dimensions: T tokens, L layers, N heads, D width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from bertsmith.artifacts.directory import TASK, heads_if_known, load_model_or_encoder, verify_directory
from bertsmith.engine.engine import make_engine
from bertsmith.errors import ArtifactError, DamagedError, MismatchError, Refusal
from bertsmith.inference.pipelines import TaskPipeline
from bertsmith.inspection.arrays import Floats
from bertsmith.inspection.watcher import NOBODY, Watcher, in_parts
from bertsmith.model.bert import Bert
from bertsmith.notices import say_once
from bertsmith.tasks.saved import load_task_model
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.threads import threads_for
from bertsmith.types import Encoding, PackedBatch

_ATTENTION_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Subject:
    """A loaded model with its tokenizer and, where it was fine-tuned for a task, the pipeline of it."""

    model: Bert
    tokenizer: Tokenizer
    pipeline: TaskPipeline | None

    @classmethod
    def load(cls, path: Path, kind: type[Task] | None = None) -> Self:
        """Load a model directory, with the class of its task where that is one of one's own; errors as for
        :func:`bertsmith.load`.

        Of a task or heads that are not known, the encoder is there to look into, which is said once.
        """
        task, model = _task_and_model(path, kind)
        subject = cls.of(model, tokenizer := Tokenizer.load(path))
        if task is None or task.gives_vectors:  # which are but the hidden states, pooled
            return subject
        return cls(subject.model, tokenizer, TaskPipeline(task, tokenizer, make_engine(model)))

    @classmethod
    def of(cls, model: Bert, tokenizer: Tokenizer) -> Self:
        """Take a model that is loaded already; it is put into evaluation mode, and gets no gradients any more."""
        return cls(model.eval().requires_grad_(False), tokenizer, None)

    @property
    def tuned(self) -> TaskPipeline:
        """The pipeline; :class:`Refusal` where there is none."""
        if self.pipeline is None:
            raise Refusal("missing", "this model was not fine-tuned for a task", view="task")
        return self.pipeline

    @property
    def reads(self) -> str:
        """What an example for the model consists of: that of its task, or a pair where it was trained on next sentences."""
        if self.pipeline is not None:
            return self.pipeline.task.reads_examples_of
        return "text" if self.model.next_sentence is None else "pair"

    @property
    def n_layers(self) -> int:
        """L, the number of layers."""
        return self.model.config.n_layers

    def encode(self, text: str, pair: str | None) -> tuple[Encoding, int]:
        """Return a text or a pair cut to what is read of it, the longer of two first, and how many tokens it has in all."""
        whole = self.tokenizer.encode(text, pair)
        n_tokens, room = len(whole.token_ids), self._room()
        if n_tokens <= room:
            return whole, n_tokens
        borders = [row for row, token_id in enumerate(whole.word_ids) if token_id is None and row]
        first, last = borders[0], n_tokens - 1
        if pair is None:
            return _rows(whole, [*range(room - 1), last]), n_tokens
        lengths = [first - 1, last - first - 1]
        room -= 3
        kept_a = max(min(lengths[0], room - min(lengths[1], room // 2)), 0)
        kept_b = min(lengths[1], room - kept_a)
        rows = [*range(1 + kept_a), first, *range(first + 1, first + 1 + kept_b), last]
        return _rows(whole, rows), n_tokens

    def _room(self) -> int:
        """Return the most tokens that the model has positions, and the page memory for the attention, for."""
        n_heads = sum(layer.attention.n_heads for layer in self.model.encoder.layers)
        return min(self.model.config.max_positions, math.isqrt(_ATTENTION_BYTES // (4 * n_heads)))

    def read(self, text: str, pair: str | None = None) -> "Reading":
        """Return what the model makes of a text or a pair."""
        encoding, n_whole = self.encode(text, pair)
        with threads_for(len(encoding.token_ids)), torch.inference_mode():
            encoded = self.model.encoder(PackedBatch.from_encodings([encoding]), want_layers=True, want_attention=True)
        layers_L1TD = torch.stack(encoded.layers).numpy()
        attention_LNTT = torch.stack([found for (found,) in encoded.attention]).numpy()
        _check_finite(layers_L1TD)
        return Reading(self, text, pair, encoding, n_whole, layers_L1TD, attention_LNTT)

    def read_apart(self, texts: list[str], watcher: Watcher = NOBODY) -> Iterator["Reading"]:
        """Yield what the model makes of each of several texts, without attention; of many, a part is read at a time.

        Raises:
            Cancelled: nobody waits for it any more.
        """
        cut = [self.encode(text, None) for text in texts]
        nothing = np.zeros((0, 0, 0, 0), np.float32)
        for part in in_parts([len(encoding.token_ids) for encoding, _ in cut], watcher):
            batch = PackedBatch.from_encodings([encoding for encoding, _ in cut[part]])
            with threads_for(len(batch.token_ids)), torch.inference_mode():
                layers_L1TD = torch.stack(self.model.encoder(batch, want_layers=True).layers).numpy()
            _check_finite(layers_L1TD)
            states = np.split(layers_L1TD, batch.cu_seqlens[1:-1].tolist(), axis=1)
            for text, (encoding, n_whole), found in zip(texts[part], cut[part], states, strict=True):
                yield Reading(self, text, None, encoding, n_whole, found, nothing)


def _task_and_model(path: Path, kind: type[Task] | None) -> tuple[Task | None, Bert]:
    verify_directory(path)
    heads = heads_if_known(path)
    if not (path / TASK).exists() and (heads is None or heads.task is None):
        return None, load_model_or_encoder(path)
    try:
        return load_task_model(path, kind)
    except ArtifactError as error:
        if kind is not None or isinstance(error, DamagedError | MismatchError):
            raise
        model, unknown = load_model_or_encoder(path), error
    if model.heads.task is not None or (path / TASK).exists():  # of a head that is missing it has been said
        say_once(f"{unknown}; it is opened without its task")
    return None, model


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model makes of one text or pair.

    encoding     the tokens that the model reads
    n_whole      the number of tokens before the text was cut to what the model reads
    layers       (L+1, T, D)   the embeddings' and every layer's output
    attention    (L, N, T, T)  attention probabilities, from row to column
    """

    subject: Subject
    text: str
    pair: str | None
    encoding: Encoding
    n_whole: int
    layers: Floats
    attention: Floats

    @property
    def n_tokens(self) -> int:
        """T, the number of tokens."""
        return len(self.encoding.token_ids)

    @property
    def n_bytes(self) -> int:
        """The memory that this takes."""
        return self.layers.nbytes + self.attention.nbytes

    @property
    def is_special(self) -> list[bool]:
        """Whether each token is ``[CLS]`` or ``[SEP]`` of the sequence; those written in the text count as words."""
        return [word is None for word in self.encoding.word_ids]

    def batch(self) -> PackedBatch:
        """Return the sequence as a batch of one."""
        return PackedBatch.from_encodings([self.encoding])

    def scores(self) -> Tensor:
        """Return what the head of the model's task says of the sequence, (1, C) or (T, C)."""
        head = self.subject.model.task
        assert head is not None
        with torch.inference_mode():
            scores: Tensor = head(torch.from_numpy(self.layers[-1]), self.batch())
        return scores

    def check_position(self, position: int) -> None:
        """Raise :class:`Refusal` unless there is a token at ``position``."""
        if position >= self.n_tokens:
            raise Refusal(
                "invalid", f"there is no token {position}: the text has {self.n_tokens}, counted from 0", field="position"
            )

    def check_layer(self, layer: int) -> None:
        """Raise :class:`Refusal` unless the model has ``layer``."""
        if layer > self.subject.n_layers:
            raise Refusal("invalid", f"there is no layer {layer}: the model has {self.subject.n_layers}", field="layer")


def _check_finite(layers_L1TD: Floats) -> None:
    if not np.isfinite(layers_L1TD).all():
        raise Refusal(
            "diverged", "the model's states are NaN or infinite, so it cannot be looked into: take an earlier checkpoint"
        )


def _rows(encoding: Encoding, rows: list[int]) -> Encoding:
    columns: list[list[Any]] = [[getattr(encoding, name)[row] for row in rows] for name in Encoding.__slots__]
    return Encoding(*columns)

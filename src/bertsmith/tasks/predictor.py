"""Predictions for any number of items: a look-ahead window of them is sorted by length, packed, and put back in order.

While one window is computed, the next is tokenised.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from bertsmith.batches.look_ahead import prepared_ahead
from bertsmith.batches.packing import pack
from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.tasks.task import Example, Logits, Prediction, Sample, SampleBatch, Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import PackedBatch

Forward = Callable[[PackedBatch], Tensor]
"""From a batch to the logits of the task's head, in float32."""

TOKEN_BUDGET = 2048  # on a CPU what a layer makes of them stays near

ItemT = TypeVar("ItemT")
ReadT = TypeVar("ReadT", contravariant=True)
OutputT = TypeVar("OutputT")
PredictionT = TypeVar("PredictionT", covariant=True)


class Reader(Protocol[ReadT, OutputT, PredictionT]):
    """Reads items with a model in three steps."""

    @property
    def look_ahead(self) -> int:
        """Items that are tokenised together: the fewer, the more sequences each has."""

    def samples(self, items: Sequence[ReadT]) -> Sequence[Sequence[Sample]]:
        """Return for each item what goes through the model."""

    def outputs(self, batch: SampleBatch) -> Iterable[OutputT]:
        """Return what the model says of each sample of a batch."""

    def decode(
        self, items: Sequence[ReadT], samples: Sequence[Sequence[Sample]], outputs: Sequence[Sequence[OutputT]]
    ) -> Sequence[PredictionT]:
        """Return a prediction for each item, from its samples and what the model says of each of them."""


def predictions(
    reader: Reader[ItemT, OutputT, PredictionT], items: Iterable[ItemT], token_budget: int
) -> Iterator[tuple[ItemT, PredictionT]]:
    """Yield each item with its prediction, in order, in memory bounded by the look-ahead."""
    for chunk, samples in prepared_ahead(items, reader.look_ahead, reader.samples):
        outputs = dict(in_batches([sample for of_item in samples for sample in of_item], token_budget, reader.outputs))
        places = iter(range(len(outputs)))
        by_item = [[outputs[next(places)] for _ in of_item] for of_item in samples]
        yield from zip(chunk, reader.decode(chunk, samples, by_item), strict=True)


def in_batches(
    samples: Sequence[Sample], token_budget: int, outputs: Callable[[SampleBatch], Iterable[OutputT]]
) -> Iterator[tuple[int, OutputT]]:
    """Yield the place of each sample with its output; samples of similar length are computed together, the longest first."""
    for places in pack_samples(samples, token_budget):
        yield from zip(places, outputs(SampleBatch.collate([samples[place] for place in places])), strict=True)


def pack_samples(samples: Sequence[Sample], token_budget: int) -> list[list[int]]:
    """Put samples of similar length together, in batches of at most ``token_budget`` tokens or of one sample beyond it.

    Returns the places of the samples of each batch, the longest first.
    """
    lengths = np.array([sample.n_tokens for sample in samples], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    budget = max(token_budget, int(lengths.max(initial=0)))
    return [order[batch].tolist() for batch in pack(lengths[order], budget)]


class Predictor(Generic[Example, Prediction]):
    """Applies a trained model to a task's examples."""

    def __init__(
        self,
        task: Task[Example, Prediction],
        tokenizer: Tokenizer,
        forward: Forward,
        head: ScoringHead,
        token_budget: int = TOKEN_BUDGET,
    ) -> None:
        self.task, self.tokenizer = task, tokenizer
        self._forward, self._head, self._token_budget = forward, head, token_budget

    def predict(self, examples: Iterable[Example]) -> Iterator[tuple[Example, Prediction]]:
        """Yield each example with its prediction, in order, in memory bounded by the look-ahead."""
        return predictions(self, examples, self._token_budget)

    @property
    def look_ahead(self) -> int:
        """Return the examples that are tokenised together."""
        return self.task.look_ahead

    def samples(self, items: Sequence[Example]) -> list[list[Sample]]:
        """Return the samples of each example."""
        return self.task.samples(items, self.tokenizer, labelled=False)

    @torch.no_grad()
    def outputs(self, batch: SampleBatch) -> list[Logits]:
        """Return the logits of each sample."""
        logits = self._forward(batch.inputs).float().cpu().numpy()
        of_tokens = self._head.scores == "tokens"
        sizes = [sample.n_tokens if of_tokens else len(sample.windows) for sample in batch.samples]
        return np.split(logits, np.cumsum(sizes[:-1]))

    @torch.no_grad()
    def decode(
        self, items: Sequence[Example], samples: Sequence[Sequence[Sample]], outputs: Sequence[Sequence[Logits]]
    ) -> list[Prediction]:
        """Return the task's predictions."""
        return self.task.decode(items, samples, outputs, self._head)

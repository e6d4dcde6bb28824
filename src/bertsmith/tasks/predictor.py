"""Predictions for any number of examples: a look-ahead window of them is sorted by length, packed, and put back in order.

While one window is computed, the next is tokenised.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic

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
        for chunk, samples in prepared_ahead(examples, self.task.look_ahead, self._samples):
            yield from zip(chunk, self._predict(chunk, samples), strict=True)

    def _samples(self, examples: Sequence[Example]) -> list[list[Sample]]:
        return self.task.samples(examples, self.tokenizer, labelled=False)

    @torch.no_grad()
    def _predict(self, examples: Sequence[Example], by_example: Sequence[Sequence[Sample]]) -> list[Prediction]:
        found = iter(self._logits([sample for samples in by_example for sample in samples]))
        logits = [[next(found) for _ in samples] for samples in by_example]
        return self.task.decode(examples, by_example, logits, self._head)

    def _logits(self, samples: Sequence[Sample]) -> list[Logits]:
        """Return the logits of each sample."""
        found: list[Logits] = [np.zeros(0, np.float32)] * len(samples)
        for places in pack_samples(samples, self._token_budget):
            batch = SampleBatch.collate([samples[place] for place in places])
            logits = self._forward(batch.inputs).float().cpu().numpy()
            of_tokens = self._head.scores == "tokens"
            sizes = [sample.n_tokens if of_tokens else len(sample.windows) for sample in batch.samples]
            for place, part in zip(places, np.split(logits, np.cumsum(sizes[:-1])), strict=True):
                found[place] = part
        return found


def pack_samples(samples: Sequence[Sample], token_budget: int) -> list[list[int]]:
    """Put samples of similar length together, in batches of at most ``token_budget`` tokens or of one sample beyond it.

    Returns the places of the samples of each batch, the longest first.
    """
    lengths = np.array([sample.n_tokens for sample in samples], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    budget = max(token_budget, int(lengths.max(initial=0)))
    return [order[batch].tolist() for batch in pack(lengths[order], budget)]

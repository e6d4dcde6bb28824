"""One optimiser step of pre-training after the other."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from bertsmith.errors import DivergedError
from bertsmith.model.bert import Bert
from bertsmith.pretraining.fixed_shape import FixedShape, without_filler
from bertsmith.pretraining.losses import Tally, pretraining_loss
from bertsmith.training.parallel import Ranks
from bertsmith.training.settings import Optimisation
from bertsmith.training.stepper import Stepper
from bertsmith.types import PretrainingBatch

# A model that guesses uniformly has a loss of ln V + ln 2; several times that is no learning any more.
_EXPLODED = 4.0


class Trainer(Stepper):
    """Moves a model's weights by masked tokens and next sentences.

    With ``shape``, every batch is brought to it before the model sees it; losses and counts are those of the batch as it was.
    """

    def __init__(
        self,
        master: Bert,
        settings: Optimisation,
        seed: int,
        ranks: Ranks,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool,
        shape: FixedShape | None = None,
    ) -> None:
        super().__init__(master, settings, seed, ranks, device, dtype, compiled, has_one_shape=shape is not None)
        self._shape = shape

    def step(
        self, number: int, batches: Sequence[PretrainingBatch], masked: float, pairs: float, rate: float
    ) -> tuple[Tally, float]:
        """Make optimiser step ``number`` on this rank's batches and return their tally and the gradient's norm.

        ``masked`` and ``pairs`` count the predictions of the step over all ranks.

        Raises:
            DivergedError: the loss is NaN or exploded; the weights are as before the step.
        """
        tally = Tally(self.device)
        for place, batch in enumerate(batches):
            self.accumulate(number, place, partial(self._loss, batch, masked, pairs, tally))
        self.ranks.sum(tally.sums)
        norm = self.gather()
        self._refuse_divergence(number, tally, norm)
        self.update(rate)
        return tally, norm

    def moved(self, batch: PretrainingBatch) -> PretrainingBatch:
        """Return the batch where the model is; to a GPU it is copied without waiting for what is under way there."""
        return (batch.pin_memory() if self.device.type == "cuda" else batch).to(self.device)

    def _loss(self, batch: PretrainingBatch, masked: float, pairs: float, tally: Tally) -> Tensor:
        if self._shape is None:
            output = self.compute.logits(batch.inputs, positions=batch.masked_positions)
        else:
            filled = self._shape.fill(batch)
            output = without_filler(self.compute.logits(filled.inputs, positions=filled.masked_positions), batch)
        return pretraining_loss(output, batch, masked, pairs, tally)

    def _refuse_divergence(self, number: int, tally: Tally, norm: float) -> None:
        loss = tally.means()["mlm_loss"]
        limit = _EXPLODED * (math.log(self.master.config.vocabulary_size) + math.log(2))
        if not (math.isfinite(loss) and math.isfinite(norm)) or loss > limit:
            raise DivergedError(
                f"the loss at step {number} is {loss:.4g} and the gradient's norm {norm:.4g}: training diverged"
            )

    @torch.no_grad()
    def measure(self, batches: Sequence[PretrainingBatch]) -> Tally:
        """Return the tally of held-out batches, shared among the ranks, without dropout."""
        tally = Tally(self.device)
        self.compute.eval()
        for batch in batches[self.ranks.rank :: self.ranks.world]:
            with self.precision.context():
                self._loss(self.moved(batch), 1.0, 1.0, tally)
        self.compute.train()
        self.ranks.sum(tally.sums)
        return tally

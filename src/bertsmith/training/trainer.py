"""One optimiser step after the other."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from bertsmith.errors import DivergedError
from bertsmith.model.bert import Bert
from bertsmith.randomness import key
from bertsmith.training.config import Optimisation
from bertsmith.training.losses import Tally, pretraining_loss
from bertsmith.training.optimiser import make_optimiser
from bertsmith.training.parallel import Ranks
from bertsmith.training.precision import apply_precision
from bertsmith.types import PretrainingBatch

# A model that guesses uniformly has a loss of ln V + ln 2; several times that is no learning any more.
_EXPLODED = 4.0


class Trainer:
    """Moves a model's weights: forward, backward, gradients over all batches and ranks, clip, AdamW."""

    def __init__(
        self,
        master: Bert,
        config: Optimisation,
        seed: int,
        ranks: Ranks,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool,
    ) -> None:
        self.master = master.to(device).train()
        self._precision = apply_precision(self.master, device, dtype)
        self.compute = self._precision.compute
        if compiled:
            compile_layers(self.compute)
        self.optimiser = make_optimiser(self.master, config)
        self.device = device
        self._config, self._seed, self._ranks = config, seed, ranks

    def step(
        self, number: int, batches: Sequence[PretrainingBatch], masked: float, pairs: float, rate: float
    ) -> tuple[Tally, float]:
        """Make optimiser step ``number`` on this rank's batches and return their tally and the gradient's norm.

        ``masked`` and ``pairs`` count the predictions of the step over all ranks.

        Raises:
            DivergedError: the loss is NaN or exploded; the weights are as before the step.
        """
        tally = Tally(self.device)
        for index, batch in enumerate(batches):
            # The place in the step that this batch has on one rank too, so that dropout does not depend on the ranks.
            torch.manual_seed(key(self._seed, "dropout", number, index * self._ranks.world + self._ranks.rank))
            with self._precision.context():
                output = self.compute(batch.inputs, positions=batch.masked_positions)
            pretraining_loss(output, batch, masked, pairs, tally).backward()  # type: ignore[no-untyped-call]
            self._precision.collect()
        self._ranks.sum_gradients(self.master.parameters())
        self._ranks.sum(tally.sums)
        norm = nn.utils.clip_grad_norm_(self.master.parameters(), self._config.max_gradient_norm).item()
        self._refuse_divergence(number, tally, norm)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._precision.publish()
        return tally, norm

    def _refuse_divergence(self, number: int, tally: Tally, norm: float) -> None:
        loss = tally.means()["mlm_loss"]
        limit = _EXPLODED * (math.log(self.master.config.vocabulary_size) + math.log(2))
        if not (math.isfinite(loss) and math.isfinite(norm)) or loss > limit:
            raise DivergedError(
                f"the loss at step {number} is {loss:.4g} and the gradient's norm {norm:.4g}: training diverged"
            )

    def publish(self) -> None:
        """Bring restored master weights to the computing model."""
        self._precision.publish()

    @torch.no_grad()
    def measure(self, batches: Sequence[PretrainingBatch]) -> Tally:
        """Return the tally of held-out batches, shared among the ranks, without dropout."""
        tally = Tally(self.device)
        self.compute.eval()
        for batch in batches[self._ranks.rank :: self._ranks.world]:
            batch = batch.to(self.device)
            with self._precision.context():
                output = self.compute(batch.inputs, positions=batch.masked_positions)
            pretraining_loss(output, batch, 1.0, 1.0, tally)
        self.compute.train()
        self._ranks.sum(tally.sums)
        return tally


def compile_layers(model: Bert) -> None:
    """Compile every layer and the masked-token head, but not the attention in them.

    Attention goes through a batch's groups of equal lengths one by one, so each number of groups would be compiled anew.
    """
    for layer in model.encoder.layers:
        attention = layer.get_submodule("attention")
        attention.forward = torch.compiler.disable(attention.forward)  # type: ignore[no-untyped-call]
        layer.compile(dynamic=True)
    if model.masked_token is not None:
        model.masked_token.compile(dynamic=True)

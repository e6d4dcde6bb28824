"""What every kind of training shares: a model in some precision, its gradients over batches and ranks, its optimiser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bertsmith.artifacts.directory import load_model
from bertsmith.model.bert import Bert
from bertsmith.randomness import key
from bertsmith.threads import set_up_threads
from bertsmith.training.optimiser import make_optimiser
from bertsmith.training.parallel import Ranks
from bertsmith.training.precision import apply_precision
from bertsmith.training.settings import Optimisation


class Stepper:
    """Moves a model's weights: forward and backward passes, then gradients over all ranks, clip, optimiser.

    ``master`` holds the weights in float32; ``compute`` is the model that runs, compiled for batches of any shape or of one.
    ``rate_share`` is that of :func:`~bertsmith.training.optimiser.make_optimiser`.
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
        *,
        has_one_shape: bool = False,
        rate_share: Callable[[str], float] = lambda _name: 1.0,
    ) -> None:
        set_up_threads()
        self.master = master.to(device).train()
        self.precision = apply_precision(self.master, device, dtype)
        self.compute = self.precision.compute
        if compiled:
            is_one_operator = device.type == "cuda" and dtype != torch.float32
            compile_layers(self.compute, attention_too=is_one_operator, dynamic=not has_one_shape)
        self.optimiser = make_optimiser(self.master, settings, rate_share)
        self.device, self.ranks = device, ranks
        self._seed, self._max_gradient_norm = seed, settings.max_gradient_norm

    def accumulate(self, step: int, place: int, loss: Callable[[], Tensor]) -> Tensor:
        """Add the gradients of a loss, the one at ``place`` of the step's on this rank, and return its value.

        ``loss`` runs the model; its dropout depends on the seed, the step and the place over all ranks alone.
        """
        torch.manual_seed(key(self._seed, "dropout", step, place * self.ranks.world + self.ranks.rank))
        with self.precision.context():
            value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        self.precision.collect()
        return value.detach()

    def gather(self) -> float:
        """Sum the gradients over all ranks, scale them down to the largest norm allowed, and return the norm they had."""
        self.ranks.sum_gradients(self.master.parameters())
        gradients = [parameter.grad for parameter in self.master.parameters() if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if not norm <= self._max_gradient_norm:
            nn.utils.clip_grads_with_norm_(self.master.parameters(), self._max_gradient_norm, norm)
        return norm.item()

    def update(self, rate: float) -> None:
        """Make the optimiser's step at a learning rate; each group of parameters takes its share of it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.precision.publish()

    def load(self, path: Path) -> None:
        """Take the weights of a model directory."""
        self.master.load_state_dict(load_model(path, self.master.heads).state_dict())
        self.precision.publish()


def compile_layers(model: Bert, *, attention_too: bool, **options: Any) -> None:
    """Compile every layer and the masked-token head; ``options`` are those of :func:`torch.compile`.

    Attention on a GPU in half precision is one operator, and compiled with the rest. Elsewhere it goes through a batch's groups
    of equal lengths one by one, so that each number of groups would be compiled anew; it is left as it is.
    """
    for layer in model.encoder.layers:
        if not attention_too:
            layer.attention.forward = torch.compiler.disable(layer.attention.forward)  # type: ignore[no-untyped-call, method-assign]
        layer.compile(**options)
    if model.masked_token is not None:
        model.masked_token.compile(**options)

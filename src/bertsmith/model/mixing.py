"""Of the layers of a model those that are wanted: apart, concatenated, summed, or in a learned mix.

Dimensions: T tokens, L layers that were chosen, D width.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bertsmith.arguments import check_text
from bertsmith.errors import UsageError

_LAST = re.compile(r"(concat|sum)-last-([1-9]\d{0,8})")
_NUMBERS = re.compile(r"-?\d{1,9}(,-?\d{1,9})*")


@dataclass(frozen=True, slots=True)
class Layers:
    """Which layers of a model, 0 being the embeddings, and whether they are kept apart, concatenated or summed."""

    numbers: tuple[int, ...]
    how: Literal["apart", "concatenated", "summed"] = "apart"

    @staticmethod
    def parse(text: str, n_layers: int) -> "Layers":
        """Read what a user says of layers.

        Args:
            text: ``all`` Transformer layers, apart; numbers such as ``0,6`` or ``-1,-2``, apart; ``concat-last-4`` or
                ``sum-last-4``, with any number of layers for 4; ``sum-all`` Transformer layers. ``all`` and ``sum-all`` leave
                out the embeddings, as the feature-based table of Devlin et al. (2019) does.
            n_layers: Transformer layers of the model.

        Raises:
            UsageError: that means no layers, or some that the model does not have.
        """
        check_text(text, "layers")
        if text in ("all", "sum-all"):
            return Layers(tuple(range(1, n_layers + 1)), "apart" if text == "all" else "summed")
        if found := _LAST.fullmatch(text):
            count = int(found[2])
            if count > n_layers:
                raise UsageError(f"--layers {text}: the model has {n_layers} layers; give at most that number")
            return Layers(tuple(range(n_layers - count + 1, n_layers + 1)), "summed" if found[1] == "sum" else "concatenated")
        if not _NUMBERS.fullmatch(text):
            raise UsageError(
                f"--layers {text!r:.60} means no layers; give all, numbers such as -1,-2 or 0,6, concat-last-4, sum-last-4 "
                "or sum-all"
            )
        given = [int(number) for number in text.split(",")]
        for number in given:
            if not -n_layers - 1 <= number <= n_layers:
                raise UsageError(
                    f"--layers {text}: the model has no layer {number}; it has 0 (the embeddings) to {n_layers}, "
                    f"which are also -{n_layers + 1} to -1"
                )
        numbers = tuple(number % (n_layers + 1) for number in given)
        if len(set(numbers)) < len(numbers):
            raise UsageError(f"--layers {text} names a layer twice; name each once")
        return Layers(numbers)

    def of(self, layers: Sequence[Float[Tensor, "T D"]]) -> Float[Tensor, "L T width"]:
        """Return the chosen ones of a model's layers, embeddings first, in float32; of a combination, L is 1."""
        chosen = [layers[number].float() for number in self.numbers]
        if self.how == "apart":
            return torch.stack(chosen)
        return (torch.cat(chosen, dim=1) if self.how == "concatenated" else torch.stack(chosen).sum(0))[None]

    def shape(self, width: int) -> tuple[int, int]:
        """Return L and D of what :meth:`of` makes of layers of this width."""
        if self.how == "apart":
            return len(self.numbers), width
        return 1, width * (len(self.numbers) if self.how == "concatenated" else 1)


class ScalarMix(nn.Module):
    """A weighted mean of layers, its weights learnt with the task (Peters et al. 2018, section 3.2).

    The weights are a softmax over one number a layer, all alike at first; ``gamma``, 1 at first, scales their sum.
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(n_layers))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, layers_LTD: Float[Tensor, "L T D"]) -> Float[Tensor, "T D"]:
        """Return the mix."""
        mixed_TD: Tensor = self.gamma * torch.einsum("l,ltd->td", self.scores.softmax(0), layers_LTD)
        return mixed_TD

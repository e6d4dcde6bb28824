"""Weights as whole numbers of 8 bits, and what evens out the inputs that are rounded with them.

Dimensions: T tokens; K columns of a dense layer's input, N of its output.
"""

import numpy as np
import torch
from torch import Tensor, nn

from bertsmith.model.encoder import TextEncoder
from bertsmith.types import PackedBatch

_LARGEST = 127
_N_SEQUENCES, _LENGTH = 16, 32
_STRENGTH = 0.7
"""Of 0, which leaves all unevenness to the inputs, to 1, which moves all of it to the weights."""


def whole_numbers(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights rounded to whole numbers from -127 to 127, and the scale of each column of the output, (N,)."""
    scale_N = weight_NK.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
    return (weight_NK / scale_N[:, None]).round().to(torch.int8), scale_N


@torch.no_grad()
def smoothing(encoder: TextEncoder) -> dict[nn.Linear, Tensor]:
    """Return what the inputs of the dense layers that read a norm's output are multiplied by, (K,), and their weights divided.

    A few columns of a norm's output are many times as large as the others, of which rounding by the row's largest would leave
    little (Xiao et al. 2023, SmoothQuant, equation 4). Which ones is a matter of the weights, not of the text: their sizes are
    found on random tokens.
    """
    largest: dict[nn.Linear, Tensor] = {}

    def note(linear: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(linear, nn.Linear)
        largest[linear] = inputs[0].abs().amax(dim=0)

    readers = [part for layer in encoder.layers for part in (layer.attention.query_key_value, layer.feed_forward_in)]
    hooks = [linear.register_forward_pre_hook(note) for linear in readers]
    encoder(_random_tokens(encoder))
    for hook in hooks:
        hook.remove()
    return {linear: _factors(linear.weight, sizes_K) for linear, sizes_K in largest.items()}


def _factors(weight_NK: Tensor, sizes_K: Tensor) -> Tensor:
    tiny = torch.finfo(torch.float32).eps  # of columns that are never used, or weigh nothing
    return weight_NK.abs().amax(dim=0).clamp_min(tiny) ** (1 - _STRENGTH) / sizes_K.clamp_min(tiny) ** _STRENGTH


def _random_tokens(encoder: TextEncoder) -> PackedBatch:
    config = encoder.config
    lengths = np.full(_N_SEQUENCES, min(_LENGTH, config.max_positions))
    token_ids = np.random.default_rng(0).integers(0, config.vocabulary_size, lengths.sum())
    return PackedBatch.from_arrays(token_ids, np.zeros_like(token_ids), lengths)

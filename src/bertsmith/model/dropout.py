"""Dropout with cheap random numbers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zero each element with probability ``rate`` while training and scale the rest up.

    On a CPU one 64-bit random number decides four elements, so the rate is rounded to a multiple of 2**-16;
    drawing one number an element, as ``torch.nn.Dropout`` does, would take longer than the matrix products around it.
    The draws come from PyTorch's default generator.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Return ``values``, of any shape, with dropout applied in training mode."""
        if not self.training or self.rate == 0.0:
            return values
        if values.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(values, self.rate)
        return values * keep_scale(values, self.rate)


def keep_scale(values: Tensor, rate: float) -> Tensor:
    """Return a tensor like ``values``: 0 with probability ``rate``, else the factor that keeps the mean."""
    dropped_levels = round(rate * _LEVELS)
    words = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.int16)[: values.numel()].view(values.shape) >= dropped_levels - _LEVELS // 2
    return kept.to(values.dtype).mul_(_LEVELS / (_LEVELS - dropped_levels))

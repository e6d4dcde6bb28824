"""Dropout with cheap random numbers."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

_LEVELS = 1 << 15
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Dropout(nn.Module):
    """Zero each element with probability ``rate`` while training and scale the rest up.

    On a CPU one 64-bit random number decides four elements, so the rate is rounded to a multiple of 2**-15;
    drawing one number an element, as ``torch.nn.Dropout`` does, would take longer than the matrix products around it.
    The draws depend on PyTorch's default generator.
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
        dropped: Tensor = _Dropped.apply(values, self.rate)  # type: ignore[no-untyped-call]
        return dropped


class _Dropped(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, rate: float) -> Tensor:
        kept = keep_mask(values.shape, rate)
        ctx.save_for_backward(kept)
        ctx.scale = keep_scale(rate)  # type: ignore[attr-defined]
        return masked(values, kept).mul_(keep_scale(rate))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        return masked(gradient, *ctx.saved_tensors).mul_(ctx.scale), None


def keep_mask(shape: torch.Size, rate: float) -> Tensor:
    """Return int16 for elements of this shape: 0, with probability ``rate``, for those to drop, -1 for those to keep."""
    n_elements = shape.numel()
    # Twice as fast as PyTorch's own generator.
    words = np.random.SFC64(int(torch.empty((), dtype=torch.int64).random_())).random_raw(-(-n_elements // 4))
    levels = torch.from_numpy(words).view(torch.int16)[:n_elements].view(shape)
    # 15 bits of chance, of which the lowest levels are dropped; the difference cannot overflow, and its sign decides.
    levels.bitwise_right_shift_(1)
    return levels.neg_().add_(_dropped_levels(rate) - _LEVELS // 2 - 1).bitwise_right_shift_(15)


def masked(values: Tensor, kept: Tensor) -> Tensor:
    """Return the values that a mask of :func:`keep_mask` keeps, 0 for the others."""
    integers = _INTEGERS[values.element_size()]
    return (values.view(integers) & kept.to(integers)).view(values.dtype)


def keep_scale(rate: float) -> float:
    """Return the factor of what is kept that leaves the mean as it was."""
    return _LEVELS / (_LEVELS - _dropped_levels(rate))


def _dropped_levels(rate: float) -> int:
    return round(rate * _LEVELS)

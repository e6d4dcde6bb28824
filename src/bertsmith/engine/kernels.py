"""Dense layers as PyTorch computes them fastest on a CPU once nothing is trained any more.

Each takes the place of one ``nn.Linear``, with the activation behind it where there is one. Weights are laid out once, in the
blocks that oneDNN multiplies, so that no call arranges them anew.

Dimensions: T rows, K columns of the input, N of the output.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.engine.rounding import whole_numbers

Activation = Literal["gelu", "gelu_tanh", "relu"]
Precision = Literal["float32", "bf16", "int8"]

# The name that oneDNN has for each activation, and its variant.
_FUSED = {None: ("none", ""), "gelu": ("gelu", "none"), "gelu_tanh": ("gelu", "tanh"), "relu": ("relu", "")}
# Rows that the layout of the weights is chosen for.
_USUAL_ROWS = 1024
# Half of an unsigned byte: products of unsigned by signed bytes are what processors have instructions for.
_ZERO_POINT = 128
# One less than would fit, since in bf16 quotients come out up to six thousandths too large.
_LARGEST_INPUT = 126


class PlainLinear(nn.Module):
    """A dense layer in float32 or bf16 where PyTorch comes without oneDNN."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, activation: Activation | None = None) -> None:
        super().__init__()
        self._weight, self._bias = linear.weight.detach().to(dtype), linear.bias.detach().to(dtype)
        self._activation = activation

    def forward(self, input_TK: Tensor) -> Tensor:
        """Return (T, N)."""
        return _activate(F.linear(input_TK, self._weight, self._bias), self._activation)


class PackedLinear(nn.Module):
    """A dense layer in float32 or bf16 whose activation is applied while the products are still in registers."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, activation: Activation | None = None) -> None:
        super().__init__()
        weight_NK = linear.weight.detach().to(dtype).contiguous()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight_NK, _USUAL_ROWS)
        self._bias = linear.bias.detach().to(dtype)
        self._fused = _FUSED[activation]

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: the weights without oneDNN's blocks."""
        return {**self.__dict__, "_weight": self._weight.to_dense(self._weight.dtype)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight, _USUAL_ROWS)

    def forward(self, input_TK: Tensor) -> Tensor:
        """Return (T, N)."""
        name, variant = self._fused
        output_TN: Tensor = torch.ops.mkldnn._linear_pointwise(input_TK, self._weight, self._bias, name, [], variant)
        return output_TN


class Int8Linear(nn.Module):
    """A dense layer whose weights and inputs are rounded to whole numbers of 8 bits.

    Weights have a scale for each column of the output, inputs one for each row, found when they come: so what a row gives
    does not depend on the rows beside it. Inputs are multiplied by ``factor_K`` first, where there is one, and weights divided.
    Outputs have the inputs' dtype, float32 or bf16.
    """

    def __init__(
        self, linear: nn.Linear, dtype: torch.dtype, activation: Activation | None = None, factor_K: Tensor | None = None
    ) -> None:
        super().__init__()
        weight_NK = linear.weight.detach()
        whole_NK, self._scale_N = whole_numbers(weight_NK if factor_K is None else weight_NK / factor_K)
        self._factor_K = None if factor_K is None else factor_K.to(dtype)
        self._weight = torch.ops.onednn.qlinear_prepack(whole_NK, [_USUAL_ROWS, whole_NK.shape[1]])
        self._zero_N = torch.zeros(len(whole_NK), dtype=torch.int64)
        self._bias = linear.bias.detach().to(dtype)
        self._dtype, self._activation = dtype, activation

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: the weights without oneDNN's blocks."""
        return {**self.__dict__, "_weight": self._weight.to_dense().t().contiguous()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._weight = torch.ops.onednn.qlinear_prepack(self._weight, [_USUAL_ROWS, self._weight.shape[1]])

    def forward(self, input_TK: Tensor) -> Tensor:
        """Return (T, N)."""
        if self._factor_K is not None:
            input_TK = input_TK * self._factor_K
        scale_T1 = _largest_magnitudes(input_TK).clamp_min_(torch.finfo(torch.float16).tiny).div_(_LARGEST_INPUT)
        whole_TK = (input_TK * scale_T1.reciprocal()).round_().to(torch.int8)
        unsigned_TK = whole_TK.bitwise_xor_(-_ZERO_POINT).view(torch.uint8)
        # Scales are 1 here for rows; each row's own is multiplied in behind.
        scaling = (1.0, _ZERO_POINT, self._weight, self._scale_N, self._zero_N, None, 1.0, 0, self._dtype)
        products_TN = torch.ops.onednn.qlinear_pointwise(unsigned_TK, *scaling, "none", [], "")
        return _activate(torch.addcmul(self._bias, products_TN, scale_T1, out=products_TN), self._activation)


def _largest_magnitudes(values_TK: Tensor) -> Tensor:
    """Return (T, 1), the largest absolute value of each row."""
    magnitudes_TK = values_TK.abs()
    if values_TK.dtype != torch.bfloat16:
        return magnitudes_TK.amax(dim=1, keepdim=True)
    # The bits of numbers without sign are in the order of the numbers, and whole numbers are compared ten times as fast.
    return magnitudes_TK.view(torch.int16).amax(dim=1, keepdim=True).view(torch.bfloat16)


def _activate(values: Tensor, activation: Activation | None) -> Tensor:
    if activation == "relu":
        return values.relu_()
    if activation is None:
        return values
    return F.gelu(values, approximate="tanh" if activation == "gelu_tanh" else "none")

"""Dense layers for inference against the plain product: exact in float32, close in bf16, and in int8 to its rounding."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bertsmith.engine.kernels import Activation, Int8Linear, PackedLinear, PlainLinear
from bertsmith.machine import has_int8

needs_int8 = pytest.mark.skipif(not has_int8(torch.device("cpu")), reason="the processor has no int8 instructions")
EXACT = (
    PlainLinear,
    pytest.param(
        PackedLinear, marks=pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch has no oneDNN here")
    ),
)
ACTIVATIONS = {
    None: lambda values: values,
    "gelu": F.gelu,
    "gelu_tanh": lambda values: F.gelu(values, approximate="tanh"),
    "relu": F.relu,
}


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(48, 80)


def _rows(n_rows: int) -> torch.Tensor:
    rows = torch.randn(n_rows, 48, generator=torch.Generator().manual_seed(n_rows))
    return rows * torch.logspace(-2, 2, n_rows)[:, None]  # of very different sizes


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_rows", [1, 5, 300])
@torch.no_grad()
def test_float32_is_the_plain_product(linear: nn.Linear, kind: type[nn.Module], activation: Activation | None, n_rows: int):
    rows = _rows(n_rows)
    found = kind(linear, torch.float32, activation)(rows)
    torch.testing.assert_close(found, ACTIVATIONS[activation](linear(rows)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_bf16_is_close(linear: nn.Linear, kind: type[nn.Module], activation: Activation | None):
    rows = _rows(64)
    found = kind(linear, torch.bfloat16, activation)(rows.bfloat16())
    assert found.dtype == torch.bfloat16
    expected = ACTIVATIONS[activation](linear(rows))
    assert (found - expected).norm(dim=1).div(expected.norm(dim=1)).max() < 2e-2


@needs_int8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_int8_rounds_each_row_by_its_own_size(linear: nn.Linear, dtype: torch.dtype, activation: Activation | None):
    rows = _rows(64)
    found = Int8Linear(linear, dtype, activation)(rows.to(dtype)).float()
    expected = ACTIVATIONS[activation](linear(rows))
    assert (found - expected).norm(dim=1).div(expected.norm(dim=1)).max() < 3e-2


@needs_int8
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_int8_of_a_row_does_not_depend_on_its_neighbours(linear: nn.Linear, dtype: torch.dtype):
    rows, layer = _rows(40).to(dtype), Int8Linear(linear, dtype)
    together = layer(rows)
    for number in (0, 17, 39):
        torch.testing.assert_close(layer(rows[number : number + 1])[0], together[number])


@needs_int8
@torch.no_grad()
def test_int8_of_nothing_but_zeros_is_the_bias(linear: nn.Linear):
    for dtype in (torch.float32, torch.bfloat16):
        found = Int8Linear(linear, dtype)(torch.zeros(3, 48, dtype=dtype))
        torch.testing.assert_close(found, linear.bias.to(dtype).expand(3, 80))


@needs_int8
@torch.no_grad()
def test_int8_never_overflows():
    # Rows whose largest value is rounded up on the way must not turn into the smallest one.
    layer = Int8Linear(nn.Linear(1, 1).requires_grad_(False), torch.bfloat16)
    sizes = torch.linspace(0.5, 4.0, 3000).bfloat16()[:, None]
    ratio = (layer(sizes).float() - layer(-sizes).float()).squeeze() / sizes.float().squeeze()
    assert ratio.min() / ratio.max() > 0.95

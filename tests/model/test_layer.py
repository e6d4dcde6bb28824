"""What a layer does not keep for its backward pass has the same bits when it is computed again."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bertsmith.model.layer import computed_again


def _leaves(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inner, weight = (torch.randn(size, generator=generator).to(dtype) for size in ((5, 8), (3, 8)))
    return inner.requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_have_the_same_bits(dtype: torch.dtype) -> None:
    inner, weight = _leaves(dtype)
    F.linear(F.gelu(inner), weight).square().sum().backward()
    again, weight_again = _leaves(dtype)
    computed = []

    def compute() -> Tensor:
        computed.append(F.gelu(again.detach()))
        return computed[-1]

    values = F.gelu(again)
    with computed_again(values, compute):
        outcome = F.linear(values, weight_again)
    assert not computed
    outcome.square().sum().backward()
    assert len(computed) == 1
    assert torch.equal(again.grad, inner.grad)
    assert torch.equal(weight_again.grad, weight.grad)


def test_nothing_is_computed_again_where_nothing_is_learnt() -> None:
    inner, weight = _leaves(torch.float32)
    with torch.no_grad():
        values = F.gelu(inner)
        with computed_again(values, lambda: pytest.fail("computed again")):
            assert torch.equal(F.linear(values, weight), F.linear(F.gelu(inner), weight))

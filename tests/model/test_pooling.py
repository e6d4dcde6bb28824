import pytest
import torch

from bertsmith.model.heads.pooling import Pooling, pool

REDUCTIONS = {"cls": lambda part: part[0], "mean": lambda part: part.mean(0), "max": lambda part: part.amax(0)}


@pytest.mark.parametrize("pooling", REDUCTIONS)
def test_pools_each_sequence_alone(pooling: Pooling) -> None:
    hidden_TD = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) - 3
    lengths = [2, 1, 6]
    expected = torch.stack([REDUCTIONS[pooling](part) for part in hidden_TD.split(lengths)])
    torch.testing.assert_close(pool(hidden_TD, torch.tensor([0, 2, 3, 9], dtype=torch.int32), pooling), expected)


@pytest.mark.parametrize("pooling", REDUCTIONS)
def test_pools_in_float32_and_passes_gradients(pooling: Pooling) -> None:
    hidden_TD = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    pooled_BD = pool(hidden_TD, torch.tensor([0, 3, 5], dtype=torch.int32), pooling)
    pooled_BD.sum().backward()
    assert pooled_BD.dtype == torch.float32
    assert hidden_TD.grad is not None and hidden_TD.grad.abs().sum() > 0

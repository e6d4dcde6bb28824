from typing import Any

import pytest
import torch

from bertsmith.model.heads.pooling import AttentionPooling, Pooling, pool
from bertsmith.model.model_config import ModelConfig

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


def test_attention_pooling_is_a_weighted_mean_of_each_sequence(random_batch: Any, tiny_config: ModelConfig) -> None:
    batch, generator = random_batch([3, 5], 31, 0), torch.Generator().manual_seed(1)
    hidden_TD = torch.randn(8, tiny_config.width, generator=generator)
    pooling = AttentionPooling(tiny_config)
    weights = [pooling.score(part)[:, 0].exp() for part in hidden_TD.split([3, 5])]
    expected = [
        (part * weight[:, None]).sum(0) / weight.sum() for part, weight in zip(hidden_TD.split([3, 5]), weights, strict=True)
    ]
    torch.testing.assert_close(pooling(hidden_TD, batch), torch.stack(expected))

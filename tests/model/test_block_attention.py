"""Block attention against the formula at the top of its file, and in parts as in one piece."""

import pytest
import torch

from bertsmith.model import block_attention
from bertsmith.model.block_attention import BlockAttention
from bertsmith.model.dropout import keep_mask, keep_scale

N_HEADS, HEAD_WIDTH = 3, 8


def _query_key_value(n_tokens: int) -> torch.Tensor:
    values = torch.randn(n_tokens, 3, N_HEADS, HEAD_WIDTH, generator=torch.Generator().manual_seed(0))
    return values.double().requires_grad_()


def test_blocks_in_parts_are_the_same(random_batch, monkeypatch):
    batch = random_batch([70, 66, 65, 64, 40, 33, 32, 31, 2], 10, 0)
    leaf = _query_key_value(batch.n_tokens)

    def results() -> tuple[torch.Tensor, torch.Tensor]:
        context = BlockAttention(batch).attend(leaf, 0.0).context
        return context, *torch.autograd.grad(context, leaf, torch.linspace(-1, 1, context.numel()).view(context.shape).double())

    whole = results()
    monkeypatch.setattr(block_attention, "_SCORES_AT_A_TIME", 70 * 96 * 2)
    for one, other in zip(results(), whole, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_forward_and_backward_pass_are_those_of_the_formula(random_batch, rate):
    length = 5
    leaf = _query_key_value(length)
    torch.manual_seed(2)
    context = BlockAttention(random_batch([length], 10, 0)).attend(leaf, rate).context
    weights = torch.linspace(-1, 1, context.numel(), dtype=torch.float64).view(context.shape)
    (gradient,) = torch.autograd.grad(context, leaf, weights)

    query, key, value = leaf.detach().permute(1, 2, 0, 3)
    kept = torch.ones(N_HEADS, length, length, dtype=torch.float64)
    if rate:
        torch.manual_seed(2)
        kept = (keep_mask(torch.Size((N_HEADS, length, 32)), rate)[..., :length] != 0) * keep_scale(rate)
        assert kept.any() and not kept.all()
    probabilities = (query @ key.transpose(1, 2) / HEAD_WIDTH**0.5).softmax(dim=-1)
    torch.testing.assert_close(context, ((probabilities * kept) @ value).transpose(0, 1))

    context_gradient = weights.transpose(0, 1)
    probability_gradient = (context_gradient @ value.transpose(1, 2)) * kept
    rows = (probabilities * probability_gradient).sum(-1, keepdim=True)
    score_gradient = probabilities * (probability_gradient - rows) / HEAD_WIDTH**0.5
    expected = (
        score_gradient @ key,
        score_gradient.transpose(1, 2) @ query,
        (probabilities * kept).transpose(1, 2) @ context_gradient,
    )
    torch.testing.assert_close(gradient, torch.stack(expected).permute(2, 0, 1, 3))

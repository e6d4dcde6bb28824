"""Every backend gives what plain attention gives, sequence by sequence, and no token sees another sequence."""

import dataclasses
import itertools
from types import SimpleNamespace

import pytest
import torch

from bertsmith.model.attention import EagerAttention, GroupedAttention, VarlenAttention, plan_attention
from bertsmith.model.attention_plan import AttentionPlan
from bertsmith.model.block_attention import BlockAttention
from bertsmith.types import PackedBatch

N_HEADS, HEAD_WIDTH = 3, 8
LENGTHS = {
    "uneven": [7, 1, 12, 3, 3, 5],
    "runs": [4, 4, 4, 9, 9, 2, 4],
    "one": [11],
    "length one": [1],
    "many of length one": [1, 1, 1],
    "several blocks": [70, 66, 65, 64, 40, 33, 32, 31, 2],
}
PACKED = (GroupedAttention, BlockAttention)


def _query_key_value(n_tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_tokens, 3, N_HEADS, HEAD_WIDTH, generator=torch.Generator().manual_seed(seed))


def _context_and_gradient(plan: AttentionPlan, query_key_value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = query_key_value.clone().requires_grad_()
    context = plan.attend(leaf, 0.0).context
    weights = torch.linspace(-1, 1, context.numel()).view(context.shape)
    (context * weights).sum().backward()
    assert leaf.grad is not None
    return context.detach(), leaf.grad


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("backend", PACKED)
def test_packed_equals_eager_forward_and_backward(random_batch, backend, lengths):
    batch = random_batch(lengths, 10, 0)
    query_key_value = _query_key_value(batch.n_tokens)
    expected_context, expected_gradient = _context_and_gradient(EagerAttention(batch), query_key_value)
    context, gradient = _context_and_gradient(backend(batch), query_key_value)
    torch.testing.assert_close(context, expected_context, rtol=0, atol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("backend", PACKED)
def test_packed_in_half_precision_is_as_near_as_its_digits_allow(random_batch, backend, lengths):
    batch = random_batch(lengths, 10, 0)
    query_key_value = _query_key_value(batch.n_tokens).bfloat16()
    expected_context, expected_gradient = _context_and_gradient(EagerAttention(batch), query_key_value.float())
    context, gradient = _context_and_gradient(backend(batch), query_key_value)
    assert context.dtype == torch.bfloat16
    torch.testing.assert_close(context.float(), expected_context, rtol=0, atol=3e-2)
    torch.testing.assert_close(gradient.float(), expected_gradient, rtol=2e-2, atol=3e-2)


def test_eager_equals_the_formula_written_out(random_batch):
    batch = random_batch([4, 6], 10, 0)
    query_key_value = _query_key_value(batch.n_tokens)
    attended = EagerAttention(batch).attend(query_key_value, 0.0)
    assert attended.probabilities is not None
    for sequence, (first, stop) in enumerate(((0, 4), (4, 10))):
        for head in range(N_HEADS):
            query, key, value = query_key_value[first:stop, :, head].unbind(1)
            probabilities = ((query @ key.T) / HEAD_WIDTH**0.5).softmax(dim=-1)
            torch.testing.assert_close(attended.probabilities[sequence][head], probabilities)
            torch.testing.assert_close(attended.context[first:stop, head], probabilities @ value)


@pytest.mark.parametrize("backend", [EagerAttention, *PACKED])
def test_a_sequence_does_not_see_the_others(random_batch, backend):
    batch = random_batch(LENGTHS["runs"], 10, 0)
    first, stop = batch.cu_seqlens[2:4].tolist()
    before = _query_key_value(batch.n_tokens)
    after = before.clone()
    after[first:stop] += 1.0
    context_before, context_after = (backend(batch).attend(values, 0.0).context for values in (before, after))
    changed = (context_before != context_after).flatten(1).any(dim=1)
    assert changed[first:stop].all()
    changed[first:stop] = False
    assert not changed.any()


@pytest.mark.parametrize("what", [torch.nan, torch.inf])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lengths", [LENGTHS["runs"], LENGTHS["several blocks"]])
@pytest.mark.parametrize("backend", [EagerAttention, *PACKED])
def test_what_is_no_number_stays_in_its_sequence(random_batch, backend, lengths, dtype, dropout, what):
    batch = random_batch(lengths, 10, 0)
    clean = _query_key_value(batch.n_tokens).to(dtype)
    weights = torch.linspace(-1, 1, clean[:, 0].numel(), dtype=dtype).view(clean[:, 0].shape)

    def results(values: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(5)
        leaf = values.clone().requires_grad_()
        context = backend(batch).attend(leaf, dropout).context
        return context, *torch.autograd.grad(context, leaf, weights)

    expected = results(clean, weights)
    for first, stop in itertools.pairwise(batch.cu_seqlens.tolist()):
        spoiled, spoiled_weights = clean.clone(), weights.clone()
        spoiled[first:stop] = spoiled_weights[first:stop] = what
        others = torch.ones(batch.n_tokens, dtype=torch.bool)
        others[first:stop] = False
        for found, own in zip(results(spoiled, spoiled_weights), expected, strict=True):
            assert torch.equal(found[others], own[others])
            assert not found[first:stop].isfinite().any()


@pytest.mark.parametrize("backend", PACKED)
def test_a_large_score_elsewhere_has_no_gradient_here(random_batch, backend):
    batch = random_batch([3, 3, 5], 10, 0)
    leaf = _query_key_value(batch.n_tokens).requires_grad_()
    backend(batch).attend(leaf, 0.0).context[3:6].square().sum().backward()
    assert leaf.grad is not None
    assert leaf.grad[3:6].any()
    assert not leaf.grad[:3].any()
    assert not leaf.grad[6:].any()


@pytest.mark.parametrize("backend", [EagerAttention, *PACKED])
def test_dropout_drops_probabilities_at_its_rate_and_keeps_the_mean(random_batch, backend):
    rate, length = 0.3, 200
    batch = random_batch([length], 10, 0)
    # Equal scores and the identity as values: the context is the probabilities after dropout, each 0 or 1/length/(1-rate).
    query_key_value = torch.zeros(length, 3, 1, length)
    query_key_value[:, 2, 0] = torch.eye(length)
    torch.manual_seed(1)
    context = backend(batch).attend(query_key_value, rate).context
    dropped = (context == 0).double().mean().item()
    assert dropped == pytest.approx(rate, abs=3 * (rate * (1 - rate) / length**2) ** 0.5)
    kept = context[context != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / length / (1 - rate)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("backend", PACKED)
def test_dropout_is_deterministic_under_a_seed(random_batch, backend):
    batch = random_batch(LENGTHS["runs"], 10, 0)
    query_key_value = _query_key_value(batch.n_tokens)

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return backend(batch).attend(query_key_value, 0.5).context

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_the_backend_follows_from_device_precision_and_wish(random_batch):
    batch: PackedBatch = random_batch([3, 2], 10, 0)
    for dtype, dropout, expected in (
        (torch.float32, 0.0, GroupedAttention),
        (torch.float32, 0.1, BlockAttention),
        (torch.bfloat16, 0.0, BlockAttention),
    ):
        assert type(plan_attention(batch, dtype, dropout, want_probabilities=False)) is expected
    assert isinstance(plan_attention(batch, torch.float32, 0.0, want_probabilities=True), EagerAttention)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_varlen_equals_eager_on_a_gpu(random_batch, lengths):
    batch = random_batch(lengths, 10, 0).to("cuda")
    query_key_value = torch.randn(batch.n_tokens, 3, N_HEADS, 64, device="cuda").bfloat16()
    assert isinstance(plan_attention(batch, torch.bfloat16, 0.0, want_probabilities=False), VarlenAttention)
    exact = dataclasses.asdict(EagerAttention(batch).attend(query_key_value.float(), 0.0))["context"]
    context = VarlenAttention(batch).attend(query_key_value, 0.0).context
    torch.testing.assert_close(context.float(), exact, rtol=0, atol=2e-2)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_on_a_gpu_all_attends_in_one_kernel_with_dropout_too(dropout):
    """Planned for a batch that says it lies on a GPU, and attended on tensors without values: only shapes are known."""
    n_tokens = 9
    on_gpu = SimpleNamespace(is_cuda=True, device=torch.device("cuda"))
    ends = torch.tensor([0, 4, n_tokens], dtype=torch.int32, device="meta")
    batch = PackedBatch(on_gpu, on_gpu, on_gpu, ends, 5)
    plan = plan_attention(batch, torch.bfloat16, dropout, False)
    assert isinstance(plan, VarlenAttention)
    leaf = torch.empty(n_tokens, 3, N_HEADS, HEAD_WIDTH, dtype=torch.bfloat16, device="meta", requires_grad=True)
    context = plan.attend(leaf, dropout).context
    assert (context.shape, context.dtype) == ((n_tokens, N_HEADS, HEAD_WIDTH), torch.bfloat16)
    context.sum().backward()
    assert leaf.grad is not None and leaf.grad.shape == leaf.shape
    batch = dataclasses.replace(batch, cu_seqlens=torch.tensor([0, 4, n_tokens], dtype=torch.int32))
    assert isinstance(plan_attention(batch, torch.float32, dropout, False), GroupedAttention)

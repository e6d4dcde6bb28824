"""The encoder with attention and token vectors handed in, and with layers of different widths."""

import pytest
import torch

from bertsmith.model.attention import EagerAttention, GroupedAttention
from bertsmith.model.attention_plan import Attended, AttentionPlan
from bertsmith.model.bert import Heads
from bertsmith.model.block_attention import BlockAttention

LENGTHS = [7, 1, 12, 3, 3, 5]


class _Causal:
    """Attention in which no token sees a later one; of sequences of one length."""

    def __init__(self, length: int) -> None:
        self._length = length

    def attend(self, query_key_value: torch.Tensor, dropout: float) -> Attended:
        query, key, value = query_key_value.unflatten(0, (-1, self._length)).permute(2, 0, 3, 1, 4)
        context = torch.nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return Attended(context.transpose(1, 2).flatten(0, 1))


class _Silent:
    """Attention that hears nothing."""

    def attend(self, query_key_value: torch.Tensor, dropout: float) -> Attended:  # noqa: ARG002
        return Attended(torch.zeros_like(query_key_value[:, 0]))


@torch.no_grad()
def test_a_plan_that_is_handed_in_is_the_one_that_attends(random_model, random_batch):
    encoder, batch, other = random_model(Heads()).encoder, random_batch([6, 6], 31, 0), random_batch([6, 6], 31, 0)
    other.token_ids[4] = (other.token_ids[4] + 1) % 31
    causal: list[AttentionPlan] = [_Causal(6)] * 3
    changed = (encoder(batch, causal).hidden != encoder(other, causal).hidden).any(dim=1)
    assert changed.tolist() == [False] * 4 + [True] * 2 + [False] * 6
    assert (encoder(batch).hidden != encoder(other).hidden).any(dim=1).tolist() == [True] * 6 + [False] * 6


@torch.no_grad()
def test_each_layer_attends_by_its_own_plan(random_model, random_batch):
    model, batch = random_model(Heads()), random_batch(LENGTHS, 31, 0)
    plain = EagerAttention(batch)
    found = model.encoder(batch, [plain, _Silent(), plain], want_layers=True)
    expected = model.encoder(batch, want_layers=True)
    torch.testing.assert_close(found.layers[1], expected.layers[1])
    model.encoder.layers[1].attention.output.weight.zero_()
    torch.testing.assert_close(found.hidden, model.encoder(batch).hidden)
    assert not torch.allclose(found.hidden, expected.hidden)
    with pytest.raises(ValueError, match="zip"):
        model.encoder(batch, [plain])


@torch.no_grad()
def test_attention_is_that_of_the_plans_handed_in(random_model, random_batch):
    encoder, batch = random_model(Heads()).encoder, random_batch(LENGTHS, 31, 0)
    found = encoder(batch, [EagerAttention(batch)] * 3, want_attention=True)
    expected = encoder(batch, want_attention=True)
    assert torch.equal(found.hidden, expected.hidden)
    for layer, own in zip(found.attention, expected.attention, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(layer, own, strict=True))


@torch.no_grad()
def test_token_vectors_take_the_place_of_the_tokens_own(random_model, random_batch):
    encoder, batch, other = random_model(Heads()).encoder, random_batch(LENGTHS, 31, 0), random_batch(LENGTHS, 31, 1)
    found = encoder(batch, token_vectors_TD=encoder.embeddings.token(other.token_ids)).hidden
    assert torch.equal(found, encoder(other).hidden) and not torch.equal(found, encoder(batch).hidden)


def test_the_gradient_of_token_vectors_is_that_of_the_table(random_model, random_batch):
    encoder, batch = random_model(Heads()).encoder, random_batch(LENGTHS, 31, 0)
    table = encoder.embeddings.token.weight
    vectors = table.detach()[batch.token_ids].requires_grad_()
    (own,) = torch.autograd.grad(encoder(batch).hidden[:, 0].sum(), table)
    (found,) = torch.autograd.grad(encoder(batch, token_vectors_TD=vectors).hidden[:, 0].sum(), vectors)
    torch.testing.assert_close(torch.zeros_like(table).index_add(0, batch.token_ids, found), own)


@pytest.mark.parametrize("backend", [GroupedAttention, BlockAttention])
def test_layers_may_differ_in_heads_and_widths(random_model, random_batch, backend):
    model, batch = random_model(Heads()), random_batch(LENGTHS, 31, 0)
    model.encoder.layers[1] = random_model(Heads(), n_heads=2, feed_forward_width=20).encoder.layers[1]
    expected = model.encoder(batch, want_attention=True)
    assert [len(layer[0]) for layer in expected.attention] == [4, 2, 4]
    torch.testing.assert_close(model.encoder(batch, [backend(batch)] * 3).hidden, expected.hidden)

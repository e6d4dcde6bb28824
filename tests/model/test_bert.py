"""The assembled model: sizes, initialisation, outputs, and that a sequence's company does not matter."""

import dataclasses
import math

import beartype.roar
import jaxtyping
import pytest
import torch
from torch import nn

from bertsmith.model.bert import MASKED_TOKEN, PRETRAINING, Bert, Heads, initialise, set_dropout, uninitialised, with_task
from bertsmith.model.heads.pooling import Pooler
from bertsmith.model.heads.sequence import SequenceScores
from bertsmith.model.heads.token import TokenScores
from bertsmith.model.model_config import PRESETS, ModelConfig, preset
from bertsmith.types import PackedBatch

CONFIG = ModelConfig(vocabulary_size=61, width=24, n_layers=3, n_heads=4, feed_forward_width=40, max_positions=32)
LENGTHS = [5, 1, 9, 9, 3]
# With the pre-training heads, as Turc et al. 2019 publish them (table 1); large, which the paper calls 340, from its shape.
PUBLISHED_MILLIONS = {"tiny": 4.4, "mini": 11.3, "small": 29.1, "medium": 41.7, "base": 110.1, "large": 336.2}


def _model(heads: Heads = PRETRAINING, config: ModelConfig = CONFIG) -> Bert:
    model = uninitialised(config, heads)
    initialise(model, 0)
    return model.eval()


def _sequence(batch: PackedBatch, index: int) -> PackedBatch:
    first, stop = batch.cu_seqlens[index : index + 2].tolist()
    return PackedBatch.from_arrays(
        batch.token_ids[first:stop].numpy(),
        batch.segment_ids[first:stop].numpy(),
        batch.cu_seqlens.diff()[index : index + 1].numpy(),
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_published_sizes(name):
    with torch.device("meta"):
        model = Bert(preset(name, 30522), PRETRAINING)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert round(n_parameters / 1e6, 1) == PUBLISHED_MILLIONS[name]


def test_presets_have_the_sizes_of_transformers():
    transformers = pytest.importorskip("transformers")
    for name, (n_layers, width, n_heads) in PRESETS.items():
        config = transformers.BertConfig(
            num_hidden_layers=n_layers, hidden_size=width, num_attention_heads=n_heads, intermediate_size=4 * width
        )
        with torch.device("meta"):
            theirs, ours = transformers.BertForPreTraining(config), Bert(preset(name, 30522), PRETRAINING)
        assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_initialisation_is_a_truncated_normal_with_zero_biases_and_unit_norms():
    model = _model(config=preset("tiny", 5000))
    deviation = model.config.initializer_range
    # A normal cut at two standard deviations keeps this share of its deviation.
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    share = math.sqrt(1 - 2 * 2 * density / math.erf(2 / math.sqrt(2)))
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding) and module.weight.numel() > 5000:
            assert module.weight.abs().max() <= 2 * deviation
            error = 4 * deviation / math.sqrt(module.weight.numel())
            assert module.weight.std().item() == pytest.approx(share * deviation, abs=error)
            assert module.weight.mean().item() == pytest.approx(0, abs=error)
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
        if isinstance(module, nn.Linear | nn.LayerNorm):
            assert not module.bias.any()
    assert not model.masked_token.bias.any()
    assert model.masked_token.decoder is model.encoder.embeddings.token.weight


def test_initialisation_follows_from_the_seed():
    first, second, third = (uninitialised(CONFIG, PRETRAINING) for _ in range(3))
    initialise(first, 1)
    initialise(second, 1)
    initialise(third, 2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.encoder.embeddings.token.weight, third.encoder.embeddings.token.weight)


def test_company_does_not_change_a_sequence(random_batch):
    model, batch = _model(), random_batch(LENGTHS, CONFIG.vocabulary_size, 0)
    together = model(batch)
    for index in range(len(LENGTHS)):
        alone = model(_sequence(batch, index))
        first, stop = batch.cu_seqlens[index : index + 2].tolist()
        torch.testing.assert_close(together.hidden[first:stop], alone.hidden, rtol=0, atol=1e-6)
        torch.testing.assert_close(together.token_logits[first:stop], alone.token_logits, rtol=0, atol=1e-6)
        torch.testing.assert_close(together.next_sentence_logits[index], alone.next_sentence_logits[0], rtol=0, atol=1e-6)


def test_changing_one_sequence_leaves_the_others(random_batch):
    model, batch = _model(), random_batch(LENGTHS, CONFIG.vocabulary_size, 0)
    first, stop = batch.cu_seqlens[2:4].tolist()
    token_ids = batch.token_ids.clone()
    token_ids[first:stop] = (token_ids[first:stop] + 1) % CONFIG.vocabulary_size
    before, after = model(batch).hidden, model(dataclasses.replace(batch, token_ids=token_ids)).hidden
    changed = (before - after).abs().amax(dim=1)
    assert (changed[first:stop] > 1e-3).all()
    assert changed[:first].max() <= 1e-6
    assert changed[stop:].max() <= 1e-6


def test_positions_and_segments_matter(random_batch):
    model, batch = _model(), random_batch([6], CONFIG.vocabulary_size, 0)
    hidden = model(batch).hidden
    for name in ("position_ids", "segment_ids"):
        other = dataclasses.replace(batch, **{name: 1 - getattr(batch, name).clamp(max=1)})
        assert not torch.allclose(model(other).hidden, hidden, atol=1e-3)


def test_layers_and_attention_come_where_wanted(random_batch):
    model, batch = _model(Heads(pooler=True)), random_batch(LENGTHS, CONFIG.vocabulary_size, 0)
    plain = model(batch)
    assert plain.layers is None
    assert plain.attention is None
    out = model(batch, want_layers=True, want_attention=True)
    torch.testing.assert_close(out.hidden, plain.hidden, rtol=0, atol=1e-5)
    assert [tuple(layer.shape) for layer in out.layers] == [(sum(LENGTHS), CONFIG.width)] * (CONFIG.n_layers + 1)
    assert torch.equal(out.layers[-1], out.hidden)
    assert torch.equal(out.layers[0], model.encoder.embeddings(batch))
    assert len(out.attention) == CONFIG.n_layers
    for layer in out.attention:
        assert [tuple(matrix.shape) for matrix in layer] == [(CONFIG.n_heads, length, length) for length in LENGTHS]
        for matrix in layer:
            torch.testing.assert_close(matrix.sum(dim=-1), torch.ones(matrix.shape[:2]))


def test_outputs_follow_the_heads(random_batch):
    batch = random_batch(LENGTHS, CONFIG.vocabulary_size, 0)
    n_tokens, n_sequences = sum(LENGTHS), len(LENGTHS)
    shapes = {
        Heads(): {},
        Heads(pooler=True): {"pooled": (n_sequences, CONFIG.width)},
        MASKED_TOKEN: {"token_logits": (n_tokens, CONFIG.vocabulary_size)},
        Heads(next_sentence=True): {"next_sentence_logits": (n_sequences, 2)},
        PRETRAINING: {"token_logits": (n_tokens, CONFIG.vocabulary_size), "next_sentence_logits": (n_sequences, 2)},
    }
    for heads, expected in shapes.items():
        out = _model(heads)(batch)
        found = {name: getattr(out, name) for name in ("pooled", "token_logits", "next_sentence_logits")}
        assert {name: tuple(tensor.shape) for name, tensor in found.items() if tensor is not None} == expected


def test_the_masked_token_head_runs_on_the_positions_asked_for(random_batch):
    model, batch = _model(), random_batch(LENGTHS, CONFIG.vocabulary_size, 0)
    positions = torch.tensor([3, 7, 20])
    torch.testing.assert_close(model(batch, positions=positions).token_logits, model(batch).token_logits[positions])


def test_dropout_acts_in_training_only_and_can_be_set(random_batch):
    model, batch = _model(), random_batch(LENGTHS, CONFIG.vocabulary_size, 0)
    evaluated = model(batch).hidden
    assert torch.equal(model(batch).hidden, evaluated)
    model.train()
    torch.manual_seed(0)
    assert not torch.allclose(model(batch).hidden, evaluated, atol=1e-3)
    set_dropout(model, 0.0)
    torch.testing.assert_close(model(batch).hidden, evaluated)


def test_annotated_shapes_are_checked(random_batch):
    with pytest.raises((beartype.roar.BeartypeCallHintViolation, jaxtyping.TypeCheckError)):
        Pooler(CONFIG)(torch.zeros(2, 3, CONFIG.width), random_batch([6], CONFIG.vocabulary_size, 0))


@pytest.mark.parametrize(
    "heads",
    [PRETRAINING, Heads(masked_token=True), Heads(task=SequenceScores(("a", "b"))), Heads(task=TokenScores(("a", "b", "c")))],
)
@torch.no_grad()
def test_logits_without_what_no_head_reads_are_those_of_the_whole_model(heads, random_batch):
    model, batch = _model(heads), random_batch(LENGTHS, CONFIG.vocabulary_size, 0)
    positions = torch.tensor([1, 4, 7, 9]) if heads.masked_token else None
    whole, lean = model(batch, positions=positions), model.logits(batch, positions=positions)
    for name in ("token_logits", "next_sentence_logits", "task_logits"):
        expected, found = getattr(whole, name), getattr(lean, name)
        assert (expected is None) == (found is None)
        if expected is not None:
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_model_without_a_task_takes_one(tiny_config: ModelConfig) -> None:
    model, described = uninitialised(tiny_config, Heads()), SequenceScores(("no", "yes"))
    head = described.build(tiny_config)
    sibling = with_task(model, described, head)
    assert sibling.task is head and sibling.heads == Heads(task=described) and sibling.encoder is model.encoder
    assert sibling.pooler is sibling.masked_token is sibling.next_sentence is None
    assert model.task is None and model.heads == Heads()

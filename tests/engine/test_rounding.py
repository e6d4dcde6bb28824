"""Rounding to 8 bits, of weights and of what evens out their inputs."""

import pytest
import torch

from bertsmith.engine import avx512, engine
from bertsmith.engine.engine import Engine
from bertsmith.engine.rounding import smoothing, whole_numbers
from bertsmith.machine import has_int8
from bertsmith.model.bert import Heads, uninitialised

CPU = torch.device("cpu")


def test_whole_numbers_are_the_weights_to_half_a_scale():
    weight_NK = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 5)[:, None]
    weight_NK[2] = 0
    whole_NK, scale_N = whole_numbers(weight_NK)
    assert whole_NK.dtype == torch.int8
    assert ((whole_NK * scale_N[:, None] - weight_NK).abs() <= scale_N[:, None] * 0.5001).all()


def test_smoothing_moves_what_is_uneven_from_inputs_to_weights(random_model):
    encoder = random_model(Heads()).encoder
    with torch.no_grad():
        encoder.layers[0].attention_norm.weight[3] = 30
    found = smoothing(encoder)
    readers = [part for layer in encoder.layers for part in (layer.attention.query_key_value, layer.feed_forward_in)]
    assert set(found) == set(readers)
    factor_K = found[encoder.layers[0].feed_forward_in]
    assert factor_K.isfinite().all() and (factor_K > 0).all()
    assert factor_K[3] < 0.2 * factor_K.median()
    assert not any(linear._forward_pre_hooks for linear in readers)
    assert all(torch.equal(found[linear], factor) for linear, factor in smoothing(encoder).items())


@pytest.mark.skipif(not has_int8(CPU), reason="the processor has no int8 instructions")
@pytest.mark.parametrize("widths", [{}, {"width": 64, "n_heads": 2, "feed_forward_width": 96}], ids=["any", "whole panels"])
@torch.no_grad()
def test_a_column_that_is_large_does_not_drown_the_others(tiny_config, random_batch, monkeypatch, widths):
    model = uninitialised(tiny_config.model_copy(update=widths), Heads()).eval()
    generator, batch = torch.Generator().manual_seed(7), random_batch([7, 9, 12], 31, 0)
    for parameter in model.parameters():
        parameter.normal_(std=0.3, generator=generator)
    for layer in model.encoder.layers:
        layer.attention_norm.weight[3] = 30
        layer.attention_norm.bias[3] = 0
        layer.feed_forward_in.weight[:, 3] /= 30
    expected = model(batch).hidden
    found = Engine(model, CPU, "int8")(batch).hidden.float()
    for module in (engine, avx512):
        monkeypatch.setattr(module, "smoothing", lambda _encoder: {})
    rough = Engine(model, CPU, "int8")(batch).hidden.float()
    assert (rough - expected).norm() > 1.5 * (found - expected).norm()

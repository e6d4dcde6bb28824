"""A model in each precision against the model itself."""

import logging

import pytest
import torch

from bertsmith.engine import engine as module
from bertsmith.engine.engine import Engine, choose_precision
from bertsmith.errors import UsageError
from bertsmith.machine import has_int8
from bertsmith.model.bert import PRETRAINING, Heads
from bertsmith.model.heads.sequence import SequenceScores

CPU = torch.device("cpu")
LENGTHS = [7, 1, 12, 16, 3, 9, 3, 5]
needs_int8 = pytest.mark.skipif(not has_int8(CPU), reason="the processor has no int8 instructions")
# The largest difference of hidden states that a precision may make, relative to their size.
PRECISIONS = [("float32", 1e-5), ("bf16", 2e-2), pytest.param("int8", 1e-1, marks=needs_int8)]


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
def test_every_output_is_the_models(random_model, random_batch, precision, tolerance):
    model, batch = random_model(PRETRAINING), random_batch(LENGTHS, 31, 0)
    with torch.no_grad():
        expected = model(batch)
    found = Engine(model, CPU, precision)(batch)
    for name in ("hidden", "token_logits", "next_sentence_logits"):
        assert _relative(getattr(found, name), getattr(expected, name)) < tolerance, name


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
def test_logits_are_the_tasks(random_model, random_batch, precision, tolerance):
    model, batch = random_model(Heads(task=SequenceScores(("a", "b", "c")))), random_batch(LENGTHS, 31, 0)
    with torch.no_grad():
        expected = model(batch).task_logits
    found = Engine(model, CPU, precision).logits(batch)
    assert found.dtype == torch.float32
    assert _relative(found, expected) < tolerance


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
def test_layers_may_be_narrower_than_the_model(random_model, random_batch, precision, tolerance):
    model, batch = random_model(Heads()), random_batch(LENGTHS, 31, 0)
    narrow = random_model(Heads(), n_heads=2, feed_forward_width=20)
    model.encoder.layers[1] = narrow.encoder.layers[1]
    with torch.no_grad():
        expected = model(batch).hidden
    assert _relative(Engine(model, CPU, precision)(batch).hidden, expected) < tolerance


def test_the_model_stays_as_it_is(random_model, random_batch):
    model, batch = random_model(PRETRAINING), random_batch(LENGTHS, 31, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Engine(model, CPU, "bf16")(batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model(batch).hidden.requires_grad


@pytest.mark.parametrize("precision", ["float32", "bf16", pytest.param("int8", marks=needs_int8)])
def test_attention_and_layers_are_to_be_had(random_model, random_batch, precision):
    model, batch = random_model(Heads()), random_batch(LENGTHS, 31, 0)
    found = Engine(model, CPU, precision).model(batch, want_layers=True, want_attention=True)
    assert len(found.layers) == model.config.n_layers + 1
    assert [len(sequence[0]) for sequence in found.attention[0]] == LENGTHS


@needs_int8
def test_int8_says_once_how_much_it_changes(random_model, random_batch, caplog):
    engine, batch = Engine(random_model(Heads()), CPU, "int8"), random_batch(LENGTHS, 31, 0)
    with caplog.at_level(logging.INFO, "bertsmith"):
        engine(batch), engine(batch)
    (message,) = caplog.messages
    assert "int8: hidden states have a cosine of " in message
    assert f"the first {sum(LENGTHS)} tokens" in message


def test_precision_by_machine(monkeypatch):
    monkeypatch.setattr(module, "has_bf16", lambda _device: True)
    assert choose_precision("auto", CPU) == "bf16"
    monkeypatch.setattr(module, "has_bf16", lambda _device: False)
    assert choose_precision("auto", CPU) == "float32"
    assert choose_precision("bf16", CPU) == "bf16"
    monkeypatch.setattr(module, "has_int8", lambda _device: False)
    with pytest.raises(UsageError, match="int8 needs a CPU with VNNI"):
        choose_precision("int8", CPU)


def test_bf16_without_instructions_for_it(random_model, random_batch, monkeypatch):
    monkeypatch.setattr(module, "has_bf16", lambda _device: False)
    model, batch = random_model(Heads()), random_batch(LENGTHS, 31, 0)
    with torch.no_grad():
        expected = model(batch).hidden
    assert _relative(Engine(model, CPU, "bf16")(batch).hidden, expected) < 2e-2

"""Batches of one shape: the same loss and gradients, nothing of the filler in them, and one compilation."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bertsmith.model.bert import Bert, set_dropout
from bertsmith.pretraining.fixed_shape import FixedShape
from bertsmith.pretraining.losses import Tally, n_pairs
from bertsmith.pretraining.trainer import Trainer
from bertsmith.training.parallel import Ranks
from bertsmith.training.settings import Optimisation
from bertsmith.types import PackedBatch, PretrainingBatch

CPU = torch.device("cpu")
BATCHES: dict[str, Sequence[int]] = {"uneven": [60, 41, 40, 9, 5], "short": [5] * 30, "nearly empty": [7], "one": [64]}


def batch_of(lengths: Sequence[int], *, pairs: bool = True, share: float = 0.15, vocabulary_size: int = 40) -> PretrainingBatch:
    random = np.random.default_rng(sum(lengths))
    token_ids = random.integers(1, vocabulary_size, sum(lengths))
    positions = np.sort(random.permutation(len(token_ids))[: max(1, round(share * len(token_ids)))])
    return PretrainingBatch(
        PackedBatch.from_arrays(token_ids, random.integers(0, 2, len(token_ids)), np.array(lengths)),
        torch.from_numpy(positions),
        torch.from_numpy(random.integers(1, vocabulary_size, len(positions))),
        torch.from_numpy(random.integers(0, 2, len(lengths))) if pairs else None,
    )


def trained(model: Bert, batch: PretrainingBatch, shape: FixedShape | None) -> tuple[Tally, dict[str, Tensor]]:
    """Return the tally of a step and the gradients that it would move the weights by."""
    trainer = Trainer(model, Optimisation(max_gradient_norm=1e9), 0, Ranks(), CPU, torch.float32, compiled=False, shape=shape)
    trainer.optimiser.step = trainer.optimiser.zero_grad = lambda **_: None  # type: ignore[method-assign, assignment]
    tally, _ = trainer.step(1, [batch], len(batch.masked_positions), n_pairs(batch), 0.0)
    return tally, {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES.keys())
def test_loss_counts_and_gradients_are_those_of_the_batch(
    toy_model: Callable[..., Bert], lengths: Sequence[int], pairs: bool
) -> None:
    found = []
    for shape in (None, FixedShape.of(160, 0.15)):
        model = toy_model()
        set_dropout(model, 0.0)
        found.append(trained(model, batch_of(lengths, pairs=pairs), shape))
    (tally, gradients), (filled_tally, filled_gradients) = found
    assert filled_tally.tokens == tally.tokens == sum(lengths)
    torch.testing.assert_close(filled_tally.sums, tally.sums, rtol=0, atol=1e-4)
    assert gradients.keys() == filled_gradients.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(filled_gradients[name], gradient, rtol=0, atol=1e-5, msg=name)


def test_what_stands_in_filler_does_not_matter(toy_model: Callable[..., Bert]) -> None:
    model, batch = toy_model().eval(), batch_of(BATCHES["uneven"])
    filled = FixedShape.of(160, 0.15).fill(batch)
    other_ids = filled.inputs.token_ids.clone()
    other_ids[batch.inputs.n_tokens :] = 17
    other = dataclasses.replace(filled.inputs, token_ids=other_ids)
    one, two = (model.logits(inputs, positions=filled.masked_positions) for inputs in (filled.inputs, other))
    assert one.token_logits is not None and two.token_logits is not None
    n_masked = len(batch.masked_positions)
    assert torch.equal(one.token_logits[:n_masked], two.token_logits[:n_masked])
    assert not torch.equal(one.token_logits[n_masked:], two.token_logits[n_masked:])


def test_batches_of_a_budget_have_one_shape() -> None:
    shape, random = FixedShape.of(8192, 0.15), np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        lengths: list[int] = []
        while sum(lengths) < 8064:
            lengths.append(int(random.integers(100, 129)))
        filled = shape.fill(batch_of(sorted(lengths, reverse=True)))
        seen.add((*(tensor.shape for tensor in tensors(filled)), filled.inputs.max_seqlen))
    assert seen == {((8256,), (8256,), (8256,), (97,), (1280,), 128)}


def tensors(batch: PretrainingBatch) -> tuple[Tensor, ...]:
    inputs = batch.inputs
    return inputs.token_ids, inputs.segment_ids, inputs.position_ids, inputs.cu_seqlens, batch.masked_positions


@pytest.mark.parametrize("seed", range(20))
def test_filler_is_in_sequences_of_its_own_none_of_them_empty_or_too_long(seed: int) -> None:
    random = np.random.default_rng(seed)
    budget = int(random.integers(8, 3000))
    longest = int(random.integers(1, budget + 1))
    lengths = [longest]
    while random.random() < 0.9 and sum(lengths) + longest <= budget:
        lengths.append(int(random.integers(1, longest + 1)))
    batch = batch_of(lengths, share=float(random.random()))
    filled = FixedShape.of(budget, 0.15).fill(batch)
    every = filled.inputs.cu_seqlens.diff()
    assert every[: len(lengths)].tolist() == lengths
    assert every.min() >= 1 and every.max() <= filled.inputs.max_seqlen and every.sum() == len(filled.inputs.token_ids)
    assert filled.inputs.cu_seqlens.dtype == torch.int32 and len(every) % 32 == 0
    assert torch.equal(filled.masked_positions[: len(batch.masked_positions)], batch.masked_positions)
    assert (filled.masked_positions[len(batch.masked_positions) :] >= batch.inputs.n_tokens).all()
    assert torch.equal(filled.masked_token_ids, batch.masked_token_ids)
    assert filled.next_sentence_labels is batch.next_sentence_labels


# In a process without the shape checks of the tests, with a GPU's attention, on tensors without values.
SCRIPT = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
from test_fixed_shape import batch_of
from bertsmith.model import encoder
from bertsmith.model.attention import VarlenAttention
from bertsmith.model.bert import PRETRAINING, Bert
from bertsmith.model.model_config import ModelConfig
from bertsmith.training.stepper import compile_layers
from bertsmith.pretraining.fixed_shape import FixedShape

encoder.plan_attention = lambda batch, *_: VarlenAttention(batch)
dropout, is_fixed = float(sys.argv[2]), sys.argv[3] == "fixed"
config = ModelConfig(
    vocabulary_size=40, width=32, n_layers=4, n_heads=2, feed_forward_width=64, attention_dropout=dropout
)
with torch.device("meta"):
    model = Bert(config, PRETRAINING).to(torch.bfloat16).train()
compile_layers(model, attention_too=True, dynamic=not is_fixed, backend="aot_eager")
shape = FixedShape.of(512, 0.15)
for number, lengths in enumerate(([100, 90, 80, 75, 60, 50, 40], [120, 118, 110, 90, 66], [20] * 20, [128] * 4)):
    torch._dynamo.config.error_on_recompile = number > 0
    batch = batch_of(lengths)
    batch = (shape.fill(batch) if is_fixed else batch).to("meta")
    output = model.logits(batch.inputs, positions=batch.masked_positions)
    (output.token_logits.square().mean() + output.next_sentence_logits.square().mean()).backward()
counters = torch._dynamo.utils.counters
print(counters["stats"]["unique_graphs"], sum(counters["graph_break"].values()))
"""


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("form", ["fixed", "free"])
def test_a_compiled_model_is_compiled_once_with_its_attention(dropout: float, form: str) -> None:
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(dropout), form]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A layer, the last layer, which is computed at few rows, and the head; nothing breaks a graph.
    assert done.stdout.split() == ["3", "0"]

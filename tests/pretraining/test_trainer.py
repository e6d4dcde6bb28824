"""Optimiser steps: what is summed, in what precision, and when it is refused."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bertsmith.errors import DivergedError
from bertsmith.model.bert import Bert, set_dropout
from bertsmith.pretraining.losses import n_pairs
from bertsmith.pretraining.trainer import Trainer
from bertsmith.training.parallel import Ranks
from bertsmith.training.settings import Optimisation
from bertsmith.types import PackedBatch, PretrainingBatch

CPU = torch.device("cpu")
Sequence_ = tuple[np.ndarray, list[int], int]


def sequences(counts: Sequence[tuple[int, int]], vocabulary_size: int) -> list[Sequence_]:
    """Make sequences of given lengths with given numbers of masks: token ids, masked places, next-sentence label."""
    random = np.random.default_rng(3)
    return [
        (random.integers(5, vocabulary_size, length), sorted(random.choice(length, masks, replace=False).tolist()), number % 2)
        for number, (length, masks) in enumerate(counts)
    ]


def batch_of(made: Sequence[Sequence_]) -> PretrainingBatch:
    lengths = np.array([len(token_ids) for token_ids, _, _ in made])
    token_ids = np.concatenate([token_ids for token_ids, _, _ in made])
    starts = np.cumsum(lengths) - lengths
    positions = np.array([start + place for start, (_, places, _) in zip(starts, made, strict=True) for place in places])
    return PretrainingBatch(
        PackedBatch.from_arrays(token_ids, np.zeros_like(token_ids), lengths),
        torch.from_numpy(positions.astype(np.int64)),
        torch.from_numpy(token_ids[positions.astype(np.int64)]),
        torch.tensor([label for _, _, label in made]),
    )


def counts_of(batches: Sequence[PretrainingBatch]) -> tuple[int, int]:
    return sum(len(batch.masked_positions) for batch in batches), sum(n_pairs(batch) for batch in batches)


def trainer_of(model: Bert, dtype: torch.dtype = torch.float32, **settings: float) -> Trainer:
    return Trainer(model, Optimisation(**settings), seed=0, ranks=Ranks(), device=CPU, dtype=dtype, compiled=False)


def gradients(trainer: Trainer, batches: Sequence[PretrainingBatch]) -> dict[str, Tensor]:
    """Return the gradients of one step without making it."""
    trainer.optimiser.step = trainer.optimiser.zero_grad = lambda **_: None
    trainer.step(1, batches, *counts_of(batches), rate=0.0)
    return {name: parameter.grad for name, parameter in trainer.master.named_parameters()}


def test_accumulation_weighs_every_prediction_the_same(toy_model: Callable[..., Bert]) -> None:
    model = toy_model()
    set_dropout(model, 0.0)
    made = sequences([(12, 5), (9, 1), (20, 1), (7, 1)], model.config.vocabulary_size)
    whole = gradients(trainer_of(model, max_gradient_norm=1e9), [batch_of(made)])
    whole = {name: gradient.clone() for name, gradient in whole.items()}
    model.zero_grad()
    parts = gradients(trainer_of(model, max_gradient_norm=1e9), [batch_of(made[:1]), batch_of(made[1:])])
    assert max(gradient.abs().max() for gradient in whole.values()) > 1e-2
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=0, atol=1e-6, msg=name)


def test_gradients_are_clipped_and_the_norm_told_is_that_before(toy_model: Callable[..., Bert]) -> None:
    model = toy_model()
    trainer = trainer_of(model, max_gradient_norm=0.01)
    trainer.optimiser.step = trainer.optimiser.zero_grad = lambda **_: None
    batch = batch_of(sequences([(12, 5)], model.config.vocabulary_size))
    _, norm = trainer.step(1, [batch], *counts_of([batch]), rate=0.0)
    clipped = math.sqrt(sum(float((parameter.grad**2).sum()) for parameter in model.parameters() if parameter.grad is not None))
    assert norm > 0.1
    assert clipped == pytest.approx(0.01, rel=1e-3)


def test_bf16_computes_with_rounded_copies_of_float32_masters(toy_model: Callable[..., Bert]) -> None:
    model = toy_model()
    trainer = trainer_of(model, torch.bfloat16)
    batches = [batch_of(sequences([(12, 5), (9, 1)], model.config.vocabulary_size))] * 2
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for number in (1, 2):
        trainer.step(number, batches, *counts_of(batches), rate=1e-3)
        dense = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        copies = dict(trainer.compute.named_parameters())
        for name, master in model.named_parameters():
            assert master.dtype == torch.float32
            if name.rpartition(".")[0] in dense:
                assert copies[name].dtype == torch.bfloat16
                assert torch.equal(copies[name], master.to(torch.bfloat16)), name
            else:
                assert copies[name] is master, name
    assert all(
        not torch.equal(before[name], parameter) for name, parameter in model.named_parameters() if "position" not in name
    )


def test_bf16_is_close_to_float32(toy_model: Callable[..., Bert]) -> None:
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        model = toy_model()
        set_dropout(model, 0.0)
        trainer = trainer_of(model, dtype)
        batch = batch_of(sequences([(12, 5), (9, 2)], model.config.vocabulary_size))
        losses.append([trainer.step(n, [batch], *counts_of([batch]), 3e-3)[0].means()["mlm_loss"] for n in range(1, 9)])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0][-1] < losses[0][0] - 0.3


def test_dropout_follows_from_seed_step_and_place(toy_model: Callable[..., Bert]) -> None:
    model = toy_model()
    batches = [batch_of(sequences([(12, 5), (9, 1)], model.config.vocabulary_size))]

    def loss(number: int, again: int) -> float:
        torch.manual_seed(again)  # whatever drew random numbers in between
        return trainer.step(number, batches, *counts_of(batches), rate=0.0)[0].means()["mlm_loss"]

    trainer = trainer_of(model, weight_decay=0.0)
    assert loss(1, again=1) == loss(1, again=2)
    assert loss(1, again=1) != loss(2, again=1)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e4])
def test_a_poisoned_weight_stops_the_run_and_moves_nothing(toy_model: Callable[..., Bert], value: float) -> None:
    model = toy_model()
    trainer = trainer_of(model)
    batch = batch_of(sequences([(12, 5)], model.config.vocabulary_size))
    with torch.no_grad():
        model.masked_token.bias[7] = value
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with pytest.raises(DivergedError, match="the loss at step 41 is"):
        trainer.step(41, [batch], *counts_of([batch]), rate=1e-3)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.nan_to_num(), before[name].nan_to_num()), name


def test_measuring_is_without_dropout_and_changes_nothing(toy_model: Callable[..., Bert]) -> None:
    model = toy_model()
    trainer = trainer_of(model)
    batches = [batch_of(sequences([(12, 5), (9, 1)], model.config.vocabulary_size)), batch_of(sequences([(30, 4)], 40))]
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    first, second = trainer.measure(batches), trainer.measure(batches)
    assert first.means() == second.means()
    assert first.tokens == 51
    assert model.training and all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from bertsmith.model.bert import Bert
from bertsmith.training.optimiser import make_optimiser, optimiser_tensors, restore_optimiser
from bertsmith.training.settings import Optimisation


def whole(_name: str) -> float:
    return 1.0


def test_matrices_decay_and_biases_and_norms_do_not(toy_model: Callable[..., Bert]) -> None:
    model = toy_model()
    optimiser = make_optimiser(model, Optimisation(weight_decay=0.25), whole)
    decay = {id(parameter): group["weight_decay"] for group in optimiser.param_groups for parameter in group["params"]}
    named = dict(model.named_parameters())
    assert len(decay) == len(named)
    for name, parameter in named.items():
        is_exempt = name.endswith("bias") or "norm" in name
        assert decay[id(parameter)] == (0.0 if is_exempt else 0.25), name


def test_one_step_is_adamw_by_hand() -> None:
    """Loshchilov and Hutter (2019), algorithm 2, with Adam's bias correction."""
    settings = Optimisation(weight_decay=0.01, adam_beta1=0.9, adam_beta2=0.99, adam_epsilon=1e-6)
    model = torch.nn.Linear(2, 1, bias=False)
    optimiser = make_optimiser(model, settings, whole)
    optimiser.param_groups[0]["lr"] = 0.1
    expected = model.weight.detach().double()
    mean = square = torch.zeros(1, 2, dtype=torch.float64)
    for step, gradient in enumerate([[0.5, -2.0], [1.0, 0.25], [-3.0, 1.0]], 1):
        model.weight.grad = torch.tensor([gradient])
        optimiser.step()
        mean = 0.9 * mean + 0.1 * torch.tensor([gradient], dtype=torch.float64)
        square = 0.99 * square + 0.01 * torch.tensor([gradient], dtype=torch.float64) ** 2
        update = (mean / (1 - 0.9**step)) / ((square / (1 - 0.99**step)).sqrt() + 1e-6)
        expected = expected * (1 - 0.1 * 0.01) - 0.1 * update
        torch.testing.assert_close(model.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_it_needs_no_compiler() -> None:
    script = """
import sys, torch
from bertsmith.training.optimiser import make_optimiser
from bertsmith.training.settings import Optimisation
layer = torch.nn.Linear(2, 2)
layer(torch.ones(1, 2)).sum().backward()
make_optimiser(layer, Optimisation(), lambda name: 1.0).step()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_its_bits_are_those_of_pytorchs(toy_model: Callable[..., Bert]) -> None:
    settings = Optimisation(weight_decay=0.1, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-5)
    ours, theirs = toy_model(), toy_model()
    optimiser = make_optimiser(ours, settings, whole)
    pairs = list(zip(ours.named_parameters(), theirs.parameters(), strict=True))
    names = {parameter: name for (name, parameter), _ in pairs}
    others = {name: other for (name, _), other in pairs}
    groups = [{**group, "params": [others[names[one]] for one in group["params"]]} for group in optimiser.param_groups]
    reference = torch.optim.AdamW(groups, fused=True)
    generator = torch.Generator().manual_seed(0)
    for step in range(4):
        for group in (*optimiser.param_groups, *reference.param_groups):
            group["lr"] = 1e-3 * (step + 1)
        for place, ((_, parameter), other) in enumerate(pairs):
            # One has no gradient at first, as the head of a task that has not had its turn.
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad, other.grad = (None, None) if place == step == 0 else (gradient, gradient.clone())
        optimiser.step()
        reference.step()
    for (name, parameter), other in pairs:
        assert torch.equal(parameter, other), name


def test_state_is_restored_and_the_next_step_is_the_same(toy_model: Callable[..., Bert]) -> None:
    first, second = toy_model(), toy_model()
    optimisers = [make_optimiser(model, Optimisation(), whole) for model in (first, second)]
    for group in (*optimisers[0].param_groups, *optimisers[1].param_groups):
        group["lr"] = 1e-3
    for parameter in first.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    optimisers[0].step()
    second.load_state_dict(first.state_dict())
    tensors = {name: tensor.clone() for name, tensor in optimiser_tensors(first, optimisers[0]).items()}
    restore_optimiser(second, optimisers[1], tensors)
    for model, optimiser in zip((first, second), optimisers, strict=True):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, -0.25)
        optimiser.step()
    for (name, ours), theirs in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_parameters_are_grouped_by_their_share_and_move_at_no_rate_of_their_own(toy_model: Callable[..., Bert]) -> None:
    model = toy_model()
    optimiser = make_optimiser(model, Optimisation(), lambda name: 0.5 if name.startswith("encoder.layers.0.") else 1.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in optimiser.param_groups:
        assert {names[id(one)].startswith("encoder.layers.0.") for one in group["params"]} == {group["share"] == 0.5}
        assert group["lr"] == 0.0
    assert {(group["share"], group["weight_decay"]) for group in optimiser.param_groups} == {
        (0.5, 0.01),
        (0.5, 0.0),
        (1.0, 0.01),
        (1.0, 0.0),
    }


@pytest.mark.parametrize("part", ["exp_avg", "exp_avg_sq", "step"])
def test_every_parameter_has_its_state(toy_model: Callable[..., Bert], part: str) -> None:
    model = toy_model()
    optimiser = make_optimiser(model, Optimisation(), whole)
    assert optimiser_tensors(model, optimiser) == {}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    names = {name for name in optimiser_tensors(model, optimiser) if name.endswith(f"/{part}")}
    assert names == {f"{name}/{part}" for name, _ in model.named_parameters()}

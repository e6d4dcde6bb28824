"""Gradients longer than the largest norm allowed are scaled down to it; shorter ones reach the optimiser as they are."""

from collections.abc import Callable

import pytest
import torch

from bertsmith.model.bert import Bert, Heads
from bertsmith.training.parallel import Ranks
from bertsmith.training.settings import Optimisation
from bertsmith.training.stepper import Stepper

CPU = torch.device("cpu")


def _gathered(model: Bert, gradients: list[torch.Tensor], limit: float) -> tuple[list[torch.Tensor], float]:
    """Return the gradients that the optimiser sees, and the norm that they had."""
    stepper = Stepper(model, Optimisation(max_gradient_norm=limit), 0, Ranks(), CPU, torch.float32, compiled=False)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient.clone()
    norm = stepper.gather()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None], norm


@pytest.mark.parametrize("times", [0.5, 1.0, 1.01, 2.0, 10.0])
def test_clipping_scales_gradients_above_the_limit_to_it(random_model: Callable[[Heads], Bert], times: float) -> None:
    model, generator = random_model(Heads()), torch.Generator().manual_seed(0)
    # So short that the constant by which PyTorch lengthens a norm before it divides by it would show at the limit itself.
    gradients = [1e-4 * torch.randn(parameter.shape, generator=generator) for parameter in model.parameters()]
    norm = torch.nn.utils.get_total_norm(gradients).item()
    limit = norm / times
    found, said = _gathered(model, gradients, limit)
    assert said == norm
    if times <= 1:
        assert all(torch.equal(one, own) for one, own in zip(found, gradients, strict=True))
    else:
        assert torch.nn.utils.get_total_norm(found).item() == pytest.approx(limit, rel=1e-3)
        share = found[0].flatten()[0] / gradients[0].flatten()[0]
        for one, own in zip(found, gradients, strict=True):
            torch.testing.assert_close(one, own * share, rtol=1e-5, atol=0)

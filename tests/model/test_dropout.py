import pytest
import torch

from bertsmith.model.dropout import Dropout, keep_scale

N = 400_003


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rate_and_mean(rate, dtype):
    torch.manual_seed(0)
    scale = keep_scale(torch.empty(N, dtype=dtype), rate)
    assert scale.dtype == dtype
    dropped = (scale == 0).double().mean().item()
    assert dropped == pytest.approx(rate, abs=3 * (rate * (1 - rate) / N) ** 0.5 + 2**-17)
    factors = scale[scale != 0].unique()
    assert len(factors) == 1
    assert factors.item() == pytest.approx(1 / (1 - rate), rel=5e-3 if dtype is torch.bfloat16 else 1e-3)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (keep_scale(torch.empty(N), 0.5) == 0).double()
    for distance in (1, 2, 3, 4):
        both = (dropped[distance:] * dropped[:-distance]).mean().item()
        assert both == pytest.approx(0.25, abs=3 * (0.1875 / N) ** 0.5 * 1.3)


def test_seed_determines_the_draw():
    values = torch.ones(50, 7)

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return Dropout(0.5)(values)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_gradient_passes_where_the_value_did():
    torch.manual_seed(0)
    values = torch.ones(64, 3, requires_grad=True)
    dropped = Dropout(0.25)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped)
    assert (dropped == 0).any()


def test_nothing_happens_in_evaluation_or_at_rate_zero():
    values = torch.randn(10, 4)
    assert Dropout(0.5).eval()(values) is values
    assert Dropout(0.0)(values) is values

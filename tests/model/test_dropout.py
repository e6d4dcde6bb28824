import numpy as np
import pytest
import torch

from bertsmith.model.dropout import Dropout, keep_mask, masked

N = 400_003


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rate_and_mean(rate, dtype):
    torch.manual_seed(0)
    dropped = Dropout(rate)(torch.ones(N, dtype=dtype))
    assert dropped.dtype == dtype
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(rate, abs=3 * (rate * (1 - rate) / N) ** 0.5 + 2**-16)
    factors = dropped[dropped != 0].unique()
    assert len(factors) == 1
    assert factors.item() == pytest.approx(1 / (1 - rate), rel=5e-3 if dtype is torch.bfloat16 else 1e-3)


def test_every_level_falls_on_its_side_of_the_rate(monkeypatch):
    levels = np.arange(2**16, dtype=np.uint16)
    words = levels.view(np.uint64)
    monkeypatch.setattr("bertsmith.model.dropout.np.random.SFC64", lambda _seed: Words(words))
    for n_dropped in (1, 2**14, 2**15 - 1):
        kept = keep_mask(torch.Size((2**16,)), n_dropped / 2**15)
        assert set(kept.unique().tolist()) == {-1, 0}
        assert (kept == 0).sum() == 2 * n_dropped


class Words:
    def __init__(self, words):
        self._words = words

    def random_raw(self, size):
        assert size == len(self._words)
        return self._words.copy()


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (keep_mask(torch.Size((N,)), 0.5) == 0).double()
    for distance in (1, 2, 3, 4):
        both = (dropped[distance:] * dropped[:-distance]).mean().item()
        assert both == pytest.approx(0.25, abs=3 * (0.1875 / N) ** 0.5 * 1.3)


def test_values_that_do_not_lie_in_a_row():
    torch.manual_seed(0)
    values = torch.randn(6, 8).t()
    kept = keep_mask(values.shape, 0.5)
    assert torch.equal(masked(values, kept), torch.where(kept == 0, 0.0, values))


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

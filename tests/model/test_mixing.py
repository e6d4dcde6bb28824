"""Layers chosen and combined, and the learned mix of them."""

import pytest
import torch

from bertsmith.errors import UsageError
from bertsmith.model.mixing import Layers, ScalarMix


@pytest.mark.parametrize(
    ("text", "numbers", "how"),
    [
        ("all", (1, 2, 3, 4, 5, 6), "apart"),
        ("-1,-2", (6, 5), "apart"),
        ("0,6", (0, 6), "apart"),
        ("-7", (0,), "apart"),
        ("concat-last-4", (3, 4, 5, 6), "concatenated"),
        ("sum-last-2", (5, 6), "summed"),
        ("sum-all", (1, 2, 3, 4, 5, 6), "summed"),
    ],
)
def test_layers(text, numbers, how):
    assert Layers.parse(text, 6) == Layers(numbers, how)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7", r"no layer 7; it has 0 \(the embeddings\) to 6, which are also -7 to -1"),
        ("-1,-8", "no layer -8"),
        ("concat-last-7", "the model has 6 layers"),
        ("sum-last-0", "means no layers"),
        ("last", "means no layers; give all"),
        ("", "means no layers"),
        ("1,", "means no layers"),
        ("9" * 5000, "means no layers"),
        ("sum-last-" + "9" * 5000, "means no layers"),
        ("-1,6", "names a layer twice"),
    ],
)
def test_layers_that_do_not_exist(text, message):
    with pytest.raises(UsageError, match=message):
        Layers.parse(text, 6)


def test_combinations_of_layers():
    layers = [torch.full((2, 3), float(number), dtype=torch.bfloat16) for number in range(4)]
    for text, expected in {
        "all": [[1] * 3, [2] * 3, [3] * 3],
        "0,-1": [[0] * 3, [3] * 3],
        "sum-all": [[6] * 3],
        "concat-last-2": [[2, 2, 2, 3, 3, 3]],
    }.items():
        chosen = Layers.parse(text, 3)
        found = chosen.of(layers)
        assert found.dtype == torch.float32
        assert found[:, 0].tolist() == expected
        assert chosen.shape(3) == (found.shape[0], found.shape[2])


def test_a_mix_begins_as_the_mean_and_learns_its_weights():
    layers_LTD = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    mix = ScalarMix(3)
    torch.testing.assert_close(mix(layers_LTD), layers_LTD.mean(0))
    with torch.no_grad():
        mix.scores.copy_(torch.tensor([1.0, -2.0, 0.5]))
        mix.gamma.fill_(3.0)
    weights = torch.tensor([1.0, -2.0, 0.5]).exp()
    expected = 3 * sum(weight * layer for weight, layer in zip(weights / weights.sum(), layers_LTD, strict=True))
    torch.testing.assert_close(mix(layers_LTD), expected)
    mix(layers_LTD).square().sum().backward()
    assert mix.scores.grad.abs().min() > 0 and mix.gamma.grad != 0

"""The inference engine on trained weights, in each precision, against the model itself."""

import pytest
import torch

from bertsmith.artifacts.directory import load_model
from bertsmith.engine.engine import Engine
from bertsmith.machine import has_int8
from bertsmith.text.tokenizer import Tokenizer

CPU = torch.device("cpu")
# The largest difference of hidden states that a precision may make, relative to their size.
PRECISIONS = [
    ("float32", 1e-5),
    ("bf16", 2e-2),
    pytest.param("int8", 0.15, marks=pytest.mark.skipif(not has_int8(CPU), reason="the processor has no int8 instructions")),
]
TEXTS = [
    "A man is playing a guitar.",
    "a",
    "naïve café, Zürich, 東京",
    "word " * 120,
    *("some " * n + "words" for n in range(9)),
]


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
def test_trained_weights(minilm, precision, tolerance):
    model, batch = load_model(minilm), Tokenizer.load(minilm).pack(TEXTS)
    with torch.no_grad():
        expected = model(batch).hidden
    found = Engine(model, CPU, precision)(batch).hidden.float()
    assert _relative(found, expected) < tolerance
    least = {"float32": 0.999999, "bf16": 0.9995, "int8": 0.98}[precision]
    assert torch.cosine_similarity(found, expected, dim=1).min() > least


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS)
def test_a_text_does_not_depend_on_what_shares_its_batch(minilm, precision, tolerance):
    tokenizer, engine = Tokenizer.load(minilm), Engine(load_model(minilm), CPU, precision)
    together = engine(tokenizer.pack(TEXTS)).hidden
    alone = torch.cat([engine(tokenizer.pack([text])).hidden for text in TEXTS])
    assert _relative(together, alone.float()) < tolerance

"""Vectors equal to those of sentence-transformers, from directories that it wrote and from its published models."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.inference.pipelines import vector_pipeline
from bertsmith.model.bert import Heads
from bertsmith.text.tokenizer import Tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries about each other
    library = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")

TEXTS = [
    "A man is playing a guitar.",
    "",
    "   ",
    "北京是中华人民共和国的首都。",
    "Ünïcödé — naïve café, ÅNGSTRÖM!",
    "[SEP] and [MASK] in a text",
    "one " * 400,
    "东" * 300,
    *(f"Sentence number {number} of a few, {'which goes on ' * (number % 9)}and ends." for number in range(30)),
]


def assert_equal_vectors(path: Path, texts: list[str]) -> None:
    expected = library.SentenceTransformer(str(path), device="cpu").encode(texts)
    np.testing.assert_allclose(vector_pipeline(path)(texts), expected, rtol=0, atol=1e-5)


def test_a_published_model(minilm: Path) -> None:
    assert_equal_vectors(minilm, TEXTS)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
@pytest.mark.parametrize("normalised", [False, True])
def test_what_the_library_writes(minilm: Path, tmp_path: Path, pooling: str, normalised: bool) -> None:
    tokenizer = Tokenizer.load(minilm)
    model = load_model(minilm, Heads())
    model.encoder.layers = torch.nn.ModuleList(list(model.encoder.layers)[:1])
    model.config = model.config.model_copy(update={"n_layers": 1})
    save_model(model, tokenizer, tmp_path / "plain")
    transformer = modules.Transformer(str(tmp_path / "plain"), max_seq_length=40)
    parts = [transformer, modules.Pooling(384, pooling), *([modules.Normalize()] if normalised else [])]
    library.SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "theirs"))
    assert_equal_vectors(tmp_path / "theirs", TEXTS)

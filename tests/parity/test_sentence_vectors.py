"""Vectors equal to those of sentence-transformers, from directories that it wrote and from its published models."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.artifacts.sentence_modules import read_sentence_modules
from bertsmith.inference.pipelines import VectorPipeline
from bertsmith.model.bert import Bert, Heads
from bertsmith.model.heads.pooling import SentenceVectors
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.saved import task_values
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
    np.testing.assert_allclose(VectorPipeline.load(path)(texts), expected, rtol=0, atol=1e-5)


def test_a_published_model(minilm: Path) -> None:
    assert_equal_vectors(minilm, TEXTS)


each_kind = pytest.mark.parametrize(
    "vectors", [SentenceVectors(pooling, normalised) for pooling in ("cls", "mean", "max") for normalised in (False, True)]
)


def first_layer(minilm: Path, heads: Heads) -> Bert:
    model = load_model(minilm, heads)
    model.encoder.layers = torch.nn.ModuleList(list(model.encoder.layers)[:1])
    model.config = model.config.model_copy(update={"n_layers": 1})
    return model


@each_kind
def test_what_the_library_writes(minilm: Path, tmp_path: Path, vectors: SentenceVectors) -> None:
    save_model(first_layer(minilm, Heads()), Tokenizer.load(minilm), tmp_path / "plain")
    transformer = modules.Transformer(str(tmp_path / "plain"), max_seq_length=40)
    parts = [transformer, modules.Pooling(384, vectors.pooling)]
    parts += [modules.Normalize()] if vectors.normalised else []
    library.SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "theirs"))
    assert read_sentence_modules(tmp_path / "theirs") == (vectors, 40)
    assert_equal_vectors(tmp_path / "theirs", TEXTS)


@each_kind
def test_the_library_opens_what_is_written_here(minilm: Path, tmp_path: Path, vectors: SentenceVectors) -> None:
    task = Embed(pooling=vectors.pooling, normalised=vectors.normalised, max_length=40)
    model = first_layer(minilm, Heads(task=task.head()))
    save_model(model, Tokenizer.load(minilm), tmp_path / "ours", task=task_values(task))
    theirs = library.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    assert theirs.max_seq_length == 40
    assert_equal_vectors(tmp_path / "ours", TEXTS)

"""Rankers in sentence-transformers' CrossEncoder: ours open there and theirs here, with equal scores."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

import bertsmith
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.model.bert import Heads
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.saved import task_values
from bertsmith.text.tokenizer import Tokenizer

sentence_transformers = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
WORDS = ["where", "when", "who", "is", "the", "of", "river", "king", "song", "bread", "moon", "1969", "ann's", "never-ending"]


def _query(seed: int, longest: int) -> tuple[str, list[str]]:
    draw = random.Random(seed)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, longest)))

    return text(), [text() for _ in range(20)]


@pytest.fixture(scope="module")
def ranker(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM with the head of a ranker whose scores differ, as bertsmith saves it."""
    path, task = tmp_path_factory.mktemp("ranker") / "model", Rank(max_length=128)
    model = load_model(minilm, Heads(task=task.head()))
    with torch.no_grad():
        model.task.classifier.weight.mul_(20)
    save_model(model, Tokenizer.load(minilm), path, task=task_values(task))
    return path


def _scores(path: Path, queries: list[tuple[str, list[str]]]) -> list[float]:
    """Return probabilities of the candidates, in the order in which they were given."""
    found = bertsmith.pipeline(path, task=Rank)(queries)
    return [one.probability for own in found for one in sorted(own.candidates, key=lambda one: one.number)]


def _theirs(path: Path, queries: list[tuple[str, list[str]]], **settings: object) -> np.ndarray:
    encoder = sentence_transformers.CrossEncoder(str(path), device="cpu", **settings)
    return encoder.predict([(query, text) for query, texts in queries for text in texts], show_progress_bar=False)


def test_ours_open_there(ranker: Path) -> None:
    queries = [_query(seed, 20) for seed in range(3)]
    expected = _theirs(ranker, queries)
    assert expected.std() > 0.01
    np.testing.assert_allclose(_scores(ranker, queries), expected, rtol=0, atol=1e-5)


def test_ours_rank_there_as_here(ranker: Path) -> None:
    query, texts = _query(7, 20)
    theirs = sentence_transformers.CrossEncoder(str(ranker), device="cpu").rank(query, texts)
    (found,) = bertsmith.pipeline(ranker)([(query, texts)])
    assert [one.number for one in found.candidates] == [int(one["corpus_id"]) for one in theirs]


def test_long_texts_are_cut_alike(ranker: Path) -> None:
    queries = [("who is the king", _query(3, 200)[1])]
    expected = _theirs(ranker, queries, max_length=128)
    np.testing.assert_allclose(_scores(ranker, queries), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", ["Sigmoid", "Identity"])
def test_theirs_open_here(ranker: Path, tmp_path: Path, activation: str) -> None:
    theirs = sentence_transformers.CrossEncoder(str(ranker), device="cpu", activation_fn=getattr(torch.nn, activation)())
    theirs.save_pretrained(str(tmp_path / "theirs"))
    queries = [_query(seed, 20) for seed in range(2)]
    # Whatever they apply to it, the score is what the model says.
    expected = _theirs(tmp_path / "theirs", queries, activation_fn=torch.nn.Sigmoid())
    np.testing.assert_allclose(_scores(tmp_path / "theirs", queries), expected, rtol=0, atol=1e-5)

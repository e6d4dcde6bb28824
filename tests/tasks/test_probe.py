"""A linear probe is logistic regression on the frozen vectors that the head's output layer reads."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from bertsmith.artifacts.directory import load_model
from bertsmith.errors import DivergedError
from bertsmith.model.bert import Bert, Heads
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.predictor import Forward, Predictor
from bertsmith.tasks.probe import _PENALTIES, fit_probe
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import PackedBatch

WORDS = ["cat", "dog", "bird", "king", "sees", "likes", "finds", "song", "moon", "letter"]


def examples(n: int) -> list[TextExample]:
    """Texts that are of the class of their first word."""
    draw = random.Random(0)
    texts = [draw.choices(WORDS, k=draw.randint(2, 8)) for _ in range(n)]
    return [TextExample(" ".join(words), None, words[0][0], "", "toy") for words in texts]


def logits_of(model: Bert) -> Forward:
    def forward(batch: PackedBatch) -> torch.Tensor:
        with torch.no_grad():
            logits = model.logits(batch).task_logits
        assert logits is not None
        return logits

    return forward


def probed(task: Task, toy_directory: Path, tokenizer: Tokenizer, rows: list[Any]) -> Bert:
    model = load_model(toy_directory / "model", Heads(task=task.head()))
    samples = [sample for of_one in task.samples(rows, tokenizer, labelled=True) for sample in of_one]
    assert model.task is not None
    fit_probe(task, model.task, samples, logits_of(model))
    return model


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_it_is_logistic_regression_on_standardised_vectors(
    toy_directory: Path, toy_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, pooling: Any
) -> None:
    monkeypatch.setattr("bertsmith.tasks.probe._PENALTIES", (10.0,))
    rows = examples(80)
    task = Classify(pooling=pooling, max_length=32).fitted(rows)
    model = probed(task, toy_directory, toy_tokenizer, rows)
    assert model.task is not None and model.task.output_layer is not None
    read: list[torch.Tensor] = []
    model.task.output_layer.register_forward_pre_hook(lambda _layer, given: read.append(given[0].double()))
    for row in rows:
        (sample,) = task.samples([row], toy_tokenizer, labelled=False)[0]
        logits_of(model)(
            PackedBatch.from_arrays(*(sample.windows[0].token_ids, sample.windows[0].segment_ids), np.array([sample.n_tokens]))
        )
    vectors = torch.cat(read)
    standardised = ((vectors - vectors.mean(0)) / vectors.std(0, correction=0)).numpy()
    labels = [task.labels.index(str(row.label)) for row in rows]
    expected = LogisticRegression(C=1 / 10, tol=1e-8, max_iter=10_000).fit(standardised, labels)
    predictor = Predictor(task, toy_tokenizer, logits_of(model), model.task)
    found = [list(one.probabilities.values()) for _, one in predictor.predict(rows)]
    np.testing.assert_allclose(found, expected.predict_proba(standardised), atol=2e-3)


def test_the_penalty_is_the_best_on_samples_held_out(toy_directory: Path, toy_tokenizer: Tokenizer) -> None:
    rows = examples(60)
    noise = [TextExample(row.text, None, str(place % 2), "", "toy") for place, row in enumerate(rows)]
    weights = []
    for of in (rows, noise):
        model = probed(Classify(pooling="mean", max_length=32).fitted(of), toy_directory, toy_tokenizer, of)
        assert model.task is not None and model.task.output_layer is not None
        weights.append(model.task.output_layer.weight.std().item())
    assert weights[1] < weights[0] / 3 and len(_PENALTIES) > 1


def test_tags_are_probed_word_by_word(toy_directory: Path, toy_tokenizer: Tokenizer, tmp_path: Path) -> None:
    lines = "".join(f"the O\n{word} B-{word[0].upper()}\nsees O\n\n" for word in ("cat", "dog", "king", "moon") * 6)
    (tmp_path / "train.conll").write_text(lines)
    rows = list(Tag().read(tmp_path / "train.conll", labelled=True))
    task = Tag(max_length=32).fitted(rows)
    model = probed(task, toy_directory, toy_tokenizer, rows)
    assert model.task is not None
    predictions = [one for _, one in Predictor(task, toy_tokenizer, logits_of(model), model.task).predict(rows)]
    assert task.score(rows, predictions)["f1"] == 1.0


def test_a_model_that_says_no_numbers(toy_directory: Path, toy_tokenizer: Tokenizer) -> None:
    rows = examples(12)
    task = Classify(max_length=32).fitted(rows)
    model = load_model(toy_directory / "model", Heads(task=task.head()))
    with torch.no_grad():
        model.encoder.embeddings.norm.bias[0] = torch.nan
    samples = [sample for of_one in task.samples(rows, toy_tokenizer, labelled=True) for sample in of_one]
    assert model.task is not None
    with pytest.raises(DivergedError, match="NaN or infinite"):
        fit_probe(task, model.task, samples, logits_of(model))

"""Predictions come in order, are the same however samples are batched, and need only a look-ahead of examples."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.tasks import predictor as module
from bertsmith.tasks.files.choices import ChoiceExample
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.predictor import Predictor, pack_samples
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import PackedBatch


class SequenceScorer(ScoringHead):
    """Stands for a head whose scores the tests make up."""

    scores = "sequences"


HEAD = SequenceScorer()


def sums(batch: PackedBatch, n_scores: int) -> Tensor:
    """Return scores of sequences that tell one from the other: cosines of the sum of its ids."""
    totals = torch.stack([part.sum() for part in torch.split(batch.token_ids, batch.cu_seqlens.diff().tolist())])
    return torch.cos(totals[:, None] * torch.arange(1, n_scores + 1))


def texts(n_texts: int) -> list[TextExample]:
    draw = np.random.default_rng(0)
    lengths = draw.integers(0, 40, n_texts)
    return [
        TextExample("".join(draw.choice(list("abcdef"), length)), None, None, str(number), "")
        for number, length in enumerate(lengths)
    ]


@pytest.mark.parametrize(("look_ahead", "budget"), [(1024, 4096), (3, 4096), (1024, 1), (7, 50)])
def test_order_and_batches_do_not_matter(
    letter_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, look_ahead: int, budget: int
) -> None:
    task, examples = Classify(labels=("a", "b", "c"), max_length=16, stride=8), texts(20)
    expected = []
    for example in examples:
        windows = [sample.windows[0] for sample in task.samples([example], letter_tokenizer, labelled=False)[0]]
        logits_WC = np.cos(np.array([[window.token_ids.sum() * factor for factor in (1, 2, 3)] for window in windows]))
        expected.append(logits_WC.mean(axis=0))
    monkeypatch.setattr(Task, "look_ahead", look_ahead)
    monkeypatch.setattr(module, "TOKEN_BUDGET", budget)
    found = list(Predictor(task, letter_tokenizer, lambda batch: sums(batch, 3), HEAD).predict(examples))
    assert [example for example, _ in found] == examples
    logits = np.log([list(prediction.probabilities.values()) for _, prediction in found])
    expected_logits = np.array(expected) - np.logaddexp.reduce(expected, axis=1)[:, None]
    np.testing.assert_allclose(logits, expected_logits, atol=1e-5)


def test_choices_find_their_questions(letter_tokenizer: Tokenizer) -> None:
    questions = [ChoiceExample("a", ("bc", "d" * number, "e"), None, str(number), "") for number in range(1, 9)]
    for example, found in Predictor(Choose(), letter_tokenizer, lambda batch: sums(batch, 1), HEAD).predict(questions):
        windows = Choose().samples([example], letter_tokenizer, labelled=False)[0][0].windows
        scores = np.exp(np.cos([window.token_ids.sum() for window in windows]))
        assert found.probabilities == pytest.approx(scores / scores.sum(), rel=1e-5)


def test_examples_are_read_as_predictions_are_asked_for(letter_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Task, "look_ahead", 4)
    task = Classify(labels=("a", "b"))
    asked = 0

    def endless() -> Iterator[TextExample]:
        nonlocal asked
        while True:
            asked += 1
            yield TextExample("a" * (asked % 5), None, None, str(asked), "")

    found = Predictor(task, letter_tokenizer, lambda batch: sums(batch, 2), HEAD).predict(endless())
    ids = [next(found)[0].id for _ in range(6)]
    assert ids == ["1", "2", "3", "4", "5", "6"]
    assert asked == 12  # a window ahead of the one that is asked for


def test_no_examples(letter_tokenizer: Tokenizer) -> None:
    task = Classify(labels=("a", "b"))
    assert list(Predictor(task, letter_tokenizer, lambda batch: sums(batch, 2), HEAD).predict([])) == []


def test_packing(letter_tokenizer: Tokenizer) -> None:
    task = Classify(labels=("a", "b"), max_length=16)
    samples = [sample for own in task.samples(texts(30), letter_tokenizer, labelled=False) for sample in own]
    batches = pack_samples(samples, 40)
    assert sorted(place for batch in batches for place in batch) == list(range(len(samples)))
    for batch in batches:
        lengths = [samples[place].n_tokens for place in batch]
        assert lengths == sorted(lengths, reverse=True)
    assert max(sum(samples[place].n_tokens for place in batch) for batch in batches) <= 40
    assert [len(batch) for batch in pack_samples(samples[:2], 1)] == [1, 1]
    assert pack_samples([], 40) == []

"""Ranking: sequences, the three losses, rankings and their scores."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bertsmith.errors import DivergedError, InputError
from bertsmith.tasks.files.candidates import RankExample
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.task import SampleBatch
from bertsmith.text.tokenizer import Tokenizer

HEAD = nn.Identity()


def example(query: str, *relevances: float, id: str = "0") -> RankExample:  # noqa: A002
    candidates = tuple("abcdefgh"[: len(relevances)])
    return RankExample(query, candidates, relevances, id, tuple(f"d{one}" for one in candidates), "a.jsonl:1")


EXAMPLES = [example("xy", 0, 1, 0), example("z", 0, 0, id="1"), example("t", 2, 0, 1, 0, id="2")]


def logits(*scores: float) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    return [np.array([[score]], np.float32) for score in scores]


def test_every_candidate_is_a_sequence_with_the_query(letter_tokenizer: Tokenizer) -> None:
    found = Rank().samples(EXAMPLES, letter_tokenizer, labelled=False)
    assert [[len(sample.windows) for sample in own] for own in found] == [[1, 1, 1], [1, 1], [1, 1, 1, 1]]
    window = found[0][1].windows[0]
    assert [letter_tokenizer.tokens[one] for one in window.token_ids] == ["[CLS]", "x", "##y", "[SEP]", "b", "[SEP]"]
    assert window.segment_ids.tolist() == [0, 0, 0, 0, 1, 1]


def test_pointwise_samples_have_shares_of_the_highest_relevance(letter_tokenizer: Tokenizer) -> None:
    task = Rank().fitted(EXAMPLES)
    assert task.highest_relevance == 2
    assert Rank(highest_relevance=4.0).fitted(EXAMPLES).highest_relevance == 4
    found = task.samples([*EXAMPLES, example("q", 3)], letter_tokenizer, labelled=True)
    assert [[sample.target for sample in own] for own in found] == [[0, 0.5, 0], [0, 0], [1, 0, 0.5, 0], [1]]


@pytest.mark.parametrize("loss", ["pairwise", "listwise"])
def test_queries_are_samples_for_losses_that_compare(
    letter_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture, loss: str
) -> None:
    found = Rank(loss_kind=loss).samples(EXAMPLES, letter_tokenizer, labelled=True)
    assert [[(len(sample.windows), sample.target) for sample in own] for own in found] == [
        [(3, (0, 1, 0))],
        [],
        [(4, (2, 0, 1, 0))],
    ]
    assert caplog.messages == ["1 of 3 queries are not trained on, since all of their candidates are equally relevant"]


@pytest.mark.parametrize("loss", ["pointwise", "pairwise", "listwise"])
def test_negatives_are_drawn_once_and_for_all(letter_tokenizer: Tokenizer, loss: str) -> None:
    long = [example("q", 0, 1, 0, 0, 1, 0, 0, 0)] * 8
    task = Rank(loss_kind=loss, negatives=2)
    found, again = (task.samples(long, letter_tokenizer, labelled=True) for _ in range(2))
    kept = [[window.token_ids.tolist() for sample in own for window in sample.windows] for own in found]
    assert kept == [[window.token_ids.tolist() for sample in own for window in sample.windows] for own in again]
    targets = [[sample.target for sample in own] for own in found]
    flat = targets if loss == "pointwise" else [list(target) for own in targets for target in own]
    assert all(sorted(own) == [0, 0, 1, 1] for own in flat)
    assert len({str(own) for own in kept}) > 1  # other ones of other queries
    every = Rank(loss_kind=loss, negatives=6).samples(long, letter_tokenizer, labelled=True)
    assert all(sum(len(sample.windows) for sample in own) == 8 for own in every)
    # Where a model is applied, all are ranked.
    assert all(len(own) == 8 for own in task.samples(long, letter_tokenizer, labelled=False))


def batch_of(task: Rank, tokenizer: Tokenizer) -> tuple[SampleBatch, list[torch.Tensor]]:
    samples = [sample for own in task.samples(EXAMPLES, tokenizer, labelled=True) for sample in own]
    torch.manual_seed(0)
    return SampleBatch.collate(samples), [torch.randn(len(sample.windows)) for sample in samples]


def loss_of(task: Rank, batch: SampleBatch, scores: list[torch.Tensor]) -> float:
    return float(task.loss(torch.cat(scores)[:, None], batch, HEAD))


def test_the_pointwise_loss(letter_tokenizer: Tokenizer) -> None:
    task = Rank(highest_relevance=2)
    batch, scores = batch_of(task, letter_tokenizer)
    targets = [0, 0.5, 0, 0, 0, 1, 0, 0.5, 0]
    expected = sum(
        -target * F.logsigmoid(score) - (1 - target) * F.logsigmoid(-score)
        for target, score in zip(targets, torch.cat(scores), strict=True)
    )
    assert loss_of(task, batch, scores) == pytest.approx(float(expected), rel=1e-5)


def test_the_pairwise_loss(letter_tokenizer: Tokenizer) -> None:
    task = Rank(loss_kind="pairwise")
    batch, scores = batch_of(task, letter_tokenizer)
    one, two = scores
    pairs = [[one[1] - one[0], one[1] - one[2]], [two[0] - two[1], two[0] - two[2], two[0] - two[3]]]
    pairs[1] += [two[2] - two[1], two[2] - two[3]]
    expected = sum(-F.logsigmoid(torch.stack(differences)).mean() for differences in pairs)
    assert loss_of(task, batch, scores) == pytest.approx(float(expected), rel=1e-5)


def test_the_listwise_loss(letter_tokenizer: Tokenizer) -> None:
    task = Rank(loss_kind="listwise")
    batch, scores = batch_of(task, letter_tokenizer)
    one, two = (own.log_softmax(0) for own in scores)
    assert loss_of(task, batch, scores) == pytest.approx(float(-one[1] - two[0] * 2 / 3 - two[2] / 3), rel=1e-5)


def test_probabilities(letter_tokenizer: Tokenizer) -> None:
    batch, scores = batch_of(Rank(), letter_tokenizer)
    probabilities_B2 = Rank().log_probabilities(torch.cat(scores)[:, None], batch).exp()
    torch.testing.assert_close(probabilities_B2.sum(1), torch.ones(9))
    listwise = Rank(loss_kind="listwise")
    batch, scores = batch_of(listwise, letter_tokenizer)
    shares = listwise.log_probabilities(torch.cat(scores)[:, None], batch).exp().split([3, 4])
    torch.testing.assert_close(torch.stack([own.sum() for own in shares]), torch.ones(2))


def test_rankings_and_their_scores(caplog: pytest.LogCaptureFixture) -> None:
    task = Rank()
    found = task.decode(EXAMPLES, [], [logits(3, 1, 0), logits(0, 1), logits(2, 2, 5, -1)], HEAD)
    assert [[one.number for one in own.candidates] for own in found] == [[0, 1, 2], [1, 0], [2, 0, 1, 3]]
    assert found[2].candidates[0].text == "c" and found[2].candidates[0].score == 5
    assert found[2].candidates[0].probability == pytest.approx(1 / (1 + np.exp(-5)))
    scores = task.score(EXAMPLES, found)
    # Of two that are equally good the irrelevant one counts as the first, wherever it stands.
    assert scores["map"] == pytest.approx((1 / 2 + (1 + 2 / 3) / 2) / 2)
    assert (scores["mrr"], scores["p@1"]) == (0.75, 0.5)
    task.check(EXAMPLES)
    assert caplog.messages == ["1 of 3 queries have no relevant candidate: they are left out of the scores"]
    review = task.review(EXAMPLES, found)
    assert [(one.text, one.expected, one.predicted, one.badness) for one in review.mistakes] == [("xy", "b", "a", 2)]


def test_without_a_relevant_candidate() -> None:
    for refused in (Rank().fitted, Rank().check):
        with pytest.raises(InputError, match=r"none of the 1 .* has a relevant candidate"):
            refused(EXAMPLES[1:2])
    assert Rank().score(EXAMPLES[1:2], Rank().decode(EXAMPLES[1:2], [], [logits(0, 1)], HEAD)) == {}


def test_what_is_written() -> None:
    found = Rank().decode(EXAMPLES[:1], [], [logits(0.5, 1.25, -3)], HEAD)
    record = json.loads(json.dumps(Rank().record(EXAMPLES[0], found[0])))
    assert (record["id"], record["query"]) == ("0", "xy")
    assert [one["id"] for one in record["candidates"]] == ["db", "da", "dc"]
    assert record["candidates"][0].keys() == {"id", "text", "number", "score", "probability"}
    line = Rank().submission().line
    assert line(EXAMPLES[0], found[0]) == "0 Q0 db 1 1.25 bertsmith\n0 Q0 da 2 0.5 bertsmith\n0 Q0 dc 3 -3 bertsmith\n"


def test_a_model_that_says_nan_is_refused() -> None:
    with pytest.raises(DivergedError, match="NaN"):
        Rank().decode(EXAMPLES[:1], [], [logits(0, float("nan"), 1)], HEAD)


def test_what_pipelines_take() -> None:
    assert Rank().example(("q", ["a", "b"])) == RankExample("q", ("a", "b"), None, "", ("0", "1"), "")
    for wrong in ("q", ("q", []), ("q", ["a", 1]), ("q", "ab")):
        with pytest.raises(InputError, match="rank takes pairs of a query and one candidate or more"):
            Rank().example(wrong)

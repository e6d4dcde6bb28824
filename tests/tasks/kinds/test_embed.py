"""Vectors of texts: the losses, what is learnt from which examples, mined negatives, and the scores."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bertsmith.artifacts.directory import save_model
from bertsmith.artifacts.sentence_modules import read_sentence_modules
from bertsmith.batches.windows import Window
from bertsmith.errors import DivergedError, InputError, UsageError
from bertsmith.model.bert import Heads
from bertsmith.model.heads.pooling import Pooling, SentenceVectors
from bertsmith.tasks.files.pairs import PairExample
from bertsmith.tasks.kinds.embed import Embed, Embedded, cosent_loss, ranking_loss
from bertsmith.tasks.task import Sample, SampleBatch
from bertsmith.text.tokenizer import Tokenizer

HEAD = nn.Identity()
CPU = torch.device("cpu")


def pairs(*texts: Sequence[str], scores: Sequence[float] | None = None) -> list[PairExample]:
    return [
        PairExample(tuple(row), None if scores is None else scores[number], str(number), f"a.tsv:{number + 2}")
        for number, row in enumerate(texts)
    ]


def batch_of(rows: Sequence[Sequence[int]], targets: Sequence[float] | None = None) -> SampleBatch:
    """Samples whose texts are single tokens."""
    samples = []
    for number, row in enumerate(rows):
        windows = tuple(Window(np.array([2, token, 3]), np.zeros(3, np.int64), 0, 1, 1, (0, 1)) for token in row)
        samples.append(Sample(windows, None if targets is None else targets[number]))
    return SampleBatch.collate(samples)


def vectors_of(batch: SampleBatch) -> torch.Tensor:
    """A random vector for each token, the same wherever it stands."""
    table = torch.randn(50, 8, generator=torch.Generator().manual_seed(3))
    return table[batch.inputs.token_ids[1::3]]


def test_in_batch_negatives_are_a_cross_entropy_over_all_positives_and_negatives() -> None:
    batch = batch_of([(5, 6, 7), (8, 9, 10, 11), (12, 13)])
    unit = nn.functional.normalize(vectors_of(batch))
    anchors, candidates, right = [0, 3, 7], [1, 2, 4, 5, 6, 8], [0, 2, 5]
    expected = 0.0
    for anchor, place in zip(anchors, right, strict=True):
        scores = [20 * float(unit[anchor] @ unit[candidate]) for candidate in candidates]
        expected += math.log(sum(math.exp(score) for score in scores)) - scores[place]
    assert ranking_loss(vectors_of(batch), batch, 20.0).item() == pytest.approx(expected, rel=1e-5)


def test_equal_texts_are_not_each_others_negatives() -> None:
    plain = batch_of([(5, 6), (8, 9)])
    of_plain = ranking_loss(vectors_of(plain), plain, 20.0).item()
    # The same pair again: its positive is no negative, and its loss is that of the first.
    twice = batch_of([(5, 6), (8, 9), (5, 6)])
    first = batch_of([(5, 6), (8, 9)])
    losses = [ranking_loss(vectors_of(one), one, 20.0).item() for one in (twice, first)]
    assert losses[0] > losses[1] == of_plain
    # One anchor with two positives, alone: neither is told from the other, so there is nothing to learn.
    alone = batch_of([(5, 6), (5, 7)])
    assert ranking_loss(vectors_of(alone), alone, 20.0).item() == 0
    # A pair of equal texts beside another pair of the same text.
    own = batch_of([(5, 5), (5, 5), (8, 9)])
    assert math.isfinite(ranking_loss(vectors_of(own), own, 20.0).item())


def test_scored_pairs_are_a_squared_error_or_an_order() -> None:
    batch = batch_of([(5, 6), (7, 8), (9, 10)], [0.2, 0.9, 0.2])
    vectors = vectors_of(batch)
    cosines = torch.cosine_similarity(vectors[0::2], vectors[1::2]).tolist()
    expected = sum((cosine - target) ** 2 for cosine, target in zip(cosines, [0.2, 0.9, 0.2], strict=True))
    assert Embed(loss_kind="cosine").loss(vectors, batch, HEAD).item() == pytest.approx(expected, rel=1e-5)
    ordered = math.log(1 + sum(math.exp(20 * (cosines[low] - cosines[1])) for low in (0, 2)))
    assert Embed(loss_kind="cosent").loss(vectors, batch, HEAD).item() == pytest.approx(3 * ordered, rel=1e-5)
    assert cosent_loss(torch.ones(2), torch.ones(2)).item() == 0


def test_the_loss_follows_what_the_file_holds() -> None:
    scored = pairs(("a", "b"), ("c", "d"), scores=[1.0, 5.0])
    fitted = Embed().fitted(scored)
    assert (fitted.loss_kind, fitted.top_score, fitted.compares_samples) == ("cosine", 5.0, False)
    assert Embed(loss_kind="cosent", top_score=4.0).fitted(scored).top_score == 4.0
    plain = Embed().fitted(pairs(("a", "b"), ("c", "d", "e")))
    assert (plain.loss_kind, plain.compares_samples) == ("ranking", True)


@pytest.mark.parametrize(
    ("settings", "examples", "error", "message"),
    [
        ({"loss_kind": "ranking"}, pairs(("a", "b"), scores=[1.0]), UsageError, "--loss ranking: .* holds scored pairs"),
        ({"loss_kind": "cosent"}, pairs(("a", "b")), UsageError, "--loss cosent: .* holds pairs without scores"),
        ({"mine": 2}, pairs(("a", "b"), scores=[1.0]), UsageError, "--mine finds negatives for pairs and triplets"),
        ({}, pairs(("a", "b"), ("c", "d"), scores=[2.0, 2.0]), InputError, "go from 2 to 2: they should differ"),
    ],
)
def test_settings_that_do_not_fit_the_file(
    settings: dict[str, Any], examples: list[PairExample], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Embed(**settings).fitted(examples)


def test_samples_are_cut_at_the_length(tiny_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    task = Embed(max_length=8, top_score=5.0)
    ((sample,),) = task.samples(pairs(("a b", "c " * 20), scores=[4.0]), tiny_tokenizer, labelled=True)
    assert [len(window.token_ids) for window in sample.windows] == [4, 8]
    assert sample.target == 0.8
    assert "1 text(s) are longer than --max-length 8, and were cut" in caplog.text
    assert task.example("a").texts == ("a",) and task.example(("a", "b")).texts == ("a", "b")
    with pytest.raises(InputError, match="embed takes texts and pairs of texts"):
        task.example(3)


@pytest.fixture
def directory(random_model: Callable[..., Any], tiny_tokenizer: Tokenizer, tmp_path: Path) -> Callable[[Heads], Path]:
    def make(heads: Heads) -> Path:
        save_model(random_model(heads), tiny_tokenizer, tmp_path / "model")
        return tmp_path / "model"

    return make


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooling_and_score_come_from_the_starting_model_and_the_dev_file(
    directory: Callable[[Heads], Path], tiny_tokenizer: Tokenizer, pooling: Pooling
) -> None:
    path = directory(Heads(task=SentenceVectors(pooling)))
    assert read_sentence_modules(path)[0] == SentenceVectors(pooling)
    plain, scored = pairs(("a", "b")), pairs(("a", "b"), scores=[1.0])
    task, train = Embed().prepared(plain, plain, path, tiny_tokenizer, CPU)
    assert (task.head(), task.main_metric, train) == (SentenceVectors(pooling), "mrr", plain)
    task, _ = Embed(pooling="max", normalised=True).prepared(plain, scored, path, tiny_tokenizer, CPU)
    assert (task.head(), task.main_metric) == (SentenceVectors("max", normalised=True), "spearman")
    (path / "modules.json").unlink()
    assert Embed().prepared(plain, plain, path, tiny_tokenizer, CPU)[0].head() == SentenceVectors("mean", normalised=True)


def test_mined_negatives_are_the_nearest_texts_of_the_file(
    directory: Callable[[Heads], Path], tiny_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    path = directory(Heads(task=SentenceVectors()))
    examples = pairs(("a b c", "a b d"), ("x y", "a b e"), ("x z", "a b f"), ("p q", "r s t"))
    task = Embed(mine=2, mine_margin=0.0).fitted(examples)
    caplog.set_level("INFO", "bertsmith")
    fitted, mined = task.prepared(examples, examples, path, tiny_tokenizer, CPU)
    again = task.prepared(examples, examples, path, tiny_tokenizer, CPU)[1]
    assert mined == again
    for before, after in zip(examples, mined, strict=True):
        added = after.texts[2:]
        assert after.texts[:2] == before.texts and len(added) <= 2
        assert set(added) <= {one.texts[1] for one in examples} - {before.texts[1]}
    assert any(len(one.texts) > 2 for one in mined) and "hard negative(s) for each of 4 examples" in caplog.text
    assert fitted.samples(mined, tiny_tokenizer, labelled=True)


def found(*rows: list[list[float]]) -> list[Embedded]:
    return [Embedded(np.array(row, np.float32)) for row in rows]


def test_scores_of_scored_pairs() -> None:
    gold = pairs(("a", "b"), ("c", "d"), ("e", "f"), scores=[0.0, 3.0, 5.0])
    said = found([[1, 0], [0, 2]], [[1, 0], [1, 2]], [[1, 0], [3, 1]])
    cosines = [one.cosine() for one in said]
    assert cosines == pytest.approx([0, 1 / math.sqrt(5), 3 / math.sqrt(10)])
    scores = Embed(top_score=5.0).score(gold, said)
    assert scores == {"spearman": pytest.approx(1), "pearson": pytest.approx(stats.pearsonr([0, 3, 5], cosines).statistic)}
    review = Embed(top_score=5.0).review(gold, said)
    assert [one.text for one in review.mistakes] == ["c  ¦  d", "e  ¦  f"]


def test_scores_of_pairs_and_triplets() -> None:
    gold = pairs(("a", "b"), ("c", "d", "n"), ("e", "f"))
    said = found([[1, 0], [1, 0.1]], [[0, 1], [0.1, 1], [0, 1]], [[1, 1], [-1, 0]])
    scores = Embed().score(gold, said)
    assert scores == {
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 4) / 3),
        "accuracy": pytest.approx(1 / 3),
        "triplet_accuracy": 0.0,
    }
    assert Embed().review(gold, said).mistakes[0].predicted == "rank 4"


def test_records() -> None:
    (of_pair, of_text) = found([[1, 0], [1, 0]], [[1, 2]])
    assert Embed().record(pairs(("a", "b"))[0], of_pair) == {"id": "0", "cosine": 1.0}
    assert Embed().record(pairs(("a",))[0], of_text) == {"id": "0", "vector": [1.0, 2.0]}


def test_a_model_that_says_nan_is_refused() -> None:
    with pytest.raises(DivergedError, match="NaN"):
        Embed().score(pairs(("a", "b"), scores=[1.0]), found([[math.nan, 0], [1, 0]]))

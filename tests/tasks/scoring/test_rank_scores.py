"""The measures of rankings, equal to trec_eval's and scikit-learn's."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
import pytrec_eval
from sklearn.metrics import ndcg_score

from bertsmith.tasks.scoring.rank_scores import CUTS, MEASURES, ranking_scores

# trec_eval's names of ours.
THEIRS = {"map": "map", "mrr": "recip_rank", "p@1": "P_1", **{f"ndcg@{cut}": f"ndcg_cut_{cut}" for cut in CUTS}}
HIGHEST = pytest.mark.parametrize("highest", [1, 3])


def query(draw: random.Random, highest: int, n_scores: int) -> tuple[list[int], list[float]]:
    """Return relevances, of which one is above 0, and scores of one to thirty candidates; of few scores, many are equal."""
    n = draw.randint(1, 30)
    relevances = [draw.choice([0, 0, 0, draw.randint(1, highest)]) for _ in range(n)]
    relevances[draw.randrange(n)] = highest
    # Multiples of 1/16 are the same numbers in trec_eval's single precision.
    return relevances, [draw.randrange(n_scores) / 16 for _ in range(n)]


def ours(relevances: Sequence[int], scores: Sequence[float]) -> dict[str, float]:
    order = np.argsort(-np.array(scores), kind="stable")
    return dict(zip(MEASURES, ranking_scores([relevances[place] for place in order]), strict=True))


@HIGHEST
@pytest.mark.parametrize("n_scores", [4, 10_000])
def test_as_trec_eval(highest: int, n_scores: int) -> None:
    draw = random.Random(highest)
    queries = {str(number): query(draw, highest, n_scores) for number in range(200)}
    # Of equal scores trec_eval takes the document with the later name first; we take the one that was given first.
    names = [f"{99 - place:02}" for place in range(30)]
    evaluator = pytrec_eval.RelevanceEvaluator(
        {name: dict(zip(names, relevances, strict=False)) for name, (relevances, _) in queries.items()}, set(THEIRS.values())
    )
    found = evaluator.evaluate({name: dict(zip(names, scores, strict=False)) for name, (_, scores) in queries.items()})
    for name, (relevances, scores) in queries.items():
        expected = {measure: found[name][theirs] for measure, theirs in THEIRS.items()}
        assert ours(relevances, scores) == pytest.approx(expected, abs=1e-9)


@HIGHEST
def test_ndcg_as_scikit_learn(highest: int) -> None:
    draw = random.Random(highest)
    for _ in range(200):
        relevances, scores = query(draw, highest, 10_000)
        if len(scores) == len(set(scores)) > 1:
            expected = {f"ndcg@{cut}": ndcg_score([relevances], [scores], k=cut, ignore_ties=True) for cut in CUTS}
            assert {name: value for name, value in ours(relevances, scores).items() if name in expected} == pytest.approx(
                expected
            )


def test_by_hand() -> None:
    found = dict(zip(MEASURES, ranking_scores([0, 2, 0, 1]), strict=True))
    best = 2 + 1 / math.log2(3)
    assert found == pytest.approx(
        {
            "map": (1 / 2 + 2 / 4) / 2,
            "mrr": 1 / 2,
            "p@1": 0,
            "ndcg@1": 0,
            "ndcg@3": 2 / math.log2(3) / best,
            "ndcg@5": (2 / math.log2(3) + 1 / math.log2(5)) / best,
            "ndcg@10": (2 / math.log2(3) + 1 / math.log2(5)) / best,
        }
    )


def test_without_a_relevant_candidate_there_is_no_measure() -> None:
    with pytest.raises(ValueError, match="no candidate is relevant"):
        ranking_scores([0, 0])

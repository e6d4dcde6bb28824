"""How good a ranking is: the measures of TREC's evaluations, of one query at a time.

Dimensions: n candidates of a query, the one ranked first at place 0.
"""

import numpy as np
import numpy.typing as npt

CUTS = (1, 3, 5, 10)
MEASURES = ("map", "mrr", "p@1", *(f"ndcg@{cut}" for cut in CUTS))


def ranking_scores(relevances_n: npt.ArrayLike) -> list[float]:
    """Return the :data:`MEASURES` of one query from the relevances of its candidates, in the order of the ranking.

    Average precision, reciprocal rank and precision count every candidate with a relevance above 0 alike. NDCG takes the
    relevance itself as the gain and the logarithm of base 2 as the discount (Järvelin and Kekäläinen 2002), as trec_eval's
    ``ndcg_cut`` and scikit-learn's ``ndcg_score`` do.

    Raises:
        ValueError: no candidate has a relevance above 0, so that no measure is defined.
    """
    gains_n = np.asarray(relevances_n, np.float64)
    ranks = np.flatnonzero(gains_n > 0) + 1
    if not len(ranks):
        raise ValueError("no candidate is relevant")
    precisions = np.arange(1, len(ranks) + 1) / ranks
    discounts_n = 1 / np.log2(np.arange(2, len(gains_n) + 2))
    ideal_n = np.sort(gains_n)[::-1]
    ndcg = [gains_n[:cut] @ discounts_n[:cut] / (ideal_n[:cut] @ discounts_n[:cut]) for cut in CUTS]
    return [float(value) for value in (precisions.mean(), 1 / ranks[0], ranks[0] == 1, *ndcg)]

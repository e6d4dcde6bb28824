"""The paragraphs of an article among which an answer is looked for."""

from functools import lru_cache

import numpy as np

from bertsmith.tasks.files.questions import Candidates, Question
from bertsmith.text.bm25 import WordIndex


def nearest(question: Question, wanted: Candidates) -> tuple[int, ...]:
    """Return the places in its article of the question's own paragraph and of those that share most words with it."""
    if wanted == "all" or wanted >= len(question.article):
        return tuple(range(len(question.article)))
    own = question.article.index(question.context)
    order = np.argsort(-_index(question.article).scores(question.question), kind="stable").tolist()
    others = [place for place in order if question.article[place] != question.context]
    return tuple(sorted([own, *others[: wanted - 1]]))


@lru_cache(maxsize=8)
def _index(article: tuple[str, ...]) -> WordIndex:
    return WordIndex(article)

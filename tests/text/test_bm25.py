"""Texts found by their words, against BM25 written out."""

import math
from collections import Counter

import numpy as np
import pytest

from bertsmith.text.bm25 import WordIndex
from bertsmith.text.words import search_terms

TEXTS = ["The cat sat on the mat.", "A dog, a cat; a DOG!", "", "Nothing of the kind", "我住在北京。", "北方的京剧"]


def bm25(texts: list[str], question: str) -> list[float]:
    """Return the scores as Lucene has them, with k1 = 1.5 and b = 0.75."""
    documents = [Counter(search_terms(text)) for text in texts]
    mean_length = sum(document.total() for document in documents) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for term in search_terms(question):
            n_with = sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - n_with + 0.5) / (n_with + 0.5))
            saturation = 1.5 * (0.25 + 0.75 * document.total() / mean_length)
            score += idf * document[term] / (document[term] + saturation) if n_with else 0.0
        scores.append(score)
    return scores


@pytest.mark.parametrize("question", ["cat", "the dog's cat", "在北京", "zebra", "?!", "", "Cat cat mat zebra"])
def test_scores_are_those_of_the_formula(question: str) -> None:
    np.testing.assert_allclose(WordIndex(TEXTS).scores(question), bm25(TEXTS, question), rtol=1e-5)


def test_only_texts_that_share_a_word_are_found() -> None:
    index = WordIndex(TEXTS)
    assert index.search("dog or cat", 5) == [1, 0]
    assert index.search("dog or cat", 1) == [1]
    assert index.search("北京在哪里", 5) == [4, 5]
    assert index.search("zebra", 5) == index.search("", 5) == []


@pytest.mark.parametrize("texts", [[""], ["", "?"], ["", "cat"]])
def test_texts_without_words(texts: list[str]) -> None:
    assert WordIndex(texts).search("cat", 3) == [place for place, text in enumerate(texts) if text == "cat"]


def test_terms() -> None:
    assert search_terms("The U.S. wins 3,000.5!") == ["the", "u.s.", "wins", "3,000.5"]
    assert search_terms("在北京, ok") == ["在", "北", "在北", "京", "北京", "ok"]
    assert search_terms("北 京") == ["北", "京"]

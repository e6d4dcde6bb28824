"""Texts found by the words that they share with a question: BM25 (Robertson and Zaragoza 2009), as bm25s computes it.

Dimensions: n texts.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bertsmith.arguments import texts as checked_texts
from bertsmith.text.words import search_terms


class WordIndex:
    """The words of texts, in memory; :class:`InputError` names an item that is no text."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        terms = [search_terms(text) for text in checked_texts(texts, "texts")]
        self._n_texts = len(terms)
        self._index = bm25s.BM25() if any(terms) else None
        if self._index is not None:
            self._index.index(terms, show_progress=False)

    def scores(self, question: str) -> npt.NDArray[np.float32]:
        """Return (n,) how well each text matches the question; 0 for one that shares no word with it."""
        terms = search_terms(question)
        if self._index is None or not terms:
            return np.zeros(self._n_texts, np.float32)
        found: npt.NDArray[np.float32] = self._index.get_scores(terms)
        return found

    def search(self, question: str, n: int) -> list[int]:
        """Return the places of at most ``n`` texts that share a word with the question, the best match first."""
        scores = self.scores(question)
        return [place for place in np.argsort(-scores, kind="stable")[:n].tolist() if scores[place] > 0]

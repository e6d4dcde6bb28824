"""Which text of many belongs to another: what a batch, or a file, of pairs and triplets is compared by; an exact search.

Dimensions: n anchors or vectors, C candidates, Q queries, b vectors of a block, D width.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
_COSINES_AT_ONCE = 1 << 26
_ROWS_AT_ONCE = 1 << 16

K = TypeVar("K", bound=Hashable)


class Candidates:
    """The different texts that anchors are compared with: all positives and negatives.

    A text counts once however often it stands there. What an anchor must not be told from its positive is left out for it:
    its own text, and the positives of the same anchor elsewhere.

    Args:
        rows: Of each anchor its text, its positive's, and its negatives'; equal texts are equal keys.
    """

    def __init__(self, rows: Sequence[tuple[Hashable, ...]]) -> None:
        columns: dict[Hashable, int] = {}
        self.places: list[tuple[int, int]] = []
        """(C,) where each candidate stands first: which row, and which text of it."""
        positives: dict[Hashable, set[int]] = {}
        for row, (anchor, *others) in enumerate(rows):
            for place, key in enumerate(others, 1):
                if key not in columns:
                    columns[key] = len(columns)
                    self.places.append((row, place))
            positives.setdefault(anchor, set()).add(columns[others[0]])
        self.right: list[int] = [columns[row[1]] for row in rows]
        """(n,) the candidate that belongs to each anchor."""
        self.excluded: list[list[int]] = [
            sorted((positives[row[0]] | {columns[row[0]]} if row[0] in columns else positives[row[0]]) - {right})
            for row, right in zip(rows, self.right, strict=True)
        ]
        """(n) the candidates left out for each anchor; never its own positive."""

    def excluded_pairs(self, start: int = 0, stop: int | None = None) -> tuple[list[int], list[int]]:
        """Return the rows, counted from ``start``, and columns of what is left out for the anchors ``start`` to ``stop``."""
        pairs = [(row, column) for row, columns in enumerate(self.excluded[start:stop]) for column in columns]
        return [row for row, _ in pairs], [column for _, column in pairs]


def similarities(candidates: Candidates, vectors: Sequence[Vectors]) -> Iterator[tuple[int, Vectors]]:
    """Yield the cosines of some anchors at a time with all candidates, -inf where one is left out, and the first's number.

    Args:
        candidates: The texts.
        vectors: Of each row the vectors of its texts (k, D).
    """
    anchors_nD = unit(np.stack([row[0] for row in vectors]))
    candidates_CD = unit(np.stack([vectors[row][place] for row, place in candidates.places]))
    n_rows = max(1, _COSINES_AT_ONCE // len(candidates_CD))
    for start in range(0, len(anchors_nD), n_rows):
        stop = start + n_rows
        cosines = anchors_nD[start:stop] @ candidates_CD.T
        cosines[candidates.excluded_pairs(start, stop)] = -np.inf
        yield start, cosines


def ranks(candidates: Candidates, vectors: Sequence[Vectors]) -> list[int]:
    """Return the rank of each anchor's positive among all candidates, from 1; behind those that are equally near."""
    found: list[int] = []
    for start, cosines in similarities(candidates, vectors):
        right = np.array(candidates.right[start : start + len(cosines)])
        of_right = np.take_along_axis(cosines, right[:, None], axis=1)
        found += (cosines >= of_right).sum(axis=1).tolist()
    return found


def hard_negatives(candidates: Candidates, vectors: Sequence[Vectors], n: int, margin: float) -> list[list[tuple[int, int]]]:
    """Return for each anchor the places of the ``n`` candidates nearest to it, the nearest first, that are not its positive.

    Those whose cosine is not ``margin`` below the positive's are passed over: they may well be right too.
    """
    found = []
    for start, cosines in similarities(candidates, vectors):
        for row, right in enumerate(candidates.right[start : start + len(cosines)]):
            of_row = cosines[row]
            of_row[of_row > of_row[right] - margin] = -np.inf
            of_row[right] = -np.inf
            found.append([candidates.places[column] for column in _highest(of_row, n)])
    return found


def nearest(queries_QD: Vectors, vectors_nD: Vectors, n: int) -> list[list[tuple[int, float]]]:
    """Return for each query the rows of the ``n`` vectors with the highest inner products, and these, the highest first.

    The vectors may lie in a file that is mapped: they are read in blocks. Of equal ones the first come first; what is no number
    is never found.
    """
    found: list[list[tuple[int, float]]] = [[] for _ in queries_QD]
    for start in range(0, len(vectors_nD), _ROWS_AT_ONCE):
        products_Qb = queries_QD @ vectors_nD[start : start + _ROWS_AT_ONCE].T
        for of_query, products_b in zip(found, products_Qb, strict=True):
            products_b[np.isnan(products_b)] = -np.inf
            of_query += [(start + place, float(products_b[place])) for place in _highest(products_b, n)]
    return [sorted(of_query, key=lambda row: -row[1])[:n] for of_query in found]


def _highest(cosines_C: Vectors, n: int) -> list[int]:
    """Return the places of the ``n`` highest that are not -inf, the highest first, without sorting all."""
    least = np.partition(cosines_C, -n)[-n] if n < len(cosines_C) else -np.inf
    places = np.flatnonzero((cosines_C >= least) & (cosines_C > -np.inf))
    highest: list[int] = places[np.argsort(-cosines_C[places], kind="stable")][:n].tolist()
    return highest


def unit(vectors_nD: Vectors) -> Vectors:
    """Return the vectors (n, D) at length 1, one that is nothing as it is."""
    lengths_n1 = np.linalg.norm(vectors_nD, axis=1, keepdims=True).clip(1e-12)
    unit_nD: Vectors = (vectors_nD / lengths_n1).astype(np.float32, copy=False)
    return unit_nD

"""The senses of a word: its occurrences clustered by their contextual vectors.

Dimensions: n occurrences, D width, S senses, V words of the contexts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bertsmith.errors import InputError, UsageError
from bertsmith.text.occurrences import Occurrence
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.words import segmented

try:
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
except ModuleNotFoundError:
    raise UsageError("senses are found with scikit-learn, which is not installed: pip install 'bertsmith[senses]'") from None

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]

# Where the best clustering has a silhouette below this, there is one sense: measured in docs/senses.md.
ONE_SENSE = 0.15
_MOST_SENSES = 6
# A word that tells senses apart stands so many standard errors more often in one's contexts; and so many are shown.
_LEAST_TELLING, _MOST_WORDS = 1.64, 6
_DECIMALS = 5
_ALIKE = 10.0**-_DECIMALS


@dataclass(frozen=True, slots=True)
class Sense:
    """A cluster: its occurrences by number, the most typical first, and the words that its contexts have more often."""

    occurrences: list[int]
    words: list[str]


@dataclass(frozen=True, slots=True)
class Senses:
    """The senses, the most frequent first; what parts them, and the occurrences in the plane.

    silhouette   how well they part, from -1 to 1 (Rousseeuw 1987), by cosine; of one sense, that of the best two or more which
                 was too low; None where there are too few occurrences
    points_n2    the first two principal components
    explained    the share of the variance along either
    """

    senses: list[Sense]
    silhouette: float | None
    points_n2: Floats
    explained: tuple[float, float]

    def labels(self) -> list[int]:
        """Return the sense of each occurrence, from 0."""
        number = {place: label for label, sense in enumerate(self.senses) for place in sense.occurrences}
        return [number[place] for place in range(len(number))]


def find_senses(
    occurrences: Sequence[Occurrence], vectors_nD: Floats, tokenizer: Tokenizer, n_senses: int | None = None
) -> Senses:
    """Cluster the occurrences of a word.

    The mean vector, which is what the word is everywhere, is taken off the vectors of length 1; what remains is scaled to
    length 1 and clustered by k-means. The number of senses, unless given, is that of the highest silhouette.

    Raises:
        InputError: there are fewer different contexts than senses.
    """
    units_nD = _directions(vectors_nD)
    n_different = len(np.unique(units_nD, axis=0))
    if n_senses is not None and n_senses > n_different:
        raise InputError(
            f"{occurrences[0].word!r} is in {n_different} different contexts, too few for {n_senses} senses; ask for fewer, or "
            "give more text"
        )
    counts = range(2, min(_MOST_SENSES, n_different - 1) + 1) if n_senses is None else [n_senses]
    labels_n, silhouette = _best_clusters(units_nD, counts)
    if n_senses is None and silhouette is not None and silhouette < ONE_SENSE:
        labels_n = np.zeros_like(labels_n)
    order = np.argsort(-np.bincount(labels_n), kind="stable")
    members = [_most_typical_first(units_nD, np.flatnonzero(labels_n == label)) for label in order]
    words = _telling_words(occurrences, members, tokenizer)
    points_n2, explained = _plane(units_nD)
    return Senses([Sense(*one) for one in zip(members, words, strict=True)], silhouette, points_n2, explained)


def _directions(vectors_nD: Floats) -> Floats:
    """Return where the vectors point as seen from their mean.

    Equal contexts have equal directions: what differs by rounding, as the batches do in which they were read, is rounded off.
    """
    units_nD = _units(vectors_nD.astype(np.float64))
    return _units(units_nD - units_nD.mean(axis=0)).round(_DECIMALS)


def _units(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: Floats = vectors / np.where(lengths < _ALIKE, 1, lengths)
    return units


def _best_clusters(units_nD: Floats, counts: Iterable[int]) -> tuple[Integers, float | None]:
    """Return the cluster of each vector for the count of the highest silhouette, and that."""
    best: tuple[Integers, float | None] = np.zeros(len(units_nD), np.int64), None
    for count in counts:
        labels_n = KMeans(count, n_init=10, random_state=0).fit_predict(units_nD)
        if not 1 < count < len(units_nD):  # no silhouette
            return labels_n, None
        silhouette = float(silhouette_score(units_nD, labels_n, metric="cosine"))
        if best[1] is None or silhouette > best[1]:
            best = labels_n, silhouette
    return best


def _most_typical_first(units_nD: Floats, members: Integers) -> list[int]:
    """Order the vectors of a cluster by their cosine to its centre."""
    cosines = units_nD[members] @ _units(units_nD[members].mean(axis=0))
    order: list[int] = members[np.argsort(-cosines.round(_DECIMALS), kind="stable")].tolist()
    return order


def _telling_words(
    occurrences: Sequence[Occurrence], members: Sequence[Sequence[int]], tokenizer: Tokenizer
) -> list[list[str]]:
    """Return for each sense the words that more of its contexts have than of all others.

    They are ordered by the log odds ratio over its standard error, with half a context added to each count. A single sense has
    nothing to be told from.
    """
    if len(members) == 1:
        return [[]]
    own = {tokenizer.normalise(part) for part in [occurrences[0].word, *segmented(occurrences[0].word)]}
    counts = [Counter[str]() for _ in members]
    for count, places in zip(counts, members, strict=True):
        for place in places:
            count.update({tokenizer.normalise(word) for word in segmented(occurrences[place].text)} - own)
    vocabulary = sorted(set().union(*counts))
    with_SV = np.array([[count[word] for word in vocabulary] for count in counts], np.float64)
    without_SV = np.array([len(places) for places in members])[:, None] - with_SV
    cells = [cell + 0.5 for cell in (with_SV, without_SV, with_SV.sum(0) - with_SV, without_SV.sum(0) - without_SV)]
    log_odds_SV = np.log(cells[0]) - np.log(cells[1]) - np.log(cells[2]) + np.log(cells[3])
    scores_SV = log_odds_SV / np.sqrt(sum(1 / cell for cell in cells))
    return [
        [vocabulary[place] for place in np.argsort(-scores_V, kind="stable")[:_MOST_WORDS] if scores_V[place] > _LEAST_TELLING]
        for scores_V in scores_SV
    ]


def _plane(units_nD: Floats) -> tuple[Floats, tuple[float, float]]:
    """Return the first two principal components, either with the sign that makes its largest value positive."""
    left, sizes, _ = np.linalg.svd(units_nD - units_nD.mean(axis=0), full_matrices=False)
    points_n2, variances_2 = np.zeros((len(units_nD), 2)), np.zeros(2)
    found = left[:, :2] * sizes[:2]
    points_n2[:, : found.shape[1]] = found * np.where(found.max(axis=0) < -found.min(axis=0), -1, 1)
    variances_2[: found.shape[1]] = sizes[:2] ** 2
    first, second = (variances_2 / max(float((sizes**2).sum()), _ALIKE)).tolist()
    return points_n2, (first, second)

"""Which states are alike: cosines, a word in several contexts, projections, nearest neighbours.

Words in context and the baseline of any two words are those of Ethayarajh 2019 (section 3). Hidden layers are numbered from
0, the embeddings.

Dimensions: T tokens, S blocks of them, L layers, D width, n words or tokens of all texts.
"""

import re
from dataclasses import dataclass

import numpy as np

from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import Blocks, Floats, Grid, Listed, Number, Reduction
from bertsmith.inspection.subject import Reading, Subject
from bertsmith.inspection.watcher import NOBODY, Watcher
from bertsmith.text.words import is_chinese

MOST_PROJECTED = 512
_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class TextToken:
    """A token of the first (0) or the second (1) text."""

    token: str
    text: int


@dataclass(frozen=True, slots=True)
class Similarity:
    """Cosines of tokens' states at a layer, (S, S), and the mean over all pairs of two tokens."""

    layer: int
    shown: int
    of: int
    reduction: Reduction
    edges: list[int]
    cosines: Grid
    mean: Number
    tokens: list[TextToken]


def similarity(readings: list[Reading], layer: int) -> Similarity:
    """Return the cosines of the tokens of a text, a pair, or two texts read apart."""
    readings[0].check_layer(layer)
    if len(readings) == 1:
        texts = readings[0].encoding.segment_ids
    else:
        texts = [number for number, reading in enumerate(readings) for _ in range(reading.n_tokens)]
    tokens = [token for reading in readings for token in reading.encoding.tokens]
    units_TD = _units(np.concatenate([reading.layers[layer] for reading in readings]))
    cosines_TT = units_TD @ units_TD.T
    n_tokens = len(tokens)
    mean = (cosines_TT.sum() - n_tokens) / max(n_tokens * (n_tokens - 1), 1)
    blocks = Blocks.of_tokens(n_tokens)
    return Similarity(
        layer=layer,
        shown=blocks.shown,
        of=blocks.of,
        reduction="none" if blocks.shown == blocks.of else "mean",
        edges=blocks.edges,
        cosines=blocks.means(cosines_TT),
        mean=float(mean),
        tokens=[TextToken(token, text) for token, text in zip(tokens, texts, strict=True)],
    )


def _units(vectors: Floats) -> Floats:
    """Return vectors of length 1 along the last axis; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: Floats = vectors / np.where(lengths == 0, 1, lengths)
    return units


@dataclass(frozen=True, slots=True)
class WordOccurrence:
    """A word in a text: characters ``start`` to ``end``, and its pieces."""

    text: str
    start: int
    end: int
    tokens: list[str]


@dataclass(frozen=True, slots=True)
class Context:
    """A word in n texts: the cosines of its vectors after each layer, (L+1, n, n), and the mean cosine of two different words
    of these texts, (L+1,)."""

    word: str
    occurrences: list[WordOccurrence]
    layers: Grid
    baseline: Listed


def context(subject: Subject, word: str, texts: list[str], watcher: Watcher = NOBODY) -> Context:
    """Return how alike the first occurrences of a word in several texts are, layer by layer.

    A word's vector is the mean of its pieces'. Case counts for nothing.

    Raises:
        Refusal: a text does not hold the word, or only beyond what the model reads.
    """
    readings = list(subject.read_apart(texts, watcher))
    found = [_find(reading, word) for reading in readings]
    vectors_L1nD = np.stack(
        [reading.layers[:, rows].mean(axis=1) for reading, (_, _, rows) in zip(readings, found, strict=True)], axis=1
    )
    units_L1nD = _units(vectors_L1nD)
    occurrences = [
        WordOccurrence(reading.text, start, end, [reading.encoding.tokens[row] for row in rows])
        for reading, (start, end, rows) in zip(readings, found, strict=True)
    ]
    return Context(word, occurrences, units_L1nD @ units_L1nD.transpose(0, 2, 1), _baseline(readings))


def _find(reading: Reading, word: str) -> tuple[int, int, list[int]]:
    """Return the span of the first occurrence of a word, and its rows."""
    pattern = re.escape(word)
    if not any(map(is_chinese, word)):
        pattern = rf"(?<!\w){pattern}(?!\w)"
    match = re.search(pattern, reading.text, re.IGNORECASE)
    rows = [] if match is None else _rows_of(reading, *match.span())
    if match is None or not rows:
        raise Refusal(
            "word_not_found",
            f"{word!r} is not in {reading.text!r:.80}, or not where the model reads it",
            word=word,
            text=reading.text,
        )
    return *match.span(), rows


def _rows_of(reading: Reading, start: int, end: int) -> list[int]:
    """Return the rows of the tokens that have characters of a span of the first text."""
    return [
        row
        for row, (first, last) in enumerate(reading.encoding.offsets)
        if first < end and last > start and not reading.is_special[row]
    ]


def _baseline(readings: list[Reading]) -> Floats:
    """Return the mean cosine of two tokens that differ, (L+1,), special ones left out."""
    rows = [np.flatnonzero(~np.array(reading.is_special)) for reading in readings]
    units_L1nD = _units(np.concatenate([one.layers[:, own] for one, own in zip(readings, rows, strict=True)], axis=1))
    token_ids = np.concatenate([np.array(one.encoding.token_ids)[own] for one, own in zip(readings, rows, strict=True)])
    # All pairs less those of a token with itself, wherever it stands: a sum of vectors' inner products is that of their sums.
    total_L1 = _squares(units_L1nD.sum(axis=1))
    n_pairs = len(token_ids) ** 2
    for token_id in np.unique(token_ids):
        is_token = token_ids == token_id
        total_L1 = total_L1 - _squares(units_L1nD[:, is_token].sum(axis=1))
        n_pairs -= int(is_token.sum()) ** 2
    baseline: Floats = total_L1 / max(n_pairs, 1)
    return baseline


def _squares(vectors: Floats) -> Floats:
    squares: Floats = (vectors * vectors).sum(axis=-1)
    return squares


@dataclass(frozen=True, slots=True)
class Point:
    """A token of the ``text``-th text."""

    text: int
    token: str
    position: int
    word: int | None
    is_special: bool


@dataclass(frozen=True, slots=True)
class Projection:
    """Tokens in the plane after each layer, (L+1, n, 2), and the share of their variance along either axis, (L+1, 2)."""

    tokens: list[Point]
    points: Grid
    explained: Listed


def projection(subject: Subject, texts: list[str], watcher: Watcher = NOBODY) -> Projection:
    """Return the first two principal components of the tokens of all texts, layer by layer.

    Components have no sign of their own; each gets that which keeps the points closest to where the layer before had them.

    Raises:
        Refusal: there are more tokens than can be drawn.
    """
    encodings = [subject.encode(text, None)[0] for text in texts]
    tokens = [
        Point(number, token, position, word, word is None)
        for number, encoding in enumerate(encodings)
        for position, (token, word) in enumerate(zip(encoding.tokens, encoding.word_ids, strict=True))
    ]
    if len(tokens) > MOST_PROJECTED:
        raise Refusal(
            "too_many_tokens",
            f"these texts have {len(tokens)} tokens; at most {MOST_PROJECTED} can be projected at once",
            limit=MOST_PROJECTED,
            found=len(tokens),
        )
    layers = np.concatenate([reading.layers for reading in subject.read_apart(texts, watcher)], axis=1)
    points: list[Floats] = []
    explained: list[Floats] = []
    for number, states_nD in enumerate(layers):
        watcher.reach(number / len(layers))
        points_n2, shares_2 = _principal(states_nD)
        if points:
            points_n2 = points_n2 * np.where((points_n2 * points[-1]).sum(axis=0) < 0, -1, 1)
        points.append(points_n2)
        explained.append(shares_2)
    return Projection(tokens, np.stack(points), np.stack(explained))


def _principal(states_nD: Floats) -> tuple[Floats, Floats]:
    centred_nD = states_nD - states_nD.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred_nD, full_matrices=False)
    variances = sizes**2
    return left[:, :2] * sizes[:2], variances[:2] / max(variances.sum(), np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A token at characters ``start`` to ``end`` of the ``sentence``-th sentence."""

    sentence: int
    position: int
    token: str
    start: int
    end: int
    cosine: Number


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest tokens for each token of a text, the nearest first."""

    layer: int
    neighbours: list[list[Neighbour]]


def neighbours(reading: Reading, sentences: list[str], layer: int, watcher: Watcher = NOBODY) -> Neighbours:
    """Return which tokens of some sentences are most like each token of a text at a layer, by cosine."""
    reading.check_layer(layer)
    rows: list[tuple[int, int]] = []
    encodings, states = [], []
    for number, other in enumerate(reading.subject.read_apart(sentences, watcher)):
        own = np.flatnonzero(~np.array(other.is_special))
        rows += [(number, row) for row in own.tolist()]
        encodings.append(other.encoding)
        states.append(other.layers[layer, own])
    if not rows:
        return Neighbours(layer, [[] for _ in range(reading.n_tokens)])
    units_nD = _units(np.concatenate(states))
    cosines_Tn = _units(reading.layers[layer]) @ units_nD.T
    nearest_TK = np.argsort(-cosines_Tn, axis=1, kind="stable")[:, :_NEIGHBOURS]

    def neighbour(place: int, cosine: float) -> Neighbour:
        number, row = rows[place]
        encoding = encodings[number]
        return Neighbour(number, row, encoding.tokens[row], *encoding.offsets[row], cosine)

    return Neighbours(
        layer,
        [
            [neighbour(place, float(cosines[place])) for place in places]
            for cosines, places in zip(cosines_Tn, nearest_TK.tolist(), strict=True)
        ],
    )

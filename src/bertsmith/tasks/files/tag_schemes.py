"""How chunks of words, such as names, are written as one tag a word.

Four schemes: ``iob2`` (B- begins every chunk, I- continues it), ``iob1`` (I- throughout, B- only where a chunk directly
follows one of its type), ``bioes`` (also E- for a chunk's last word and S- for a chunk of one word; L- and U- in BILOU), and
``plain`` for tags that mark no chunks, such as parts of speech. A tag is ``O``, or a prefix, a hyphen and a type; without
hyphen the type is "".

Dimensions: C labels.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from bertsmith.errors import InputError

Scheme = Literal["plain", "iob1", "iob2", "bioes"]
Bools = npt.NDArray[np.bool_]
_PREFIXES = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S", "O": "O"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Words ``start`` to ``stop``, the latter excluded, are a ``type``."""

    type: str
    start: int
    stop: int


class _Tag(NamedTuple):
    prefix: str
    type: str


_OUTSIDE = _Tag("O", "")


@cache
def _parse(tag: str) -> _Tag:
    """Split a tag into one of B, I, E, S, O and its type; what is no tag of any scheme is outside."""
    prefix, _, type_ = tag.partition("-")
    return _Tag(_PREFIXES[prefix], type_) if prefix in _PREFIXES and prefix != "O" else _OUTSIDE


def is_of_a_scheme(tag: str) -> bool:
    """Return whether a tag is ``O`` or has one of the prefixes, with a type or alone."""
    prefix, hyphen, type_ = tag.partition("-")
    return tag == "O" or (prefix in _PREFIXES and prefix != "O" and bool(type_) == bool(hyphen))


def _is_inside(previous: _Tag, type_: str) -> bool:
    """Return whether a chunk of this type that may go on is open after ``previous``."""
    return previous.prefix in ("B", "I") and previous.type == type_


def chunks(tags: Sequence[str]) -> list[Chunk]:
    """Return the chunks of a sentence as conlleval counts them (Tjong Kim Sang and Buchholz 2000), whatever the scheme.

    A tag that continues nothing begins a chunk; a change of type ends one.
    """
    found: list[Chunk] = []
    previous = _OUTSIDE
    for word, tag in enumerate(map(_parse, tags)):
        if tag.prefix in ("I", "E") and _is_inside(previous, tag.type):
            found[-1] = Chunk(tag.type, found[-1].start, word + 1)
        elif tag.prefix != "O":
            found.append(Chunk(tag.type, word, word + 1))
        previous = tag
    return found


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Return the scheme in which sentences are tagged; ``iob2`` where nothing tells.

    Raises:
        InputError: tags with O and types beside others that are of no scheme.
    """
    tags: dict[str, None] = {}  # in order
    any_b_after_another = False
    for sentence in sentences:
        tags.update(dict.fromkeys(sentence))
        moves = itertools.pairwise([_OUTSIDE, *map(_parse, sentence)])
        any_b_after_another |= any(tag.prefix == "B" and not _is_inside(previous, tag.type) for previous, tag in moves)
    foreign = [tag for tag in tags if not is_of_a_scheme(tag)]
    if foreign:
        marks_chunks = "O" in tags and any("-" in tag for tag in tags if is_of_a_scheme(tag))
        if marks_chunks:
            raise InputError(
                f"the tag {foreign[0]!r} stands beside tags of chunks such as O, yet is neither O nor one of "
                "B- I- E- S- L- U- with a type; correct it, or choose another column of tags"
            )
        return "plain"
    prefixes = {_parse(tag).prefix for tag in tags}
    if prefixes & {"E", "S"}:
        return "bioes"
    return "iob1" if "I" in prefixes and not any_b_after_another else "iob2"


def is_legal(tags: Sequence[str], scheme: Scheme) -> bool:
    """Return whether a sentence of the scheme may have these tags in this order."""
    parsed = [_OUTSIDE, *map(_parse, tags), _OUTSIDE]
    return all(_may_follow(previous, tag, scheme) for previous, tag in itertools.pairwise(parsed))


def chunk_prefixes(labels: Iterable[str], scheme: Scheme) -> str:
    """Return the prefixes of a chunk's first, middle, last and only word: of ``iob2``, or the labels' own of ``bioes``."""
    if scheme == "iob2":
        return "BIIB"
    return "BILU" if any(label.partition("-")[0] in ("L", "U") for label in labels) else "BIES"


def rewrite(tags: Sequence[str], prefixes: str) -> list[str]:
    """Write the chunks of a sentence with the prefixes of their first, middle, last and only words."""
    first, middle, last, only = tuple(prefixes)
    written = ["O"] * len(tags)
    for chunk in chunks(tags):
        n_words = chunk.stop - chunk.start
        own = only if n_words == 1 else first + middle * (n_words - 2) + last
        written[chunk.start : chunk.stop] = [_label(prefix, chunk.type) for prefix in own]
    return written


def all_labels(tags: set[str], scheme: Scheme) -> tuple[str, ...]:
    """Return the labels in which a file of these tags is written, in order; of every type of chunk all of its scheme."""
    labels = tags
    if scheme != "plain":
        types, prefixes = {chunk.type for tag in tags for chunk in chunks([tag])}, chunk_prefixes(tags, scheme)
        labels = {"O"} | {_label(prefix, type_) for type_ in types for prefix in prefixes}
    return tuple(sorted(labels, key=lambda label: (label != "O", label.partition("-")[2], label)))


def _label(prefix: str, type_: str) -> str:
    return f"{prefix}-{type_}" if type_ else prefix


def legal_moves(labels: Sequence[str], scheme: Scheme) -> tuple[Bools, Bools, Bools]:
    """Return which label may follow which (C, C), from row to column, which may come first (C,), and which last (C,)."""
    tags = [_parse(label) for label in labels]
    allowed_CC = np.array([[_may_follow(previous, tag, scheme) for tag in tags] for previous in tags], dtype=np.bool_)
    starts_C = np.array([_may_follow(_OUTSIDE, tag, scheme) for tag in tags], dtype=np.bool_)
    ends_C = np.array([_may_follow(tag, _OUTSIDE, scheme) for tag in tags], dtype=np.bool_)
    return allowed_CC, starts_C, ends_C


def _may_follow(previous: _Tag, tag: _Tag, scheme: Scheme) -> bool:
    """Say whether a sentence of the scheme may hold the two tags in this order; its ends are as O."""
    inside = _is_inside(previous, tag.type)
    match scheme:
        case "iob1":
            return tag.prefix != "B" or inside
        case "iob2":
            return tag.prefix != "I" or inside
        case "bioes":
            return inside if tag.prefix in ("I", "E") else previous.prefix not in ("B", "I")
        case "plain":
            return True


def chunk_counts(gold: Sequence[str], predicted: Sequence[str], types: Sequence[str]) -> npt.NDArray[np.int64]:
    """Count the chunks of a sentence by type: right, predicted and gold ones, (3, types).

    A chunk is right where type, start and stop all are. ``types`` must hold every type that occurs.
    """
    gold_chunks, predicted_chunks = set(chunks(gold)), set(chunks(predicted))
    index = {type_: column for column, type_ in enumerate(types)}
    counts = np.zeros((3, len(types)), dtype=np.int64)
    for row, found in enumerate((gold_chunks & predicted_chunks, predicted_chunks, gold_chunks)):
        for chunk in found:
            counts[row, index[chunk.type]] += 1
    return counts


@overload
def precision_recall_f1(correct: int, predicted: int, gold: int) -> tuple[float, float, float]: ...


@overload
def precision_recall_f1(
    correct: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], gold: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...


def precision_recall_f1(correct: Any, predicted: Any, gold: Any) -> tuple[Any, Any, Any]:
    """Return precision, recall and their harmonic mean from counts or arrays of them, 0 where a denominator is."""
    return _quotient(correct, predicted), _quotient(correct, gold), _quotient(2 * correct, predicted + gold)


def _quotient(numerator: Any, denominator: Any) -> Any:
    # Where the denominator is 0, so is the numerator.
    quotient = numerator / np.maximum(denominator, 1)
    return quotient if isinstance(quotient, np.ndarray) else float(quotient)

"""How chunks of words, such as names, are written as one tag a word.

Five schemes: ``iob2`` (B- begins every chunk, I- continues it), ``iob1`` (I- throughout, B- only where a chunk directly
follows one of its type), ``bioes`` (also E- for a chunk's last word and S- for a chunk of one word; BILOU has L- and U- for
them, BMES has M- for I-), ``io`` (a type alone, for every word of a chunk), and ``plain`` for tags that mark no chunks, such as
parts of speech. A tag is ``O``, or a letter, a hyphen and a type; without hyphen the type is "". Files spell that in several
ways.

Dimensions: C labels.
"""

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bertsmith.errors import InputError

Scheme = Literal["plain", "io", "iob1", "iob2", "bioes"]
Bools = npt.NDArray[np.bool_]
_PREFIXES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
# What some write beside the pieces of a word behind the first, and beside special tokens.
_OF_PIECES = ("X", "[CLS]", "[SEP]", "[PAD]", "-100")
# Letters alone are tags of chunks if they are all of one of these: parts of speech have such letters too.
_ALPHABETS = [set(letters) for letters in ("BIO", "BIESO", "BILUO", "BMESO", "BMEWO")]


@dataclass(frozen=True, slots=True)
class Spelling:
    """How tags of chunks are written: ``B-PER``, ``B_PER``, ``PER-B``, ``b-per``, or ``PER``, types alone."""

    separator: str = "-"
    type_first: bool = False
    is_lower: bool = False
    outside: str = "O"
    types_alone: bool = False

    def split(self, tag: str) -> tuple[str, str] | None:
        """Return a tag's letter, a capital, and its type; None for what is no tag of this spelling."""
        if tag == "O" or (tag == "o" and not self.types_alone):
            return "O", ""
        if self.types_alone:
            return "I", tag
        letter, separator, type_ = tag.partition(self.separator)
        if self.type_first and self.separator in tag:
            type_, separator, letter = tag.rpartition(self.separator)
        return (letter.upper(), type_) if letter.upper() in _PREFIXES and bool(type_) == bool(separator) else None

    def write(self, letter: str, type_: str = "") -> str:
        """Return the tag of a letter and a type."""
        if self.types_alone:
            return type_ or letter
        if letter == "O":
            return self.outside
        letter = letter.lower() if self.is_lower else letter
        return self.separator.join((type_, letter) if self.type_first else (letter, type_)) if type_ else letter


USUAL, TYPES_ALONE = Spelling(), Spelling(types_alone=True)
_KNOWN = [Spelling(separator, type_first) for type_first in (False, True) for separator in "-_/:|.+="]


def spelling_of(tags: Collection[str]) -> Spelling | None:
    """Return how tags of chunks are spelled; None where these are none, or types alone, which look like plain tags."""
    if set(tags) <= {"O"}:
        return USUAL
    found = next((spelling for spelling in _KNOWN if _are_of(spelling, tags)), None)
    if found is None:
        letters = {tag.upper() for tag in tags}
        if not (_make_up_chunks(letters) and any(letters <= known for known in _ALPHABETS)):
            return None
        found = USUAL
    found = replace(found, outside="o" if "o" in tags and "O" not in tags else "O")
    lower = replace(found, is_lower=True)
    return lower if all(lower.write(*parts) == tag for tag in tags if (parts := lower.split(tag))) else found


@cache
def spelling_under(tags: tuple[str, ...], scheme: Scheme | None) -> Spelling:
    """Return how tags are spelled that are of a scheme, or are to be read as those of one."""
    return TYPES_ALONE if scheme == "io" else spelling_of(tags) or USUAL


def _are_of(spelling: Spelling, tags: Iterable[str]) -> bool:
    """Say whether all are tags of the spelling, and one of them has a type."""
    split = {spelling.split(tag) or ("", "") for tag in tags}
    is_typed = {bool(type_) for letter, type_ in split if letter != "O"}
    if ("", "") in split or True not in is_typed:
        return False
    # In other spellings than the usual, the tags may also be parts of speech with their number or gender, such as N-S.
    return spelling == USUAL or (False not in is_typed and _make_up_chunks({letter for letter, _ in split}))


def _make_up_chunks(letters: set[str]) -> bool:
    return letters == {"I", "O"} or ("B" in letters and len(letters) > 1)


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
def _parse(tag: str, spelling: Spelling) -> _Tag:
    """Split a tag into one of B, I, E, S, O and its type; what is no tag of the spelling is outside."""
    letter, type_ = spelling.split(tag) or ("O", "")
    return _OUTSIDE if letter == "O" else _Tag(_PREFIXES[letter], type_)


def _is_inside(previous: _Tag, type_: str) -> bool:
    """Return whether a chunk of this type that may go on is open after ``previous``."""
    return previous.prefix in ("B", "I") and previous.type == type_


def chunks(tags: Sequence[str], spelling: Spelling = USUAL) -> list[Chunk]:
    """Return the chunks of a sentence as conlleval counts them (Tjong Kim Sang and Buchholz 2000), whatever the scheme.

    A tag that continues nothing begins a chunk; a change of type ends one.
    """
    found: list[Chunk] = []
    previous = _OUTSIDE
    for word, tag in enumerate(_parse(tag, spelling) for tag in tags):
        if tag.prefix in ("I", "E") and _is_inside(previous, tag.type):
            found[-1] = Chunk(tag.type, found[-1].start, word + 1)
        elif tag.prefix != "O":
            found.append(Chunk(tag.type, word, word + 1))
        previous = tag
    return found


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Return the scheme in which sentences are tagged; ``iob2`` where nothing tells, and never ``io``, which looks plain.

    Raises:
        InputError: tags with O and types beside others that are of no scheme.
    """
    sentences = list(sentences)
    tags = list(dict.fromkeys(tag for sentence in sentences for tag in sentence))
    spelling = spelling_of(tags)
    if spelling is None:
        if foreign := foreign_tag(tags):
            raise InputError(foreign[1])
        return "plain"
    prefixes = {_parse(tag, spelling).prefix for tag in tags}
    if prefixes & {"E", "S"}:
        return "bioes"
    return "iob1" if "I" in prefixes and not _any_chunk_begins_with_b(sentences, spelling) else "iob2"


def foreign_tag(tags: Collection[str]) -> tuple[str, str] | None:
    """Return a tag that is of no scheme though those beside it are, and what is to be said of it; None where there is none."""
    proper = [tag for tag in tags if tag not in _OF_PIECES]
    if spelling_of(tags):
        return None
    if len(proper) < len(tags) and set(proper) - {"O"} and spelling_of(proper):
        pieces = next(tag for tag in tags if tag in _OF_PIECES)
        return pieces, (
            f"the tag {pieces!r} is of no word but of a piece of one or a special token, as BERT-NER's files have them; "
            "put pieces such as ##ing back to their word, and take rows of [CLS] and [SEP] out"
        )
    split = {tag: USUAL.split(tag) for tag in tags}
    if "O" not in split or not any(parts and parts[1] and tag[0].isupper() for tag, parts in split.items()):
        return None
    foreign = next(tag for tag, parts in split.items() if not parts)
    return foreign, (
        f"the tag {foreign!r} stands beside tags of chunks such as O, yet is neither O nor one of "
        "B- I- M- E- L- S- U- W- with a type; correct it, or choose another column of tags"
    )


def _any_chunk_begins_with_b(sentences: Iterable[Sequence[str]], spelling: Spelling) -> bool:
    """Say whether a B stands anywhere but right behind a chunk of its type."""
    return any(
        tag.prefix == "B" and not _is_inside(previous, tag.type)
        for sentence in sentences
        for previous, tag in itertools.pairwise([_OUTSIDE, *(_parse(tag, spelling) for tag in sentence)])
    )


def is_legal(tags: Sequence[str], scheme: Scheme, spelling: Spelling = USUAL) -> bool:
    """Return whether a sentence of the scheme may have these tags in this order."""
    parsed = [_OUTSIDE, *(_parse(tag, spelling) for tag in tags), _OUTSIDE]
    return all(_may_follow(previous, tag, scheme) for previous, tag in itertools.pairwise(parsed))


def chunk_letters(labels: Iterable[str], scheme: Scheme, spelling: Spelling = USUAL) -> str:
    """Return the letters of a chunk's first, middle, last and only word, those of the labels where these have others."""
    there_are = {parts[0] for label in labels if (parts := spelling.split(label))}
    if scheme == "io":
        return "IIII"
    if scheme == "iob2":
        return "BMMB" if "M" in there_are and "I" not in there_are else "BIIB"
    if there_are & {"L", "U"}:
        return "BILU"
    return ("BM" if "M" in there_are else "BI") + ("EW" if "W" in there_are else "ES")


def rewrite(tags: Sequence[str], letters: str, spelling: Spelling = USUAL) -> list[str]:
    """Write the chunks of a sentence with the letters of their first, middle, last and only words."""
    first, middle, last, only = tuple(letters)
    written = [spelling.write("O")] * len(tags)
    for chunk in chunks(tags, spelling):
        n_words = chunk.stop - chunk.start
        own = only if n_words == 1 else first + middle * (n_words - 2) + last
        written[chunk.start : chunk.stop] = [spelling.write(letter, chunk.type) for letter in own]
    return written


def all_labels(tags: set[str], scheme: Scheme, spelling: Spelling = USUAL) -> tuple[str, ...]:
    """Return the labels in which a file of these tags is written, in order; of every type of chunk all of its scheme."""
    if scheme == "plain":
        return tuple(sorted(tags, key=lambda tag: (tag != "O", tag.partition("-")[2], tag)))
    types = sorted({chunk.type for tag in tags for chunk in chunks([tag], spelling)})
    letters = sorted(set(chunk_letters(tags, scheme, spelling)))
    return (spelling.write("O"), *(spelling.write(letter, type_) for type_ in types for letter in letters))


def legal_moves(labels: Sequence[str], scheme: Scheme, spelling: Spelling = USUAL) -> tuple[Bools, Bools, Bools]:
    """Return which label may follow which (C, C), from row to column, which may come first (C,), and which last (C,)."""
    tags = [_parse(label, spelling) for label in labels]
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
        case "plain" | "io":
            return True

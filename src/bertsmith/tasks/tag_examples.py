"""A sentence of words as tagging reads it: laid out as text, and what its tags are taken for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bertsmith.errors import InputError, UsageError
from bertsmith.tasks.files.tagged import TaggedSentence
from bertsmith.tasks.shown import Entity
from bertsmith.tasks.tag_schemes import (
    TYPES_ALONE,
    USUAL,
    Chunk,
    Scheme,
    Spelling,
    foreign_tag,
    is_legal,
    scheme_of,
    spelling_under,
)
from bertsmith.tasks.task import log
from bertsmith.text.words import is_chinese

LearntScheme = Literal["plain", "io", "iob2", "bioes"]
# The schemes of files that can be learnt as each; all are written anew from the chunks.
_READ_AS = {"io": ("plain",), "iob2": ("iob1", "iob2", "bioes"), "bioes": ("bioes",)}


@dataclass(frozen=True, slots=True)
class TagExample:
    """A sentence as words, with their tags where they are known, and where the words stand in the text.

    ``document`` is the number of its document in the file, from 1; 0 where the file does not say.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    text: str
    offsets: tuple[tuple[int, int], ...]
    source: str
    document: int = 0


def known_tags(example: TagExample) -> tuple[str, ...]:
    """Return the tags of an example that has some."""
    assert example.tags is not None
    return example.tags


def of_words(sentence: TaggedSentence) -> TagExample:
    """Lay words out as text: a blank between two, but none between Chinese characters and between these and marks."""
    text, offsets = "", []
    for word in sentence.words:
        if text and not _is_written_together(text[-1], word[:1]):
            text += " "
        offsets.append((len(text), len(text) + len(word)))
        text += word
    return TagExample(sentence.words, sentence.tags, text, tuple(offsets), sentence.source, sentence.document)


def _is_written_together(left: str, right: str) -> bool:
    any_chinese = is_chinese(left) or is_chinese(right)
    return any_chinese and all(is_chinese(one) or not one.isalnum() for one in (left, right))


def scheme_to_learn(examples: Sequence[TagExample], wanted: LearntScheme | None) -> LearntScheme:
    """Return the scheme to learn, which is not always the one in which the examples are tagged, and say how they are read.

    Raises:
        InputError: tags of chunks stand beside others.
        UsageError: the wanted scheme is not one that such tags can be learnt in.
    """
    if wanted == "plain":
        return "plain"
    tags = tuple(dict.fromkeys(tag for example in examples for tag in known_tags(example)))
    if foreign := foreign_tag(tags):
        source = next(example.source for example in examples if foreign[0] in known_tags(example))
        raise InputError(f"{source}: {foreign[1]}; if tags mark no chunks, say --scheme plain")
    found = scheme_of(known_tags(example) for example in examples)
    if wanted is not None and found not in _READ_AS[wanted]:
        raise UsageError(f"--scheme {wanted} is not that of the training file, whose tags are {found}; leave it out")
    scheme: LearntScheme = wanted or ("iob2" if found == "iob1" else found)
    spelling = spelling_under(tags, scheme)
    _say_how_read(tags, scheme, spelling)
    illegal = [example.source for example in examples if not is_legal(known_tags(example), found, spelling)]
    if illegal:
        log.warning("%d sentence(s) break the rules of %s, first %s; read as conlleval reads", len(illegal), found, illegal[0])
    return scheme


def _say_how_read(tags: Sequence[str], scheme: Scheme, spelling: Spelling) -> None:
    """Say what unusual tags are taken for, and how to choose otherwise."""
    tag = next((tag for tag in tags if tag.upper() != "O"), "O")
    letter, type_ = spelling.split(tag) or ("", "")
    marked = next((tag for tag in tags if (USUAL.split(tag) or ("", ""))[1]), None)
    if scheme == "plain" and marked is not None:
        foreign = next(tag for tag in tags if not USUAL.split(tag))
        log.info("tags such as %r are taken as they are, for %r is no tag of chunks; accuracy alone is scored", marked, foreign)
    elif scheme == "plain" and "O" in tags and len(tags) > 1:
        log.info("tags such as %r mark no entities; if a run of equal tags is one entity, say --scheme io", tag)
    elif scheme != "plain" and tag != "O" and (spelling not in (USUAL, TYPES_ALONE) or not type_):
        meaning = f"the letter {letter} of a {type_!r}" if type_ else f"the letter {letter} of a chunk without a type"
        log.info("tags are read as %s: %r is %s; if they mark no chunks, say --scheme plain", scheme.upper(), tag, meaning)


def different(example: TagExample, tags: Sequence[str], others: Sequence[str]) -> str:
    """Return the words with their tags where the tags differ from the others."""
    triples = zip(example.words, tags, others, strict=True)
    return ", ".join(f"{word}/{tag}" for word, tag, other in triples if tag != other)


def as_columns(example: TagExample, tags: Sequence[str]) -> str:
    """Return CoNLL's form: a word and its tag a line, and a blank line; :class:`InputError` for a word that no column holds."""
    odd = next((word for word in example.words if not word or set(word) & set(" \t\r\n")), None)
    if odd is not None:
        what = "has a blank" if odd else "is empty"
        raise InputError(f"{example.source}: the word {odd!r} {what}, and no column holds it; leave --submission out")
    return "".join(f"{word} {tag}\n" for word, tag in zip(example.words, tags, strict=True)) + "\n"


def entity_of(example: TagExample, chunk: Chunk, probabilities: Sequence[float]) -> Entity:
    """Return the entity that a chunk of words is, as probable as they are on average."""
    start, end = example.offsets[chunk.start][0], example.offsets[chunk.stop - 1][1]
    probability = sum(probabilities[chunk.start : chunk.stop]) / (chunk.stop - chunk.start)
    return Entity(chunk.type, example.text[start:end], start, end, probability)

"""A sentence of words as tagging reads it: laid out as text, and what its tags are taken for."""

from collections.abc import Sequence
from dataclasses import dataclass

from bertsmith.tasks.files.tagged import TaggedSentence
from bertsmith.tasks.tag_schemes import TYPES_ALONE, USUAL, Scheme, Spelling
from bertsmith.tasks.task import log
from bertsmith.text.words import is_chinese


@dataclass(frozen=True, slots=True)
class TagExample:
    """A sentence as words, with their tags where they are known, and where the words stand in the text."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    text: str
    offsets: tuple[tuple[int, int], ...]
    source: str


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
    return TagExample(sentence.words, sentence.tags, text, tuple(offsets), sentence.source)


def _is_written_together(left: str, right: str) -> bool:
    any_chinese = is_chinese(left) or is_chinese(right)
    return any_chinese and all(is_chinese(one) or not one.isalnum() for one in (left, right))


def say_how_read(tags: Sequence[str], scheme: Scheme, spelling: Spelling) -> None:
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

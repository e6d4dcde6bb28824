"""A sentence of words as tagging reads it: from a file of words, laid out as text."""

from dataclasses import dataclass

from bertsmith.tasks.files.tagged import TaggedSentence
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

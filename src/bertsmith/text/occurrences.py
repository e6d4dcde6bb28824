"""Where words occur in documents, each occurrence in its context, in bounded memory."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from bertsmith.errors import UsageError
from bertsmith.text.readers import Document
from bertsmith.text.sentences import split_sentences
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.words import segmented, word_spans

Context = Literal["sentence", "line", "passage"]
Item = TypeVar("Item")

# Characters of a context on either side of the word: one without full stops may be a million long.
_WIDEST = 1000
_CHARACTERS_SEARCHED, _NEAR = 1_000_000, 3


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A word at characters ``start`` to ``end`` of ``text``, its context; its document begins at ``source``."""

    word: str
    text: str
    start: int
    end: int
    source: str


class WordFinder:
    """Finds whole words as a tokenizer reads them, which may leave case and accents out of account.

    A word may be of several, such as New York or don't. A Chinese one is a string of characters, wherever it stands.

    Args:
        tokenizer: Says which words are the same.
        words: The words to find.

    Raises:
        UsageError: a word has no characters that the tokenizer reads.
    """

    def __init__(self, tokenizer: Tokenizer, words: Iterable[str]) -> None:
        self._normalise = tokenizer.normalise
        self._by_first: dict[str, list[tuple[list[str], str]]] = {}
        for word in words:
            parts = [part for part, _, _ in self._parts(word)]
            if not parts:
                raise UsageError(f"{word!r} is not a word: it has no characters that the tokenizer reads")
            self._by_first.setdefault(parts[0], []).append((parts, word))

    def may_be_in(self, text: str) -> bool:
        """Say, many times faster than :meth:`find`, whether a text may have one of the words."""
        normalised = self._normalise(text)
        return any(
            first in normalised and any(all(part in normalised for part in parts) for parts, _ in words)
            for first, words in self._by_first.items()
        )

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Yield the words in a text, each as it was given, with its span of characters."""
        found = self._parts(text)
        for place, (part, start, _) in enumerate(found):
            for parts, word in self._by_first.get(part, ()):
                last = place + len(parts)
                if [other for other, _, _ in found[place:last]] == parts:
                    yield word, start, found[last - 1][2]

    def _parts(self, text: str) -> list[tuple[str, int, int]]:
        """Return what stands between blanks and marks, normalised, and its spans."""
        parts = ((self._normalise(text[start:end]), start, end) for start, end in word_spans(text))
        return [part for part in parts if part[0]]


def occurrences(documents: Iterable[Document], finder: WordFinder, context: Context) -> Iterator[Occurrence]:
    """Yield the occurrences in order.

    The context is the sentence, the line or the whole passage, up to a thousand characters on either side. What lies between
    is never cut into words, so that a rare word is found as fast as the file can be read.
    """
    for document in documents:
        if not finder.may_be_in(document.text):
            continue
        for text in _contexts(document.text, context):
            if finder.may_be_in(text):
                for word, start, end in finder.find(text):
                    first = max(0, start - _WIDEST)
                    yield Occurrence(word, text[first : end + _WIDEST], start - first, end - first, document.source)


def _contexts(text: str, context: Context) -> list[str]:
    if context == "passage":
        return [text]
    return split_sentences(text, "prose" if context == "sentence" else "lines")


class EvenSample(Generic[Item]):
    """Keeps at most ``size`` of any number of items, evenly spaced, in memory for twice as many."""

    def __init__(self, size: int) -> None:
        self._size, self._every = size, 1
        self._kept: list[Item] = []
        self.seen = 0

    def add(self, item: Item) -> None:
        if self.seen % self._every == 0:
            self._kept.append(item)
        if len(self._kept) == 2 * self._size:
            del self._kept[1::2]
            self._every *= 2
        self.seen += 1

    def items(self) -> list[Item]:
        """Return the sample, in order."""
        kept, size = self._kept, min(self._size, len(self._kept))
        return [kept[place * len(kept) // size] for place in range(size)]


def words_like(word: str, documents: Iterable[Document], tokenizer: Tokenizer) -> Sequence[str]:
    """Return a few words of the first million characters or so that are written nearly as ``word``, the nearest first."""
    found: set[str] = set()
    n_characters = 0
    for document in documents:
        found.update(map(tokenizer.normalise, segmented(document.text)))
        n_characters += len(document.text)
        if n_characters > _CHARACTERS_SEARCHED:
            break
    return difflib.get_close_matches(tokenizer.normalise(word), sorted(found), _NEAR, cutoff=0.5)

"""Documents as passages to look for answers in, and the passages that fit a question.

Dimensions: n passages, D width of their vectors.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from bertsmith.arguments import path_of
from bertsmith.errors import InputError
from bertsmith.inference.pipelines import VectorPipeline
from bertsmith.neighbours import unit
from bertsmith.progress import SILENT, Progress
from bertsmith.sources.streams import COMPRESSIONS, extension
from bertsmith.text.readers import WHOLE_FORMATS, Document, read_whole
from bertsmith.text.sentences import sentence_pieces
from bertsmith.text.words import word_spans

LONGEST_PASSAGE = 200
"""Words, or Chinese characters, beyond which a paragraph is parted into several passages."""
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_N_NAMED = 5
log = logging.getLogger("bertsmith")


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph of a document, or some sentences of a long one.

    document   the file, of a record with its line: ``notes.txt``, ``faq.jsonl:12``
    paragraph  the paragraph's number in the document, from 1
    start      the character of the document's text at which the passage begins
    """

    text: str
    document: str
    paragraph: int
    start: int


class Finder(Protocol):
    """Finds passages."""

    def search(self, question: str, n: int) -> list[int]:
        """Return the places of at most ``n`` passages that fit the question, the best first."""


class VectorFinder:
    """Finds passages by the cosine of their vectors to the question's; the vectors are in memory."""

    def __init__(self, pipe: VectorPipeline, texts: Sequence[str], progress: Progress = SILENT) -> None:
        self._pipe = pipe
        with progress.task("Indexing", len(texts), "passages") as shown:
            vectors = []
            for vector in pipe.stream(texts):
                vectors.append(vector)
                shown.advance(1)
        self._unit_nD = unit(np.stack(vectors))

    def search(self, question: str, n: int) -> list[int]:
        """Return the places of the ``n`` passages whose vectors are nearest to the question's."""
        (vector,) = self._pipe([question])
        found: list[int] = np.argsort(-(self._unit_nD @ vector), kind="stable")[:n].tolist()
        return found


def read_passages(path: str | Path, field: str = "text") -> list[Passage]:
    """Return the passages of a file, or of all files in a folder and those in it.

    Paragraphs end at blank lines. Of a folder, files that cannot be read as text are left out, and a warning names them.

    Args:
        path: A text or Markdown file, a file of JSON lines, CSV, TSV or Parquet, each of whose records is a document, or a
            folder of such files; each also compressed.
        field: The key or column that has the text of a record.

    Raises:
        InputError: there is no such file, it cannot be read, or nothing in the folder can; or there is no text in it.
    """
    path = path_of(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a file of text or a folder of such files")
    found = list(_passages(path, field)) if path.is_file() else _passages_in(path, field)
    if not found:
        formats = " ".join((*WHOLE_FORMATS, *COMPRESSIONS))
        raise InputError(f"{path} holds no text to look for answers in; documents are files of {formats}")
    return found


def _passages_in(folder: Path, field: str) -> list[Passage]:
    found: list[Passage] = []
    left_out: list[str] = []
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            try:
                found += list(_passages(file, field))
            except InputError as error:
                left_out.append(str(error))
    if left_out:
        others = f"\n  and {len(left_out) - _N_NAMED:,} others" if len(left_out) > _N_NAMED else ""
        log.warning("%d file(s) left out:\n  %s%s", len(left_out), "\n  ".join(left_out[:_N_NAMED]), others)
    return found


def _passages(file: Path, field: str) -> Iterator[Passage]:
    for document in read_whole(file, field):
        name = str(file) if extension(file) in (".txt", ".md") else document.source
        yield from _passages_of(document, name)


def _passages_of(document: Document, name: str) -> Iterator[Passage]:
    for number, (start, paragraph) in enumerate(_paragraphs(document.text), 1):
        for offset, text in _parts(paragraph):
            yield Passage(text, name, number, start + offset)


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs, each with where it begins."""
    breaks = [match.span() for match in _BLANK_LINES.finditer(text)]
    for start, stop in zip(
        chain([0], (end for _, end in breaks)), chain((begin for begin, _ in breaks), [len(text)]), strict=True
    ):
        yield from _stripped(text[start:stop], start)


def _parts(paragraph: str) -> Iterator[tuple[int, str]]:
    """Yield a paragraph whole, or of a long one as many sentences at a time as make a passage, each with where it begins."""
    # No text has more words than characters, and most are short.
    if len(paragraph) <= LONGEST_PASSAGE or _n_words(paragraph) <= LONGEST_PASSAGE:
        yield 0, paragraph
        return
    part, start, n_words = "", 0, 0
    for sentence in chain.from_iterable(map(_short_pieces, sentence_pieces(paragraph))):
        more = _n_words(sentence)
        if part and n_words + more > LONGEST_PASSAGE:
            yield from _stripped(part, start)
            part, start, n_words = "", start + len(part), 0
        part, n_words = part + sentence, n_words + more
    yield from _stripped(part, start)


def _short_pieces(sentence: str) -> Iterator[str]:
    """Yield a sentence, one of more words than a passage has in pieces between words; end to end they are the sentence."""
    bounds = [0, *(start for start, _ in islice(word_spans(sentence), LONGEST_PASSAGE, None, LONGEST_PASSAGE)), len(sentence)]
    yield from (sentence[start:stop] for start, stop in pairwise(bounds))


def _stripped(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Yield a text without white space around it, and where it then begins; nothing if nothing is left."""
    if stripped := text.strip():
        yield start + len(text) - len(text.lstrip()), stripped


def _n_words(text: str) -> int:
    return sum(1 for _ in word_spans(text))

"""A WordPiece vocabulary from raw text, in bounded memory, the same bytes every time.

1. Chunks between white space are counted as they stream by; when there are too many, the rarest are dropped (lossy
   counting; Manku and Motwani, 2002). Only then is each distinct chunk normalised and split into words.
2. The single-character pieces are chosen by frequency.
3. The ``tokenizers`` library's trainer merges pieces, fed the most frequent words as often as they were counted, scaled
   down to a bounded total. All it starts from is given in a fixed order, since what it chooses by itself depends on hash order.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

import bertsmith
from bertsmith.config import Config, Positional
from bertsmith.errors import InputError, UsageError
from bertsmith.files import atomic_directory, write_manifest
from bertsmith.progress import SILENT, Progress
from bertsmith.sources.digests import described, is_finished
from bertsmith.sources.file_patterns import find_files
from bertsmith.text.chunks import DELETED_BREAKS, UNSPACED
from bertsmith.text.readers import ReaderConfig, read_documents
from bertsmith.text.specification import MAX_WORD_LENGTH, SpecialTokens
from bertsmith.text.tokenizer import Tokenizer

SMALLEST_SIZE = 100
_BATCH_CHARACTERS = 1 << 18
_MOST_CHUNKS = 1 << 20
_MOST_WORDS_FED = 20_000_000
_MOST_DISTINCT_WORDS_FED = 1 << 18  # the trainer takes about a kilobyte for each
_WORDS_A_SEQUENCE = 1000
_NO_BREAKS = dict.fromkeys(map(ord, DELETED_BREAKS))
_SPECIAL = SpecialTokens().names()
_log = logging.getLogger("bertsmith")


class VocabularyConfig(Config):
    """Learn a WordPiece vocabulary from text of any size, in bounded memory."""

    files: Positional[list[str]]
    """Files, folders or globs of text; - for standard input."""
    out: Path
    """Directory to write; it must not exist yet, or be empty."""
    size: int = 30522
    """Number of entries, the five special tokens included."""
    cased: bool = False
    """Keep upper and lower case apart."""
    strip_accents: bool | None = None
    """Remove accents; by default only where case is removed too."""
    split_chinese: bool = True
    """Make every Chinese character a word."""
    min_count: int = 2
    """Join two pieces only if they occur together this often."""
    reader: ReaderConfig = ReaderConfig()
    """How to read the files."""


@dataclass(slots=True)
class WordCounts:
    """How often each word was seen; a count is too low by at most ``error``, and words that rare may be missing."""

    words: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    error: int = 0


def build_vocabulary(config: VocabularyConfig, progress: Progress = SILENT) -> Tokenizer:
    """Learn a vocabulary and write it to ``config.out``, a directory that transformers opens, with a manifest.

    Raises:
        UsageError: the size is too small.
        InputError: the text cannot be read.
        ArtifactError: ``config.out`` holds something that was made of something else.
    """
    made_of = {
        "settings": config.model_dump(mode="json", exclude={"files", "out"}),
        "sources": described(find_files(config.files), progress),
    }
    if is_finished(config.out, "vocabulary", made_of):
        return Tokenizer.load(config.out)
    tokenizer, counts = _train(config, progress)
    with atomic_directory(config.out) as directory:
        tokenizer.save(directory)
        facts = {
            "bertsmith": bertsmith.__version__,
            "size": tokenizer.vocabulary_size,
            "cased": config.cased,
            "strip_accents": tokenizer.strip_accents,
            "split_chinese": config.split_chinese,
            "min_count": config.min_count,
            "tokenizer_digest": tokenizer.digest,
            "documents": counts.documents,
            "words": counts.words.total(),
            "distinct_words": len(counts.words),
            "count_error_at_most": counts.error,
            **made_of,
        }
        write_manifest(directory, "vocabulary", facts)
    return tokenizer


def train_vocabulary(config: VocabularyConfig, progress: Progress = SILENT) -> Tokenizer:
    """Learn a vocabulary without writing it; raises as :func:`build_vocabulary`."""
    return _train(config, progress)[0]


def _train(config: VocabularyConfig, progress: Progress) -> tuple[Tokenizer, WordCounts]:
    if config.size < SMALLEST_SIZE:
        raise UsageError(
            f"--size {config.size} is too small: {len(_SPECIAL)} special tokens and the characters of the text "
            f"need at least {SMALLEST_SIZE}"
        )
    if config.min_count < 1:
        raise UsageError(f"--min-count {config.min_count} is out of range; it must be at least 1")
    counts = count_words(config, progress)
    if not counts.words:
        raise InputError("the text holds no words: nothing is left of it once it is normalised")
    with progress.task("choosing pieces", None, "words"):
        vocabulary = _choose_pieces(counts.words, config.size, config.min_count)
    if len(vocabulary) < config.size:
        _log.warning("the text supports only %d pieces of the %d asked for with --size", len(vocabulary), config.size)
    tokenizer = Tokenizer.build(
        vocabulary,
        lowercase=not config.cased,
        strip_accents=config.strip_accents,
        split_chinese=config.split_chinese,
    )
    return tokenizer, counts


def count_words(config: VocabularyConfig, progress: Progress = SILENT) -> WordCounts:
    """Count the words that BERT's normaliser and pre-tokeniser make of the files, in bounded memory."""
    files = find_files(config.files)
    normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=config.split_chinese, strip_accents=config.strip_accents, lowercase=not config.cased
    )
    counter = _Counter(normalizer)
    with progress.task("counting words", sum(file.stat().st_size for file in files), "bytes") as task:
        batch: list[str] = []
        characters = 0
        for document in read_documents(files, config.reader, task):
            batch.append(document.text)
            characters += len(document.text)
            counter.documents += 1
            if characters > _BATCH_CHARACTERS:
                counter.count("\n".join(batch))
                batch, characters = [], 0
        counter.count("\n".join(batch))
    return counter.result()


class _Counter:
    """Counts chunks as they come and words in the end."""

    def __init__(self, normalizer: normalizers.BertNormalizer) -> None:
        self._normalizer = normalizer
        self._pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self._chunks: Counter[str] = Counter()
        self._words: Counter[str] = Counter()
        self._error = 0
        self.documents = 0

    def count(self, text: str) -> None:
        """Count the chunks of ``text``; those that will hardly come again are split into words at once."""
        if any(character in text for character in DELETED_BREAKS):
            text = text.translate(_NO_BREAKS)
        chunks = text.split()
        unspaced = not text.isascii() and UNSPACED.search(text)
        if unspaced or max(map(len, chunks), default=0) > MAX_WORD_LENGTH:
            recurring: list[str] = []
            others: list[str] = []
            for chunk in chunks:
                (others if len(chunk) > MAX_WORD_LENGTH or UNSPACED.search(chunk) else recurring).append(chunk)
            chunks = recurring
            self._words.update(self._split(self._normalizer.normalize_str(" ".join(others))))
            self._prune(self._words)
        self._chunks.update(chunks)
        self._prune(self._chunks)

    def _split(self, normalized: str) -> list[str]:
        found = self._pre_tokenizer.pre_tokenize_str(normalized)
        return [word for word, _ in found if len(word) <= MAX_WORD_LENGTH]

    def _prune(self, counts: Counter[str]) -> None:
        """Drop the rarer half when there are too many."""
        if len(counts) > _MOST_CHUNKS:
            threshold = int(np.median(np.fromiter(counts.values(), np.int64, len(counts))))
            self._error += threshold
            for rare in [chunk for chunk, count in counts.items() if count <= threshold]:
                del counts[rare]

    def result(self) -> WordCounts:
        """Return the word counts; the counter must not be used any more."""
        words = self._words
        remaining = iter(self._chunks.items())
        while group := list(islice(remaining, 4096)):
            # None of these chunks has characters around which the normaliser puts spaces, so it leaves the joints alone.
            normalized = self._normalizer.normalize_str(" ".join(chunk for chunk, _ in group)).split(" ")
            for text, (_, count) in zip(normalized, group, strict=True):
                if text.isalnum():
                    words[text] += count
                else:
                    for word in self._split(text):
                        words[word] += count
        self._chunks.clear()
        return WordCounts(words, self.documents, self._error)


def _choose_pieces(words: Mapping[str, int], size: int, min_count: int) -> list[str]:
    """Return at most ``size`` entries: special tokens, single characters, then merges in the order of their making.

    Characters take at most half of the places; where merges do not fill the rest, as in Chinese, more characters do.
    """
    singles = _single_pieces(words)
    room = size - len(_SPECIAL)
    start = [*_SPECIAL, *singles[: room // 2]]
    vocabulary = _merge(_spellable(words, set(start)), start, size, min_count)
    known = set(vocabulary)
    spare = (piece for piece in singles if piece not in known)
    return vocabulary + list(islice(spare, size - len(vocabulary)))


def _single_pieces(words: Mapping[str, int]) -> list[str]:
    """Return the pieces of one character, the most frequent first, ties by code point."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        counts[word[0]] += count
        for character in word[1:]:
            counts[f"##{character}"] += count
    return sorted(counts, key=lambda piece: (-counts[piece], piece[-1], piece))


def _spellable(words: Mapping[str, int], pieces: set[str]) -> dict[str, int]:
    """Leave out the words that have a character without a piece: they will be ``[UNK]`` whatever is learnt from them."""
    return {
        word: count
        for word, count in words.items()
        if word[0] in pieces and all(f"##{character}" in pieces for character in word[1:])
    }


def _merge(words: Mapping[str, int], start: list[str], size: int, min_count: int) -> list[str]:
    """Let the library's trainer extend ``start`` by merges, to at most ``size`` entries."""
    if len(words) > _MOST_DISTINCT_WORDS_FED:
        frequent = sorted(words.items(), key=lambda item: (-item[1], item[0]))
        words = dict(frequent[:_MOST_DISTINCT_WORDS_FED])
    scale = min(1.0, _MOST_WORDS_FED / max(1, sum(words.values())))
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=max(1, round(min_count * scale)),
        special_tokens=start,
        show_progress=False,
    )
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token=SpecialTokens().unk))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.train_from_iterator(_repeated(words.items(), scale), trainer)
    ids = backend.get_vocab()
    return sorted(ids, key=lambda piece: ids[piece])


def _repeated(counts: Iterable[tuple[str, int]], scale: float) -> Iterator[str]:
    """Yield every word as often as it was counted, times ``scale``, in sequences of about a thousand words."""
    sequence: list[str] = []
    held = 0
    for word, count in counts:
        remaining = round(count * scale)
        while remaining > 0:
            taken = min(remaining, _WORDS_A_SEQUENCE)
            sequence.append(f"{word} " * taken)
            remaining -= taken
            held += taken
            if held >= _WORDS_A_SEQUENCE:
                yield "".join(sequence)
                sequence, held = [], 0
    yield "".join(sequence)

"""Shards: pieces of a corpus made by the workers, and how they are laid end to end.

A shard file begins with the SHA-256 of the rest, safetensors that hold ``token_ids``, ``word_starts`` (one byte a token),
``sentence_lengths`` in tokens, ``document_lengths`` in sentences and ``n_dropped``: the documents and sentences that came to no
token.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from bertsmith.corpus import store
from bertsmith.errors import DamagedError
from bertsmith.files import atomic_file, unreadable
from bertsmith.text.memo import MemoizedTokenizer
from bertsmith.text.sentences import split_sentences
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.words import chinese_word_starts

SentenceMode: TypeAlias = Literal["prose", "lines"]
WordMode: TypeAlias = Literal["tokenizer", "zh"]
ShardTask: TypeAlias = tuple[Path, list[str]]
Shard: TypeAlias = dict[str, npt.NDArray[Any]]
Tokenised: TypeAlias = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], npt.NDArray[np.bool_]]
Tokenise: TypeAlias = Callable[[list[str]], Tokenised]

_SENTENCES_AT_ONCE = 4096
_DIGEST_BYTES = 32
_NOTHING: Tokenised = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))


class ShardWriter:
    """Turns documents into shard files; each worker has its own, which remembers words."""

    def __init__(self, tokenizer: Tokenizer, sentences: SentenceMode, words: WordMode) -> None:
        self._sentences = sentences
        self._dtype = store.token_dtype(tokenizer.vocabulary_size)
        self._tokenise = _with_chinese_words(tokenizer) if words == "zh" else _with_own_words(tokenizer)

    def __call__(self, task: ShardTask) -> None:
        """Write the texts of documents as a shard to a path."""
        path, texts = task
        contents = save(self.make(texts))
        with atomic_file(path) as temporary:
            temporary.write_bytes(hashlib.sha256(contents).digest() + contents)

    def make(self, texts: list[str]) -> Shard:
        """Return the shard of these documents."""
        sentences: list[str] = []
        n_sentences = np.zeros(len(texts), dtype=np.int64)
        for index, text in enumerate(texts):
            own = split_sentences(text, self._sentences)
            n_sentences[index] = len(own)
            sentences += own
        pieces = [self._tokenise(sentences[i : i + _SENTENCES_AT_ONCE]) for i in range(0, len(sentences), _SENTENCES_AT_ONCE)]
        token_ids, lengths, word_starts = (np.concatenate(part) for part in zip(*pieces or [_NOTHING], strict=True))
        document_of = np.repeat(np.arange(len(texts)), n_sentences)
        document_lengths = np.bincount(document_of[lengths > 0], minlength=len(texts))
        return {
            "token_ids": token_ids.astype(self._dtype),
            "word_starts": word_starts.astype(np.uint8),
            "sentence_lengths": lengths[lengths > 0],
            "document_lengths": document_lengths[document_lengths > 0],
            "n_dropped": np.array([np.sum(document_lengths == 0), np.sum(lengths == 0)]),
        }


def _with_own_words(tokenizer: Tokenizer) -> Tokenise:
    """Words are what the tokenizer splits into WordPieces."""
    memoized = MemoizedTokenizer(tokenizer)
    starts = ~tokenizer.continuation

    def tokenise(sentences: list[str]) -> Tokenised:
        token_ids, lengths = memoized.token_ids(sentences)
        return token_ids, lengths, starts[token_ids]

    return tokenise


def _with_chinese_words(tokenizer: Tokenizer) -> Tokenise:
    """Words are what the Chinese segmenter finds."""

    def tokenise(sentences: list[str]) -> Tokenised:
        encodings = tokenizer.encode_many(sentences)
        # The first and the last token are [CLS] and [SEP].
        ids = [np.array(encoding.token_ids[1:-1], dtype=np.int64) for encoding in encodings]
        starts = [
            chinese_word_starts(text, encoding.offsets[1:-1]) for text, encoding in zip(sentences, encodings, strict=True)
        ]
        return np.concatenate(ids), np.array([len(part) for part in ids]), np.concatenate(starts)

    return tokenise


def read_shard(path: Path) -> Shard:
    """Read a shard; :class:`DamagedError` when it is not as it was written. It is removed then, to be made again."""
    try:
        contents = path.read_bytes()
    except FileNotFoundError:
        raise DamagedError(f"{path} is gone; run the same command again, which makes it anew") from None
    except OSError as error:
        raise unreadable(path, error) from error
    digest, rest = contents[:_DIGEST_BYTES], contents[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        path.unlink()
        raise DamagedError(f"{path} was damaged and is removed; run the same command again, which makes it anew")
    return load(rest)


def lay_end_to_end(
    paths: list[Path], directory: Path, vocabulary_size: int, advance: Callable[[float], None]
) -> dict[str, int]:
    """Write the arrays of a corpus into ``directory`` from its shards in order; return the counts for its manifest.

    One shard is in memory at a time. ``advance`` is told 1 for each shard.
    """
    n_dropped = np.zeros(2, dtype=np.int64)
    bits = np.zeros(0, dtype=np.uint8)
    with (
        _NpyFile(directory / store.TOKENS, store.token_dtype(vocabulary_size)) as tokens,
        _NpyFile(directory / store.WORD_STARTS, np.dtype("u1")) as word_starts,
        _NpyFile(directory / store.SENTENCE_OFFSETS, np.dtype("<i8")) as sentence_ends,
        _NpyFile(directory / store.DOCUMENT_OFFSETS, np.dtype("<i8")) as document_ends,
    ):
        sentence_ends.append(np.zeros(1))
        document_ends.append(np.zeros(1))
        for path in paths:
            shard = read_shard(path)
            document_ends.append(sentence_ends.length - 1 + np.cumsum(shard["document_lengths"]))
            sentence_ends.append(tokens.length + np.cumsum(shard["sentence_lengths"]))
            tokens.append(shard["token_ids"])
            bits = np.concatenate([bits, shard["word_starts"]])
            whole = len(bits) // 8 * 8
            word_starts.append(np.packbits(bits[:whole], bitorder="little"))
            bits = bits[whole:]
            n_dropped += shard["n_dropped"]
            advance(1)
        word_starts.append(np.packbits(bits, bitorder="little"))
    return {
        "n_documents": document_ends.length - 1,
        "n_sentences": sentence_ends.length - 1,
        "n_tokens": tokens.length,
        "n_dropped_documents": int(n_dropped[0]),
        "n_dropped_sentences": int(n_dropped[1]),
    }


class _NpyFile:
    """A one-dimensional ``.npy`` file written piece by piece, without knowing its length beforehand."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._file = path.open("wb")
        self.length = 0

    def __enter__(self) -> Self:
        try:
            self._write_header()
        except OSError:
            self._file.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()  # of the same size as before: NumPy leaves room for the first dimension to grow

    def append(self, array: npt.NDArray[Any]) -> None:
        self._file.write(array.astype(self._dtype, copy=False).data)
        self.length += len(array)

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, header)

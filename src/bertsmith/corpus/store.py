"""The corpus directory: tokenised text on disk, memory-mapped.

    tokens.npy            (tokens,)         token ids, uint16 when the vocabulary allows it, else uint32
    word_starts.npy       (tokens / 8,)     bits, little bit order: 1 where the token begins a word
    sentence_offsets.npy  (sentences + 1,)  int64, sentence i is tokens[offsets[i] : offsets[i + 1]]
    document_offsets.npy  (documents + 1,)  int64, document i is sentences offsets[i] up to offsets[i + 1]
    tokenizer/            the tokenizer that made the tokens
    manifest.json         counts, sources, settings, size and SHA-256 of every file

No sentence and no document is empty. Tokens carry no ``[CLS]`` and no ``[SEP]``.
"""

import os
from pathlib import Path
from tokenize import TokenError
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from bertsmith import files
from bertsmith.errors import DamagedError, MismatchError
from bertsmith.progress import SILENT, Progress
from bertsmith.text.tokenizer import Tokenizer

KIND = "corpus"
TOKENS, WORD_STARTS = "tokens.npy", "word_starts.npy"
SENTENCE_OFFSETS, DOCUMENT_OFFSETS = "sentence_offsets.npy", "document_offsets.npy"
TOKENIZER = "tokenizer"

TokenIds: TypeAlias = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


def token_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """Return the type of a corpus's tokens: two bytes where the vocabulary fits in them, else four."""
    return np.dtype("<u2") if vocabulary_size <= 1 << 16 else np.dtype("<u4")


class Corpus:
    """A corpus directory opened for reading; its arrays stay on the disk until they are read.

    tokens           (n_tokens,)         token ids
    sentence_offsets (n_sentences + 1,)  int64, in tokens
    document_offsets (n_documents + 1,)  int64, in sentences
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        """Map the arrays of ``path``; use :meth:`open`, which checks them."""
        self.path = path
        self.manifest = manifest
        self.n_documents = _count(path, manifest, "n_documents")
        self.n_sentences = _count(path, manifest, "n_sentences")
        self.n_tokens = _count(path, manifest, "n_tokens")
        self.vocabulary_size = _count(path, manifest, "vocabulary_size")
        self.tokenizer_digest = str(manifest.get("tokenizer_digest"))
        self.tokens = _map(path / TOKENS, token_dtype(self.vocabulary_size), self.n_tokens)
        self.sentence_offsets = _map_offsets(path / SENTENCE_OFFSETS, self.n_sentences, self.n_tokens)
        self.document_offsets = _map_offsets(path / DOCUMENT_OFFSETS, self.n_documents, self.n_sentences)
        self._word_starts = _map(path / WORD_STARTS, np.dtype("u1"), -(-self.n_tokens // 8))

    @classmethod
    def open(cls, path: str | os.PathLike[str], verify: bool = True, progress: Progress = SILENT) -> Self:
        """Open the corpus directory ``path``; ``verify`` reads every file once and compares digests.

        Raises:
            ArtifactError: ``path`` is no corpus.
            DamagedError: a file is missing, truncated or altered; the message names it.
        """
        directory = Path(path)
        manifest = files.read_manifest(directory, KIND)
        if verify:
            total = sum(entry["bytes"] for entry in manifest["files"].values())
            with progress.task(f"Checking {directory}", total, "bytes") as task:
                files.verify_manifest(directory, manifest, task.advance)
        return cls(directory, manifest)

    def sentence(self, index: int) -> TokenIds:
        """Return the token ids of sentence ``index``."""
        begin, end = self.sentence_offsets[index : index + 2]
        tokens: TokenIds = self.tokens[begin:end]
        return tokens

    def starts_word(self, token_indices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Say for each index into ``tokens`` whether the token there begins a word."""
        starts: npt.NDArray[np.bool_] = (self._word_starts[token_indices >> 3] >> (token_indices & 7) & 1).astype(np.bool_)
        return starts

    def tokenizer(self) -> Tokenizer:
        """Load the tokenizer that made this corpus.

        Raises:
            MismatchError: the tokenizer in the directory is another one.
        """
        tokenizer = Tokenizer.load(self.path / TOKENIZER)
        if tokenizer.digest != self.tokenizer_digest:
            raise MismatchError(
                f"{self.path / TOKENIZER} is not the tokenizer that made this corpus "
                f"(its digest is {tokenizer.digest}, the manifest says {self.tokenizer_digest}); build the corpus again"
            )
        return tokenizer


def describe(path: Path) -> dict[str, Any]:
    """Return what there is to know about the corpus directory ``path``, its first sentence included."""
    corpus = Corpus.open(path, verify=False)
    facts = {key: value for key, value in corpus.manifest.items() if key not in ("format", "files")}
    size = sum(file["bytes"] for file in corpus.manifest["files"].values())
    return {**facts, "bytes": size, "first_sentence": corpus.tokenizer().decode(corpus.sentence(0).tolist())}


def _count(path: Path, manifest: dict[str, Any], name: str) -> int:
    count = manifest.get(name)
    if not isinstance(count, int) or count < 1:
        raise DamagedError(f"{path / files.MANIFEST}: {name} is {count!r} where a positive number is expected")
    return count


def _map(path: Path, dtype: np.dtype[Any], length: int) -> npt.NDArray[Any]:
    """Memory-map the array in ``path``, which must have this type and length."""
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:
        raise DamagedError(f"{path} is missing, truncated or not a NumPy array: {error}") from None
    if array.dtype != dtype or array.shape != (length,):
        raise DamagedError(
            f"{path} holds {array.dtype} of shape {array.shape} where {files.MANIFEST} says {dtype} of shape ({length},)"
        )
    return array


def _map_offsets(path: Path, length: int, last: int) -> npt.NDArray[np.int64]:
    offsets: npt.NDArray[np.int64] = _map(path, np.dtype("<i8"), length + 1)
    if offsets[0] != 0 or offsets[-1] != last:
        raise DamagedError(f"{path} runs from {offsets[0]} to {offsets[-1]} where 0 to {last} is expected")
    return offsets

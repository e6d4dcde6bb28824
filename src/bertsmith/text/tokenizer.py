"""BERT's WordPiece tokenizer: a thin class over the ``tokenizers`` library."""

import hashlib
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bertsmith.arguments import check_text, converted, each, path_of, shown, whole_number
from bertsmith.arguments import texts as texts_of
from bertsmith.errors import ArtifactError, InputError
from bertsmith.text.specification import SURROGATE, AddedToken, Specification, canonical_vocabulary, with_special_tokens
from bertsmith.text.tokenizer_directory import read_specification, write_specification
from bertsmith.types import Encoding, PackedBatch

_Input = str | tuple[str, str]


class Tokenizer:
    """Text to WordPieces and back, equal to BERT's own tokenizer on any Unicode text.

    Lone surrogates, which no encoding can carry, are read as U+FFFD, which BERT's clean-up deletes.
    """

    def __init__(self, specification: Specification) -> None:
        self.specification = specification
        added = {token.content: token.id for token in specification.added}
        self._ids = specification.ids() | added
        self._backend = _build_backend(specification, self._ids)
        self._model = self._backend.model
        tokens = list(specification.vocabulary[: specification.size])
        tokens += [""] * (specification.size - len(tokens))
        for content, index in added.items():
            tokens[index] = content
        self.tokens: list[str] = tokens
        """The tokens by id; empty where no text maps to the id."""
        special = specification.special
        self.pad_id: int = self._ids[special.pad]
        self.unk_id: int = self._ids[special.unk]
        self.cls_id: int = self._ids[special.cls]
        self.sep_id: int = self._ids[special.sep]
        self.mask_id: int | None = None if special.mask is None else self._ids[special.mask]

    def __repr__(self) -> str:
        letters = "lower case" if self.lowercase else "cased"
        added = len(self.specification.added) - len(self.special_ids)
        return f"<{type(self).__name__}: {self.vocabulary_size:,} tokens, {letters}{f', {added} added' if added else ''}>"

    def __reduce__(self) -> tuple[type[Self], tuple[Specification]]:
        return type(self), (self.specification,)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a directory, a ``tokenizer.json`` or a bare ``vocab.txt`` (uncased).

        Raises:
            ArtifactError: nothing there, not a BERT tokenizer, special tokens missing, or damaged.
        """
        return cls(read_specification(path_of(path)))

    @classmethod
    def build(
        cls, vocabulary: Sequence[str], *, lowercase: bool, strip_accents: bool | None = None, split_chinese: bool = True
    ) -> Self:
        """Make a tokenizer from its entries in order of id; ``strip_accents`` None means the same as ``lowercase``.

        Raises:
            ArtifactError: the vocabulary lacks a special token.
            InputError: an entry is no text.
        """
        entries = canonical_vocabulary(list(texts_of(vocabulary, "vocabulary")))
        return cls(with_special_tokens(Specification(entries, lowercase, strip_accents, split_chinese), "vocabulary"))

    def save(self, directory: str | Path, max_length: int = 512) -> None:
        """Write ``vocab.txt``, ``tokenizer.json`` and ``tokenizer_config.json``, which transformers opens as they are.

        ``max_length`` is the number of positions of the model, which transformers truncates to.
        """
        write_specification(self.specification, path_of(directory), whole_number(max_length, "max_length", 1))

    def encode(self, text: str, pair: str | None = None) -> Encoding:
        """Return ``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]``.

        Raises:
            InputError: as of all methods that take texts, one is no text; names which.
        """
        check_text(text, "text")
        if pair is not None:
            check_text(pair, "pair")
        return _encoding(self._encode([text if pair is None else (text, pair)])[0])

    def encode_many(self, texts: Sequence[_Input]) -> list[Encoding]:
        """Encode texts and pairs, on all cores."""
        return [_encoding(found) for found in self._encode(texts)]

    def pack(self, texts: Sequence[_Input]) -> PackedBatch:
        """Encode at least one text or pair into a batch laid end to end."""
        encodings = self._encode(texts, offsets=False)
        if not encodings:
            raise InputError("texts: there is none; a batch has one text or more")
        lengths = np.array([len(found) for found in encodings])
        token_ids = np.fromiter(chain.from_iterable(found.ids for found in encodings), np.int64, lengths.sum())
        segment_ids = np.fromiter(chain.from_iterable(found.type_ids for found in encodings), np.int64, lengths.sum())
        return PackedBatch.from_arrays(token_ids, segment_ids, lengths)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text without ``[CLS]`` and ``[SEP]``."""
        given = list(each(texts, "texts"))
        if set(map(type, given)) != {str}:  # the library would read a pair as one text
            given = list(texts_of(given, "texts"))
        return [found.ids for found in self._encode(given, special=False, offsets=False)]

    def token_ids_and_starts(self, text: str) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Return the ids of ``text`` without ``[CLS]`` and ``[SEP]``, and the character at which each token begins."""
        check_text(text, "text")
        found = self._encode([text], special=False)[0]
        token_ids = np.array(found.ids, np.uint32)
        return token_ids, np.fromiter((start for start, _ in found.offsets), np.int64, len(token_ids))

    def word_ids(self, word: str) -> list[int]:
        """Return the ids of a word as BERT's clean-up leaves it: without white space, punctuation, capitals if those go."""
        check_text(word, "word")
        return [token.id for token in self._model.tokenize(word)]

    def normalise(self, text: str) -> str:
        """Return text without the capitals and accents that make no difference here, so that equal words are equal strings.

        Of control characters and blanks nothing is promised.
        """
        check_text(text, "text")
        if text.isascii():  # many times faster
            return (text.lower() if self.lowercase else text).strip()
        with _panics_as_errors():
            normalised: str = self._normalizer.normalize_str(SURROGATE.sub("\ufffd", text))
        return normalised.strip()

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of the tokens, special ones left out.

        Raises:
            InputError: one is no id of the vocabulary; names which.
        """
        ids = list(converted(token_ids, self._id_of, "token_ids"))
        with _panics_as_errors():
            return self._backend.decode(ids, skip_special_tokens=True)

    def _id_of(self, value: Any) -> int:
        try:
            token_id = operator.index(value)
        except TypeError:
            raise InputError(f"a token's id is needed here, not {shown(value)}") from None
        if not 0 <= token_id < self.vocabulary_size:
            raise InputError(f"there is no token {token_id} in the vocabulary of {self.vocabulary_size:,} tokens")
        return token_id

    def id(self, token: str) -> int:
        """Return the id of ``token``.

        Raises:
            InputError: it is not in the vocabulary.
        """
        check_text(token, "token")
        if token not in self._ids:
            raise InputError(f"{token!r} is not in the vocabulary of {self.vocabulary_size:,} tokens")
        return self._ids[token]

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, V."""
        return len(self.tokens)

    @property
    def special_ids(self) -> frozenset[int]:
        """The ids of the pad, unknown, first, separator and mask tokens."""
        return frozenset(self._ids[name] for name in self.specification.special.names())

    @cached_property
    def continuation(self) -> npt.NDArray[np.bool_]:
        """(V,) whether the token continues a word, i.e. begins with ``##``."""
        special = self.special_ids
        return np.array([token.startswith("##") and index not in special for index, token in enumerate(self.tokens)])

    @property
    def lowercase(self) -> bool:
        """Whether text is lower-cased."""
        return self.specification.lowercase

    @property
    def strip_accents(self) -> bool:
        """Whether accents are removed."""
        explicit = self.specification.strip_accents
        return self.lowercase if explicit is None else explicit

    @property
    def split_chinese(self) -> bool:
        """Whether every Chinese character is a word."""
        return self.specification.split_chinese

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything that determines the tokenisation, whatever files it came from."""
        facts = {
            "tokens": self.tokens,
            "switches": [self.lowercase, self.strip_accents, self.split_chinese, self.specification.clean],
            "max_word_length": self.specification.max_word_length,
            "special": self.specification.special.names(),
            "added": [[getattr(token, name) for name in token.__slots__] for token in self.specification.added],
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @cached_property
    def _normalizer(self) -> normalizers.Normalizer:
        """The backend's, without the blanks that it puts around Chinese characters."""
        return _normalizer(self.specification, split_chinese=False)

    def _encode(self, texts: Sequence[_Input], *, special: bool = True, offsets: bool = True) -> list[tokenizers.Encoding]:
        given = list(each(texts, "texts"))
        encode = self._backend.encode_batch if offsets else self._backend.encode_batch_fast
        with _panics_as_errors():
            try:
                return encode(given, add_special_tokens=special)
            except TypeError:  # the library's word for a lone surrogate, and for what is no text
                return encode(list(converted(given, _without_surrogates, "texts")), add_special_tokens=special)


def _without_surrogates(text: Any) -> _Input:
    match text:
        case str():
            return SURROGATE.sub("\ufffd", text)
        case (str() as first, str() as second):
            return SURROGATE.sub("\ufffd", first), SURROGATE.sub("\ufffd", second)
    raise InputError(f"a text or a pair of texts is needed here, not {shown(text)}")


def _encoding(found: tokenizers.Encoding) -> Encoding:
    return Encoding(found.tokens, found.ids, found.type_ids, found.offsets, found.word_ids)


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Turn a panic inside the library, a BaseException that ``except Exception`` lets through, into an error."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ArtifactError(f"the tokenizer cannot be used: {error}") from None


def _build_backend(specification: Specification, ids: Mapping[str, int]) -> tokenizers.Tokenizer:
    """Build the library's tokenizer from checked values; ``ids`` has those of the added tokens too."""
    special = specification.special
    with _panics_as_errors():
        model = models.WordPiece(
            specification.ids(), unk_token=special.unk, max_input_chars_per_word=specification.max_word_length
        )
        backend = tokenizers.Tokenizer(model)
        backend.normalizer = _normalizer(specification, split_chinese=specification.split_chinese)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        for token in specification.added:
            _add(backend, token)
        cls, sep = ((name, ids[name]) for name in (special.cls, special.sep))
        backend.post_processor = processors.BertProcessing(sep, cls)
    return backend


def _normalizer(specification: Specification, *, split_chinese: bool) -> normalizers.Normalizer:
    return normalizers.BertNormalizer(
        clean_text=specification.clean,
        handle_chinese_chars=split_chinese,
        strip_accents=specification.strip_accents,
        lowercase=specification.lowercase,
    )


def _add(backend: tokenizers.Tokenizer, token: AddedToken) -> None:
    library_token = tokenizers.AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=token.special,
    )
    (backend.add_special_tokens if token.special else backend.add_tokens)([library_token])
    if backend.token_to_id(token.content) != token.id:
        raise ArtifactError(f"the added token {token.content!r} has the id {token.id}, which does not follow the vocabulary")

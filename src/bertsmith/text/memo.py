"""The tokenizer for a whole corpus: what was seen before is looked up instead of tokenised again.

What BERT makes of a chunk between white space does not depend on its neighbours, and a language repeats its chunks: so a
dictionary from chunk to ids does most of the work. A new chunk of ASCII falls into words and punctuation marks, which
repeat still more and have a dictionary of their own. Only chunks with other characters pass through the whole tokenizer.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from bertsmith.text.chunks import DELETED_BREAKS, UNSPACED
from bertsmith.text.tokenizer import Tokenizer

# An end of a sentence is a chunk of its own, with an id of its own. Its character is one that BERT deletes.
_END, _END_ID = "\x00", 0xFFFFFFFF
_END_BYTES = _END_ID.to_bytes(4, "little")
_UNUSUAL = re.compile(f"[{_END}{DELETED_BREAKS}]")
_DELETED = "\x01"  # BERT deletes this one as well, and str.split does not break at it
_ASCII_PART = re.compile(r"[A-Za-z0-9]+|.", re.DOTALL)
_LONGEST_CHUNK = 48
_CHUNKS_A_CALL = 512
_GROUP = 256  # sentences at a time: what is made of them stays in the processor's cache
_ID_BYTES = 4


class MemoizedTokenizer:
    """Same ids as :meth:`Tokenizer.token_ids`, many times faster.

    Memory is bounded by ``capacity`` chunks of some 200 bytes each, and as many words; when they are reached, it starts afresh.
    """

    def __init__(self, tokenizer: Tokenizer, capacity: int = 1 << 19) -> None:
        self._tokenizer = tokenizer
        self._capacity = capacity
        self._memo = {_END: _END_BYTES}
        self._words = _Words(tokenizer)
        specification = tokenizer.specification
        self._added = [token.content for token in specification.added]
        self._chunks_independent = specification.clean and all(
            not (token.normalized or token.lstrip or token.rstrip)
            and token.content.split() == [token.content]
            and not {_END, _DELETED} & set(token.content)
            for token in specification.added
        )

    def token_ids(self, sentences: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Return the ids of all sentences end to end, without ``[CLS]`` and ``[SEP]``, and each sentence's length."""
        if not self._chunks_independent:
            ids = self._tokenizer.token_ids(sentences)
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            return np.fromiter(chain.from_iterable(ids), np.uint32, lengths.sum()), lengths
        groups = (sentences[at : at + _GROUP] for at in range(0, len(sentences), _GROUP))
        marked_ids = np.frombuffer(b"".join([self._look_up(_split(group)) for group in groups]), np.uint32)
        is_end = marked_ids == _END_ID
        return marked_ids[~is_end], np.diff(np.flatnonzero(is_end), prepend=-1) - 1

    def _look_up(self, chunks: Sequence[str]) -> bytes:
        """Return the ids of all chunks end to end; the memo learns those that it does not know and that may come again."""
        memo = self._memo
        missing = set(chunks).difference(memo)
        plain = [chunk for chunk in missing if chunk.isascii() and chunk.isprintable()]
        if any(content in _END.join(plain) for content in self._added):
            plain = [chunk for chunk in plain if not any(content in chunk for content in self._added)]
        memo.update(zip(plain, self._tokenize_ascii(plain), strict=True))
        others = missing.difference(plain)
        memo.update(zip(others, self._tokenize_any(list(others)), strict=True))
        ids = b"".join(map(memo.__getitem__, chunks))
        for chunk in missing:
            if len(chunk) > _LONGEST_CHUNK or (not chunk.isascii() and UNSPACED.search(chunk)):
                del memo[chunk]
        if len(memo) > self._capacity:
            self._memo = {_END: _END_BYTES}
        return ids

    def _tokenize_ascii(self, chunks: Sequence[str]) -> list[bytes]:
        """Return the ids of each chunk: of ASCII, every character that is neither letter nor digit is a word to BERT."""
        if len(self._words) > self._capacity:
            self._words = _Words(self._tokenizer)
        text = _END.join([*chunks, ""])
        parts = _ASCII_PART.findall(text.lower() if self._tokenizer.lowercase else text)
        # The end is found where it begins, since no id before it has a last byte of 255.
        return b"".join(map(self._words.__getitem__, parts)).split(_END_BYTES)[:-1]

    def _tokenize_any(self, chunks: Sequence[str]) -> Iterator[bytes]:
        """Yield the ids of each chunk: many are tokenised as one text, and offsets tell whose each token is."""
        for start in range(0, len(chunks), _CHUNKS_A_CALL):
            group = chunks[start : start + _CHUNKS_A_CALL]
            starts = np.cumsum([0, *(len(chunk) + 1 for chunk in group)])
            token_ids, token_starts = self._tokenizer.token_ids_and_starts(" ".join(group))
            owners = np.searchsorted(starts, token_starts, side="right")
            bounds = _ID_BYTES * np.searchsorted(owners, np.arange(1, len(group) + 2))
            data = token_ids.tobytes()
            yield from (data[begin:end] for begin, end in pairwise(bounds))


class _Words(dict[str, bytes]):
    """The ids of words, made when asked for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        specification = tokenizer.specification
        for word, index in specification.ids().items():
            if len(word) <= specification.max_word_length:  # a word in the vocabulary is one token
                self[word] = array("I", [index]).tobytes()
        self[_END] = _END_BYTES
        self._word_ids = tokenizer.word_ids

    def __missing__(self, word: str) -> bytes:
        ids = array("I", self._word_ids(word)).tobytes()
        if len(word) <= _LONGEST_CHUNK:
            self[word] = ids
        return ids


def _split(sentences: Sequence[str]) -> list[str]:
    """Split sentences into chunks between white space, each sentence followed by its end."""
    text = f" {_END} ".join([*sentences, ""])
    if text.count(_END) > len(sentences) or any(character in text for character in DELETED_BREAKS):
        text = f" {_END} ".join([*(_UNUSUAL.sub(_DELETED, sentence) for sentence in sentences), ""])
    return text.split()

"""The tokenizer for a whole corpus: chunks of text seen before are looked up instead of tokenised again.

What BERT makes of a chunk between white space does not depend on its neighbours, and a language repeats its chunks: so a
dictionary from chunk to ids does most of the work.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import cast

import numpy as np
import numpy.typing as npt

from bertsmith.text.chunks import DELETED_BREAKS, UNSPACED
from bertsmith.text.tokenizer import Tokenizer

_UNUSUAL = re.compile(f"[{DELETED_BREAKS}]")
_LONGEST_CHUNK = 48
_CHUNKS_A_CALL = 512
_GROUP = 256  # sentences at a time: what is made of them stays in the processor's cache
_ID_BYTES = 4


class MemoizedTokenizer:
    """Same ids as :meth:`Tokenizer.token_ids`, several times faster.

    Memory is bounded by ``capacity`` chunks of some 200 bytes each; when they are reached, it starts afresh.
    """

    def __init__(self, tokenizer: Tokenizer, capacity: int = 1 << 19) -> None:
        self._tokenizer = tokenizer
        self._capacity = capacity
        self._memo: dict[str, bytes] = {}
        specification = tokenizer.specification
        self._chunks_independent = specification.clean and all(
            not (token.normalized or token.lstrip or token.rstrip) and token.content.split() == [token.content]
            for token in specification.added
        )

    def token_ids(self, sentences: Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Return the ids of all sentences end to end, without ``[CLS]`` and ``[SEP]``, and each sentence's length."""
        if not self._chunks_independent:
            ids = self._tokenizer.token_ids(sentences)
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            return np.fromiter(chain.from_iterable(ids), np.uint32, lengths.sum()), lengths
        groups = [self._group(sentences[at : at + _GROUP]) for at in range(0, len(sentences), _GROUP)]
        data = b"".join([data for data, _ in groups])
        return np.frombuffer(data, np.uint32), np.concatenate([np.zeros(0, np.int64), *(lengths for _, lengths in groups)])

    def _group(self, sentences: Sequence[str]) -> tuple[bytes, npt.NDArray[np.int64]]:
        """Return the ids of a few sentences as bytes, and each sentence's length."""
        split = _split(sentences)
        chunks = list(chain.from_iterable(split))
        values = self._look_up(chunks)
        ends = np.zeros(len(chunks) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, values), np.int64, len(chunks)) // _ID_BYTES, out=ends[1:])
        bounds = np.zeros(len(split) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, split), np.int64, len(split)), out=bounds[1:])
        return b"".join(values), np.diff(ends[bounds])

    def _look_up(self, chunks: Sequence[str]) -> list[bytes]:
        """Return the ids of each chunk; the memo learns those that it does not know and that may come again."""
        found = list(map(self._memo.get, chunks))
        if None in found:
            missing = [index for index, value in enumerate(found) if value is None]
            new = list(dict.fromkeys(chunks[index] for index in missing))
            fresh = dict(zip(new, self._tokenize(new), strict=True))
            for index in missing:
                found[index] = fresh[chunks[index]]
            self._learn(fresh)
        return cast(list[bytes], found)

    def _learn(self, fresh: dict[str, bytes]) -> None:
        for chunk, value in fresh.items():
            if len(chunk) <= _LONGEST_CHUNK and not UNSPACED.search(chunk):
                if len(self._memo) >= self._capacity:
                    self._memo.clear()
                self._memo[chunk] = value

    def _tokenize(self, chunks: Sequence[str]) -> Iterable[bytes]:
        """Return the ids of each chunk: many are tokenised as one text, and offsets tell whose each token is."""
        for start in range(0, len(chunks), _CHUNKS_A_CALL):
            group = chunks[start : start + _CHUNKS_A_CALL]
            starts = np.cumsum([0, *(len(chunk) + 1 for chunk in group)])
            token_ids, token_starts = self._tokenizer.token_ids_and_starts(" ".join(group))
            owners = np.searchsorted(starts, token_starts, side="right")
            bounds = _ID_BYTES * np.searchsorted(owners, np.arange(1, len(group) + 2))
            data = token_ids.tobytes()
            yield from (data[begin:end] for begin, end in pairwise(bounds))


def _split(sentences: Sequence[str]) -> list[list[str]]:
    """Split sentences at white space, all but those in which BERT and Python disagree what that is."""
    text = "\n".join(sentences)
    if any(character in text for character in DELETED_BREAKS):
        return [[sentence] if _UNUSUAL.search(sentence) else sentence.split() for sentence in sentences]
    return [sentence.split() for sentence in sentences]

"""Where words are in text: between blanks and marks, and in Chinese, which does not part them."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

_SURROGATE = re.compile("[\ud800-\udfff]")
_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_CHARACTER = re.compile(r"\S")
# A Chinese character; letters and digits, also with a mark between two of them (don't, U.S, 3.5, e-mail); or a mark.
_WORD = re.compile(rf"[{_CHINESE}]|[^\W{_CHINESE}]+(?:[-'’.,&/][^\W{_CHINESE}]+)*|\S")


def is_chinese(character: str) -> bool:
    """Say whether this is one Chinese character."""
    return re.fullmatch(f"[{_CHINESE}]", character) is not None


def word_spans(text: str, *, characters: bool = False) -> Iterator[tuple[int, int]]:
    """Yield the spans of the words of raw text: words and marks, every Chinese character alone; or of every character."""
    return (match.span() for match in (_CHARACTER if characters else _WORD).finditer(text))


def chinese_word_starts(text: str, offsets: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Return for each token, given by its character span in ``text``, whether it begins a word of the segmenter's.

    Whole-word masking groups a token that does not begin a word with the one before it (Cui et al., 2021). Tokens without
    text, such as ``[CLS]`` with its span (0, 0), and a second token for the same character begin none.
    """
    import rjieba  # reads its dictionary when imported

    begins = np.zeros(len(text) + 1, np.bool_)
    begins[[start for _, start, _ in rjieba.tokenize(_SURROGATE.sub("\ufffd", text))]] = True
    spans = np.array(offsets, np.int64).reshape(-1, 2)
    starts = np.where(spans[:, 1] > spans[:, 0], spans[:, 0], -1)
    found: npt.NDArray[np.bool_] = begins[starts] & (starts >= 0) & (np.diff(starts, prepend=-1) != 0)
    return found

"""Where words begin in Chinese text, which does not part them."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_SURROGATE = re.compile("[\ud800-\udfff]")


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

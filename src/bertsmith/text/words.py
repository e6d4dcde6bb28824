"""Where words are in text: between blanks and marks, and in Chinese, which does not part them."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

_SURROGATE = re.compile("[\ud800-\udfff]")
_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_CHARACTER = re.compile(r"\S")
# Neither seen nor written with: zero-width blanks, marks of direction, control characters.
_INVISIBLE = "\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"


@cache
def is_chinese(character: str) -> bool:
    """Say whether this is one Chinese character."""
    return re.fullmatch(f"[{_CHINESE}]", character) is not None


def word_spans(text: str, *, characters: bool = False) -> Iterator[tuple[int, int]]:
    """Yield the spans of the words of raw text, or of every character.

    Words are much as in the Penn Treebank, CoNLL's and Universal Dependencies' English: marks stand alone, and so does what
    English contracts (Smith 's, do n't); whole are numbers (3,000.5), hyphenated words, abbreviations of letters (U.S.),
    addresses, and an emoji with all that modifies it. Every Chinese character is a word. Scripts without blanks between
    words, such as Thai, are parted at blanks and marks alone.
    """
    return (match.span() for match in (_CHARACTER if characters else _word()).finditer(text))


def search_terms(text: str) -> list[str]:
    """Return what a text is found by: its words in lower case, of Chinese every character and every two in a row."""
    terms: list[str] = []
    chinese_until = -1
    for start, end in word_spans(text):
        word = text[start:end].casefold()
        if any(character.isalnum() for character in word):
            terms.append(word)
        if is_chinese(text[start]):
            if start == chinese_until:
                terms.append(text[start - 1 : end])
            chinese_until = end
    return terms


@cache
def _word() -> re.Pattern[str]:
    marks = _combining_marks()
    letter = rf"[^\W{_CHINESE}]"
    contracted = rf"(?:['’](?:s|re|ve|ll|d|m)(?!{letter}))"
    negation = rf"(?:n['’]t(?!{letter}))"
    run = rf"(?:(?!{negation}){letter}[{marks}]*)+"
    return re.compile(
        rf"[{_CHINESE}][{marks}]*"
        rf"|(?:https?://|www\.)[!-~]*[A-Za-z0-9/]"
        rf"|(?:[A-Za-z]\.){{2,}}(?!{letter})"
        rf"|{contracted}|{negation}"
        rf"|{run}(?:(?:(?!{contracted})[-‐‑'’.&@]|(?<=\d)[,:/](?=\d)){run})*"
        r"|\.{2,}|-{2,}|[\U0001f1e6-\U0001f1ff]{2}"
        rf"|[^\s{_INVISIBLE}](?:[{marks}]|(?<=\u200d)[^\w\s])*",
        re.IGNORECASE,
    )


def segmented(text: str) -> list[str]:
    """Return the words of raw text without marks; in text with Chinese characters, as the segmenter parts them."""
    if any(map(is_chinese, text)):
        import rjieba  # reads its dictionary when imported

        words = rjieba.cut(_SURROGATE.sub("\ufffd", text))
    else:
        words = [text[start:end] for start, end in word_spans(text)]
    return [word for word in words if any(map(str.isalnum, word))]


def _combining_marks() -> str:
    """Return as a class of ``re`` what belongs to the character before it: accents, vowel signs, joiners, skin tones."""
    planes = (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0))
    found = [chr(code) for code in planes if unicodedata.category(chr(code))[0] == "M"]
    return "".join(found) + "\xad\u200c\u200d\U0001f3fb-\U0001f3ff"


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

"""Which language a text is in, as far as its commonest words and its script say without doubt."""

import re
from collections.abc import Iterable

_ENGLISH = frozenset(
    ("the", "of", "and", "to", "in", "is", "that", "it", "was", "for", "on", "with", "as", "his", "he", "be", "at", "by")
)
_LEAST_ENGLISH, _LEAST_KINDS, _LEAST_CHINESE, _MOST_KANA, _LEAST = 0.1, 6, 0.5, 0.05, 20
_CHINESE, _KANA, _WORD = re.compile("[\u4e00-\u9fff]"), re.compile("[\u3040-\u30ff]"), re.compile("[^\\W\\d_]+")


def language_of(texts: Iterable[str]) -> str | None:
    """Return ``en``, ``zh``, or None for any other language and for too little text to tell."""
    text = " ".join(texts)
    words = _WORD.findall(text)
    n_letters, n_kana = sum(map(len, words)), len(_KANA.findall(text))
    if len(_CHINESE.findall(text)) > max(_LEAST, _LEAST_CHINESE * n_letters) and n_kana <= _MOST_KANA * n_letters:
        return "zh"
    english = [word for word in map(str.lower, words) if word in _ENGLISH]
    is_english = len(english) > max(_LEAST, _LEAST_ENGLISH * len(words)) and len(set(english)) >= _LEAST_KINDS
    return "en" if is_english else None

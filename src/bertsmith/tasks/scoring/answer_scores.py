"""Scores of extracted answers, as the published evaluations of SQuAD, CMRC 2018 and DRCD define them, and as the latter for
other scripts without blanks.

A predicted answer is compared with every gold answer of its question and the best comparison counts. No gold answer means
that the context holds none: then the empty prediction is right, and any other wrong. All scores are from 0 to 1.
"""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Literal, TypeVar

T = TypeVar("T")
Scorer = Literal["squad", "chinese", "characters"]
"""How answers are compared: by words as SQuAD does, by Chinese characters as CMRC 2018 does, or by the characters of any script
that has no blanks between words."""

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
# What CMRC 2018 takes away before it compares. Other marks, among them the ASCII comma and full stop, it keeps.
_WITHOUT_CHINESE_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHINESE_CHARACTER = re.compile(r"([\u4e00-\u9fa5])")
# Where the Penn Treebank parts what is written together: marks, a comma before anything but a digit, dots in a row, the
# full stop at the end, quotation marks and English contractions.
_TREEBANK_TOKEN = re.compile(r"[;@#$%&?!()\[\]{}<>\"«»“”‘„]|,(?!\d)|\.{2,}|(?<!\.)\.$|n't\b|'(?:(?:s|m|d|ll|re|ve)\b|(?!\w))")
_IDEOGRAPHS = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Other scripts without blanks between words: kana; Thai, Lao, Tibetan and Burmese, which follow each other; Khmer; those of
# Southeast Asia's islands and hills; Yi.
_OTHERS = (
    r"\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\u0e00-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\u1780-\u17ff"
    r"\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9df\ua000-\ua4cf"
)
_OTHER = re.compile(f"[{_OTHERS}]")
_WITHOUT_BLANKS = re.compile(f"([{_IDEOGRAPHS}{_OTHERS}])")
# Chinese answers may hold a name in kana; in Japanese ones they are far more.
_MOST_OTHERS = 0.05


def normalise(text: str) -> str:
    """Return the text as SQuAD compares it: lower case, without ASCII punctuation and English articles, single spaces.

    Source: the evaluation of SQuAD 1.1 (Rajpurkar et al., 2016, section 6.1).
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(predicted: str, golds: Sequence[str]) -> float:
    """Return 1 when the normalised prediction is one of the normalised golds, else 0.

    Golds of which normalising leaves nothing do not count, as in SQuAD 2.0 (Rajpurkar et al., 2018).
    """
    return _best(normalise(predicted), [normalise(gold) for gold in golds], _equal)


def f1(predicted: str, golds: Sequence[str]) -> float:
    """Return the best F1 between the words of the normalised prediction and of a gold, both as bags with counts.

    Golds of which normalising leaves nothing do not count, as in SQuAD 2.0.
    """
    return _best(normalise(predicted).split(), [normalise(gold).split() for gold in golds], _bag_f1)


def chinese_exact_match(predicted: str, golds: Sequence[str]) -> float:
    """Return 1 when prediction and a gold agree in lower case and without punctuation (CMRC 2018, Cui et al., 2019)."""
    return _best(_without_punctuation(predicted), [_without_punctuation(gold) for gold in golds], _equal)


def chinese_f1(predicted: str, golds: Sequence[str]) -> float:
    """Return the best F1 by the longest run of segments that prediction and a gold share (CMRC 2018, Cui et al., 2019).

    The published "longest common subsequence" is in fact this unbroken run. Segments are single Chinese characters, and the
    words of what stands between them. For those words the official script calls ``nltk.word_tokenize``; here the rules of
    the Penn Treebank for punctuation and contractions part them. The two differ on some English prose: sentence ends inside
    an answer, opening single quotation marks and words like "cannot" are not parted here.
    """
    return _best(_segments(predicted), [_segments(gold) for gold in golds], _run_f1)


def characters_exact_match(predicted: str, golds: Sequence[str]) -> float:
    """Return 1 when prediction and a gold agree in lower case and without marks of any script."""
    return _best(_without_marks(predicted), [_without_marks(gold) for gold in golds], _equal)


def characters_f1(predicted: str, golds: Sequence[str]) -> float:
    """Return the best F1 as :func:`chinese_f1`, with a segment for each character of any script without blanks."""

    def segments(text: str) -> list[str]:
        return _parted(_without_marks(text), _WITHOUT_BLANKS)

    return _best(segments(predicted), [segments(gold) for gold in golds], _run_f1)


SCORERS: dict[Scorer, tuple[Callable[[str, Sequence[str]], float], Callable[[str, Sequence[str]], float]]] = {
    "squad": (exact_match, f1),
    "chinese": (chinese_exact_match, chinese_f1),
    "characters": (characters_exact_match, characters_f1),
}
"""Exact match and F1 under each scorer."""
SCORED_BY: dict[Scorer, str] = {
    "squad": "by words, as SQuAD's scorer does",
    "chinese": "by Chinese characters, as CMRC's scorer does",
    "characters": "by characters, those of scripts without blanks each by itself",
}
"""What each scorer compares."""


def usual_scorer(texts: Sequence[str]) -> Scorer:
    """Return the scorer for answers like these: by words unless most letters are of scripts without blanks between words."""
    text = "".join(texts)
    n_letters = sum(character.isalpha() or bool(_OTHER.match(character)) for character in text)
    n_without_blanks, n_others = len(_WITHOUT_BLANKS.findall(text)), len(_OTHER.findall(text))
    if 2 * n_without_blanks <= n_letters:
        return "squad"
    return "characters" if n_others > _MOST_OTHERS * n_without_blanks else "chinese"


def best_threshold(
    scores: Sequence[float], right_if_answered: Sequence[float], right_if_not: Sequence[float]
) -> tuple[float, float]:
    """Return the threshold of the no-answer score that serves best, and the mean score that it gives (SQuAD 2.0).

    A question is answered where its no-answer score is at most the threshold. Among equally good thresholds the least is
    returned; it is one of the scores, or just below all of them when no question is better answered.

    Args:
        scores: each question's no-answer score, finite; at least one question.
        right_if_answered: what each question scores with its answer given.
        right_if_not: what it scores with none.
    """
    questions = sorted(zip(scores, right_if_answered, right_if_not, strict=True))
    total = best = math.fsum(right_if_not)
    threshold = math.nextafter(questions[0][0], -math.inf)
    for score, tied in groupby(questions, key=lambda question: question[0]):
        total += math.fsum(answered - unanswered for _, answered, unanswered in tied)
        if total > best:
            best, threshold = total, score
    return threshold, best / len(questions)


def _best(predicted: T, golds: Sequence[T], score: Callable[[T, T], float]) -> float:
    """Return the best score over the golds that are not empty; without any, whether the prediction is empty."""
    return max((score(predicted, gold) for gold in golds if gold), default=float(not predicted))


def _equal(predicted: str, gold: str) -> float:
    return float(predicted == gold)


def _bag_f1(predicted: list[str], gold: list[str]) -> float:
    shared = (Counter(predicted) & Counter(gold)).total()
    return 2 * shared / (len(predicted) + len(gold))


def _run_f1(predicted: list[str], gold: list[str]) -> float:
    return 2 * _longest_shared_run(predicted, gold) / (len(predicted) + len(gold))


def _longest_shared_run(first: list[str], second: list[str]) -> int:
    longest = 0
    ending_at = [0] * (len(second) + 1)  # the shared run that ends with the last segment of `first` so far and this of `second`
    for segment in first:
        ending_at = [0, *(run + 1 if segment == other else 0 for run, other in zip(ending_at, second, strict=False))]
        longest = max(longest, *ending_at)
    return longest


def _without_punctuation(text: str) -> str:
    return text.lower().strip().translate(_WITHOUT_CHINESE_PUNCTUATION)


def _without_marks(text: str) -> str:
    kept = (character for character in _without_punctuation(text) if not unicodedata.category(character).startswith("P"))
    return "".join(kept)


def _segments(text: str) -> list[str]:
    return _parted(_without_punctuation(text), _CHINESE_CHARACTER)


def _parted(text: str, character: re.Pattern[str]) -> list[str]:
    """Return the characters that the pattern captures, each by itself, and the words of what stands between them."""
    segments: list[str] = []
    for piece in character.split(text):
        segments += _TREEBANK_TOKEN.sub(r" \g<0> ", piece).split()
    return segments

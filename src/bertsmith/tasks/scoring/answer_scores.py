"""Scores of extracted answers, as the published evaluations of SQuAD, CMRC 2018 and DRCD define them.

A predicted answer is compared with every gold answer of its question and the best comparison counts. No gold answer means
that the context holds none: then the empty prediction is right, and any other wrong. All scores are from 0 to 1.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

T = TypeVar("T")

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
# What CMRC 2018 takes away before it compares. Other marks, among them the ASCII comma and full stop, it keeps.
_WITHOUT_CHINESE_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHINESE_CHARACTER = re.compile(r"([\u4e00-\u9fa5])")
# Where the Penn Treebank parts what is written together: marks, a comma before anything but a digit, dots in a row, the
# full stop at the end, quotation marks and English contractions.
_TREEBANK_TOKEN = re.compile(r"[;@#$%&?!()\[\]{}<>\"«»“”‘„]|,(?!\d)|\.{2,}|(?<!\.)\.$|n't\b|'(?:(?:s|m|d|ll|re|ve)\b|(?!\w))")
_IDEOGRAPH = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


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


def is_chinese(texts: Sequence[str]) -> bool:
    """Return whether more than half of the letters of all texts are Chinese characters."""
    letters = [character for text in texts for character in text if character.isalpha()]
    return 2 * sum(bool(_IDEOGRAPH.match(letter)) for letter in letters) > len(letters)


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


def _segments(text: str) -> list[str]:
    segments: list[str] = []
    for piece in _CHINESE_CHARACTER.split(_without_punctuation(text)):
        segments += _TREEBANK_TOKEN.sub(r" \g<0> ", piece).split()
    return segments

"""Scores of answers, against the definitions written another way."""

import math
import random
import string
from collections.abc import Sequence
from itertools import pairwise

import pytest

from bertsmith.tasks.scoring.answer_scores import (
    best_threshold,
    characters_exact_match,
    characters_f1,
    chinese_exact_match,
    chinese_f1,
    exact_match,
    f1,
    normalise,
    usual_scorer,
)

WORDS = ["the", "A", "an", "cat", "Cat.", "cats", "don't", "“moon”", "U.S.", "a-b", "É", "3.5", "\t", "\u00a0", "!", "theatre"]
CHINESE = ["北", "京", "大", "学", "Nexon", "6", " ", "，", "。", "《", "·", "3.14", "km", "-", "龥", "カ", "!"]


def cases(pieces: Sequence[str], joiner: str) -> list[tuple[str, list[str]]]:
    """Return 1,000 predictions, each with up to three golds of the same few pieces."""
    random_source = random.Random(0)

    def case() -> tuple[str, list[str]]:
        few = random_source.sample(pieces, 4)
        texts = [joiner.join(random_source.choices(few, k=random_source.randint(0, 6))) for _ in range(4)]
        return texts[0], texts[1 : random_source.randint(1, 4)]

    return [case() for _ in range(1000)]


# SQuAD.


def plain_normalise(text: str) -> str:
    """Normalise a character and a word at a time; a word ends where letters, digits and underscores do."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    words, word = [], ""
    for character in kept + " ":
        if character.isalnum() or character == "_":
            word += character
        else:
            words += [" " if word in ("a", "an", "the") else word, character]
            word = ""
    return " ".join("".join(words).split())


def plain_f1(predicted: list[str], gold: list[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    left = list(gold)
    for word in predicted:
        if word in left:
            left.remove(word)
    n_shared = len(gold) - len(left)
    if n_shared == 0:
        return 0.0
    precision, recall = n_shared / len(predicted), n_shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def test_squad_scores_follow_the_definitions() -> None:
    seen = set()
    for predicted, golds in cases(WORDS, " "):
        words = plain_normalise(predicted)
        comparable = [gold for gold in map(plain_normalise, golds) if gold] or [""]
        assert normalise(predicted) == words
        assert exact_match(predicted, golds) == float(words in comparable)
        score = f1(predicted, golds)
        assert score == pytest.approx(max(plain_f1(words.split(), gold.split()) for gold in comparable))
        seen.add(score)
    assert {0.0, 1.0} < seen


def test_squad_by_hand() -> None:
    assert normalise("  The  U.S.\tArmy's a-b, an \u201cold\u201d theatre!") == "us armys ab \u201cold\u201d theatre"
    assert exact_match("The Cat!", ["dog", "cat"]) == 1
    assert exact_match("cats", ["cat"]) == 0
    assert f1("the black cat sat", ["cat", "a black cat"]) == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert f1("cat cat", ["cat"]) == pytest.approx(2 / 3)
    assert exact_match("École", ["école"]) == 1


@pytest.mark.parametrize("score", [exact_match, f1, chinese_exact_match, chinese_f1])
def test_no_answer(score: object) -> None:
    assert callable(score)
    assert score("", []) == 1
    assert score("cat 北京", []) == 0
    assert score("", ["cat 北京"]) == 0
    assert score("", ["", "cat 北京"]) == 0
    assert score("", [""]) == 1


def test_golds_of_articles_and_punctuation_alone_do_not_count() -> None:
    assert exact_match("the", ["a", "!"]) == 1
    assert f1("the", ["cat", "!"]) == 0


# CMRC 2018 and DRCD.

REMOVED = set("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


def plain_segments(text: str) -> list[str]:
    segments: list[str] = []
    run = ""
    for character in [*(character for character in text.lower().strip() if character not in REMOVED), "\u4e00"]:
        if "\u4e00" <= character <= "\u9fa5":
            segments += [*run.replace("!", " ! ").split(), character]
            run = ""
        else:
            run += character
    return segments[:-1]


def plain_run_f1(predicted: list[str], gold: list[str]) -> float:
    def runs(segments: list[str]) -> set[tuple[str, ...]]:
        return {tuple(segments[i:j]) for j in range(len(segments) + 1) for i in range(j)}

    longest = max(map(len, runs(predicted) & runs(gold)), default=0)
    if longest == 0:
        return 0.0
    precision, recall = longest / len(predicted), longest / len(gold)
    return 2 * precision * recall / (precision + recall)


def test_chinese_scores_follow_the_definitions() -> None:
    seen = set()
    for predicted, golds in cases(CHINESE, ""):
        segments = plain_segments(predicted)
        comparable = [gold for gold in map(plain_segments, golds) if gold]
        best = max((plain_run_f1(segments, gold) for gold in comparable), default=float(not segments))
        score = chinese_f1(predicted, golds)
        assert score == pytest.approx(best)
        seen.add(score)

        def bare(text: str) -> str:
            return "".join(character for character in text.lower().strip() if character not in REMOVED)

        assert chinese_exact_match(predicted, golds) == float(bare(predicted) in ([*filter(None, map(bare, golds))] or [""]))
    assert {0.0, 1.0} < seen


def test_chinese_by_hand() -> None:
    assert chinese_exact_match("《跑跑卡丁车》。", ["跑跑卡丁车"]) == 1
    assert chinese_exact_match("NEXON开发", ["韩国", "Nexon开发"]) == 1
    assert chinese_exact_match("北京,", ["北京"]) == 0  # the ASCII comma is not among what the script removes
    assert chinese_f1("北京大学", ["北京"]) == pytest.approx(2 / 3)
    assert chinese_f1("北大", ["北京大学"]) == pytest.approx(2 * 1 / (2 + 4))  # 北…大 is no unbroken run
    assert chinese_f1("北大学", ["北京学"]) == pytest.approx(2 * 1 / (3 + 3))
    assert chinese_f1("由Nexon开发", ["nexon"]) == pytest.approx(2 * 1 / (4 + 1))
    assert chinese_f1("1,234.5公里", ["1,234.5"]) == pytest.approx(2 * 1 / (3 + 1))
    assert chinese_f1("A，B", ["ab"]) == 1  # removing comes before parting
    assert chinese_f1("it's 10%.", ["it 's 10 % ."]) == 1
    assert chinese_f1("the U.S. army", ["U.S. army"]) == pytest.approx(2 * 2 / (3 + 2))
    assert chinese_f1("the U.S.", ["the U.S"]) == pytest.approx(2 * 2 / (3 + 2))
    assert chinese_f1("東京、臺灣", ["臺灣"]) == pytest.approx(2 * 2 / (4 + 2))


@pytest.mark.parametrize(
    ("texts", "scorer"),
    [
        (["北京大学", "1998年", "IBM"], "chinese"),
        (["\U00020000"], "chinese"),
        (["北京大学出版社的三位编辑和两位作者在会议上", "カ"], "chinese"),
        (["Beijing (北京)", "1998"], "squad"),
        (["1998", "北a"], "squad"),
        ([], "squad"),
        (["서울 대학교"], "squad"),
        (["東京", "とうきょう"], "characters"),
        (["国立国会図書館", "江戸時代の終わり", "明治元年"], "characters"),
        (["กรุงเทพมหานคร"], "characters"),
        (["ភ្នំពេញ"], "characters"),
        (["ວຽງຈັນ"], "characters"),
        (["ရန်ကုန်"], "characters"),
    ],
)
def test_the_usual_scorer_is_that_of_the_script(texts: list[str], scorer: str) -> None:
    assert usual_scorer(texts) == scorer


@pytest.mark.parametrize(
    ("predicted", "gold", "shared", "is_match"),
    [
        ("さくらまつりは", "さくらまつり", 2 * 6 / 13, 0),
        ("「さくら・まつり」。", "さくらまつり", 1, 1),
        ("国の図書館", "図書館", 2 * 3 / 8, 0),
        ("NHK放送センターで", "nhk放送センター", 2 * 7 / 15, 0),
        ("ตลาดน้ำ", "ตลาด", 2 * 4 / 11, 0),
        ("ဈေး။", "ဈေး", 1, 1),
        ("", "さくら", 0, 0),
    ],
)
def test_scripts_without_blanks_are_compared_by_characters(predicted: str, gold: str, shared: float, is_match: float) -> None:
    assert characters_f1(predicted, [gold]) == pytest.approx(shared)
    assert characters_exact_match(predicted, [gold]) == is_match


# The threshold of SQuAD 2.0.


def mean_at(threshold: float, scores: list[float], answered: list[float], unanswered: list[float]) -> float:
    chosen = [a if score <= threshold else u for score, a, u in zip(scores, answered, unanswered, strict=True)]
    return sum(chosen) / len(chosen)


def test_best_threshold_is_the_best_of_all() -> None:
    random_source = random.Random(0)
    for _ in range(1000):
        n = random_source.randint(1, 7)
        scores = [float(random_source.randint(-3, 3)) for _ in range(n)]
        answered = [random_source.randint(0, 4) / 4 for _ in range(n)]
        unanswered = [float(random_source.randint(0, 1)) for _ in range(n)]
        threshold, best = best_threshold(scores, answered, unanswered)
        distinct = sorted(set(scores))
        candidates = [distinct[0] - 1, *((a + b) / 2 for a, b in pairwise(distinct)), distinct[-1] + 1]
        means = [mean_at(candidate, scores, answered, unanswered) for candidate in candidates]
        assert best == pytest.approx(max(means), abs=1e-12)
        assert mean_at(threshold, scores, answered, unanswered) == pytest.approx(best, abs=1e-12)
        least = means.index(max(means))
        assert threshold == (distinct[least - 1] if least else math.nextafter(distinct[0], -math.inf))


def test_best_threshold_by_hand() -> None:
    assert best_threshold([-2.0, 1.0, 5.0], [1.0, 0.5, 0.0], [0.0, 0.0, 1.0]) == (1.0, pytest.approx(2.5 / 3))
    threshold, best = best_threshold([3.0, 3.0], [0.0, 0.0], [1.0, 1.0])
    assert threshold < 3.0 and math.isfinite(threshold)
    assert best == 1.0

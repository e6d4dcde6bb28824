import random
import subprocess
import sys

import numpy as np
import pytest

from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.words import chinese_word_starts, segmented, word_spans

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"我们在北京大学习，hel", "##l", "##o", "ᄒ", "##ᅡ", "##ᆫ", "a"]


def starts(text: str) -> list[str]:
    encoding = Tokenizer.build(VOCABULARY, lowercase=True).encode(text)
    found = chinese_word_starts(text, encoding.offsets)
    assert found.dtype == np.bool_
    return [f"|{token}" if start else token for token, start in zip(encoding.tokens, found, strict=True)][1:-1]


def test_words_of_the_segmenter() -> None:
    assert starts("我们在北京大学学习，hello") == [
        *["|我", "们", "|在", "|北", "京", "大", "学", "|学", "习", "|，", "|h", "[UNK]", "[UNK]"][:10],
        "|[UNK]",
    ]


def test_offsets_are_characters_beyond_the_basic_plane_too() -> None:
    assert starts("\U0001f600\U00020000我们\U0001f600在") == ["|[UNK]", "|[UNK]", "|我", "们", "|[UNK]", "|在"]


def test_only_the_first_token_of_a_character_begins_a_word() -> None:
    assert starts("한") == ["|ᄒ", "##ᅡ", "##ᆫ"]


def test_special_tokens_begin_nothing_and_hide_nothing() -> None:
    assert chinese_word_starts("我们", [(0, 0), (0, 1), (1, 2), (0, 0)]).tolist() == [False, True, False, False]
    assert chinese_word_starts("", [(0, 0), (0, 0)]).tolist() == [False, False]
    assert chinese_word_starts("我", []).tolist() == []


def test_lone_surrogates() -> None:
    assert chinese_word_starts("\ud800我们", [(1, 2), (2, 3)]).tolist() == [True, False]


def test_the_segmenter_is_imported_only_when_used() -> None:
    code = "import sys, bertsmith.text.words, bertsmith.text.tokenizer; assert not {'rjieba', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr Smith, of York.", "Mr Smith , of York ."),
        ("Smith's dog didn't, can’t; WE'RE O'Neill's.", "Smith 's dog did n't , ca n’t ; WE 'RE O'Neill 's ."),
        ("'hello' the boys' rock'n'roll l'homme", "' hello ' the boys ' rock'n'roll l'homme"),
        ("She said 's and n't.", "She said 's and n't ."),
        ("3,000.5 kg, 50% at 10:30 on 2020-01-02, $3", "3,000.5 kg , 50 % at 10:30 on 2020-01-02 , $ 3"),
        ("red,green and/or Paris/London 1/2", "red , green and / or Paris / London 1/2"),
        ("e-mail AT&T -5 well-", "e-mail AT&T - 5 well -"),
        ("the U.S. is big... a--b p.m.", "the U.S. is big ... a -- b p.m."),
        ("see http://a.com/b?x=1.", "see http://a.com/b?x=1 ."),
        ("www.x.com，mail a.b@c.org!", "www.x.com ， mail a.b@c.org !"),
        ("我在Beijing，2008年。", "我 在 Beijing ， 2008 年 。"),
        ("約翰·史密斯 \U00020000", "約 翰 · 史 密 斯 \U00020000"),
        ("東京に 한국어", "東 京 に 한국어"),
        ("ภาษาไทย ที่นี่", "ภาษาไทย ที่นี่"),
        ("اللُّغَة؟", "اللُّغَة ؟"),
        ("می\u200cخواهم हिन्दी cafe\u0301s", "می\u200cخواهم हिन्दी cafe\u0301s"),
        ("👍🏽👨\u200d👩\u200d👧❤\ufe0f🇩🇪🇫🇷:)", "👍🏽 👨\u200d👩\u200d👧 ❤\ufe0f 🇩🇪 🇫🇷 : )"),
        ("\ufeff\u200bword\u200e \x07\u2028", "word"),
    ],
)
def test_words_of_raw_text(text: str, expected: str) -> None:
    assert words(text) == expected.split(" ")


def test_nothing_that_is_seen_is_left_out_and_nothing_is_twice() -> None:
    draw = random.Random(0)
    for _ in range(300):
        text = "".join(draw.choice("ab1 .'’nt-,:/@&中。é\u0301\u0e31👍\u200d\U0001f3fd\U0001f1e9\ud800") for _ in range(20))
        assert "".join(words(text)) == text.replace(" ", "")


def test_characters_as_words() -> None:
    assert list(word_spans(" 我a1 。", characters=True)) == [(1, 2), (2, 3), (3, 4), (5, 6)]


def test_segmented_words_have_no_marks_and_chinese_ones_are_whole() -> None:
    assert segmented("The U.S. bank's well-known, isn't it?") == ["The", "U.S.", "bank", "'s", "well-known", "is", "n't", "it"]
    assert segmented("他背着包袱。\ud800OK!") == ["他", "背着", "包袱", "OK"]

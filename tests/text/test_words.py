import subprocess
import sys

import numpy as np

from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.words import chinese_word_starts

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

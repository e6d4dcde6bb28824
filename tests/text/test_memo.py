import re
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from bertsmith.text.chunks import DELETED_BREAKS, UNSPACED
from bertsmith.text.memo import MemoizedTokenizer
from bertsmith.text.specification import AddedToken, Specification
from bertsmith.text.tokenizer import Tokenizer

Texts = Callable[[int, int], list[str]]
NASTY = [
    *DELETED_BREAKS,
    *"\x01\x1b\x7f\xad\ue000",
    *" \t\n\r\xa0\u2028\u2029\u3000\u200b\u0301\ufeff\x00\ufffd",
    *"aA9.,'_é[中가\U0001f600\ud800",
    "[MASK]",
    "[SEP]",
]


def as_lists(token_ids: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    return [part.tolist() for part in np.split(token_ids, np.cumsum(lengths)[:-1])] if len(lengths) else []


def assert_equal(memoized: MemoizedTokenizer, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    token_ids, lengths = memoized.token_ids(texts)
    assert (token_ids.dtype, lengths.dtype) == (np.uint32, np.int64)
    assert len(token_ids) == lengths.sum()
    assert as_lists(token_ids, lengths) == tokenizer.token_ids(texts)


def test_white_space_of_python_and_bert_differ_only_where_stated() -> None:
    normalize = normalizers.BertNormalizer(lowercase=False).normalize_str
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if character.isspace() and character not in DELETED_BREAKS:
            assert normalize(f"a{character}b") == "a b"
    assert all(normalize(f"a{character}b") == "ab" for character in DELETED_BREAKS)


def test_only_unspaced_characters_get_spaces_put_around_them() -> None:
    for lowercase in (False, True):
        normalize = normalizers.BertNormalizer(lowercase=lowercase).normalize_str
        characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
        spaceless = [character for character in characters if not character.isspace() and not UNSPACED.match(character)]
        assert not re.search(r"\s", normalize("".join(spaceless)))


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_tokenizer_on_hostile_text(seed: int, tokenizer: Tokenizer, random_texts: Texts) -> None:
    memoized = MemoizedTokenizer(tokenizer, capacity=500)
    texts = random_texts(seed, 10_000)
    for start in range(0, len(texts), 2500):
        assert_equal(memoized, tokenizer, texts[start : start + 2500])
    assert_equal(memoized, tokenizer, texts[:1000])


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from(NASTY), max_size=12).map("".join), max_size=6))
def test_equals_the_tokenizer_on_nasty_alphabets(texts: list[str], tokenizer: Tokenizer) -> None:
    assert_equal(MemoizedTokenizer(tokenizer, capacity=3), tokenizer, texts)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.text(max_size=40), max_size=6))
def test_equals_the_tokenizer_on_any_unicode_text(texts: list[str], tokenizer: Tokenizer) -> None:
    memoized = MemoizedTokenizer(tokenizer)
    for _ in range(2):
        assert_equal(memoized, tokenizer, texts)


def test_equals_the_tokenizer_on_all_pairs_of_ascii_characters(tokenizer: Tokenizer) -> None:
    characters = list(map(chr, range(128)))
    pairs = [f"a{first}{second}B" for first in characters for second in characters]
    assert_equal(MemoizedTokenizer(tokenizer), tokenizer, pairs)
    assert_equal(MemoizedTokenizer(tokenizer), tokenizer, [" ".join(pairs)])


def test_nothing_and_blank_sentences(tokenizer: Tokenizer) -> None:
    memoized = MemoizedTokenizer(tokenizer)
    assert_equal(memoized, tokenizer, [])
    assert_equal(memoized, tokenizer, ["", " ", "\x85", "a", ""])


def test_long_chunks(tokenizer: Tokenizer) -> None:
    assert_equal(MemoizedTokenizer(tokenizer), tokenizer, ["a" * 5000, "a." * 5000 + " b", "a" * 100, "中" * 5000])


def test_memory_is_bounded(tokenizer: Tokenizer) -> None:
    memoized = MemoizedTokenizer(tokenizer, capacity=10)
    texts = [f"word{index} other{index}" for index in range(100)]
    for text in [*texts, *texts]:
        assert_equal(memoized, tokenizer, [text])
        assert len(memoized._memo) <= 10


@pytest.mark.parametrize(
    "added",
    [
        AddedToken(5, "new york", special=False),
        AddedToken(5, "york", special=False, normalized=True),
        AddedToken(5, "[X]", lstrip=True),
        AddedToken(5, "[X]", rstrip=True),
        AddedToken(5, "ab", single_word=True),
        AddedToken(5, "a\x00b"),
        AddedToken(5, "a\x01b"),
    ],
)
def test_added_tokens_that_look_over_white_space(added: AddedToken) -> None:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    special = tuple(AddedToken(index, name) for index, name in enumerate(names))
    vocabulary = (*names, added.content, "new", "a", "##b")
    tokenizer = Tokenizer(Specification(vocabulary, True, None, True, added=(*special, added)))
    texts = ["a new york", "New York new  york", "a [X] a [X]a", "[X]\x85 a", "ab abb aab ab. ab", "AB a\x1cb a\x00b a\x01b"]
    assert_equal(MemoizedTokenizer(tokenizer), tokenizer, texts)


def test_words_longer_than_the_tokenizer_takes() -> None:
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "abb", "##bbb")
    special = tuple(AddedToken(index, name) for index, name in enumerate(names[:5]))
    tokenizer = Tokenizer(Specification(names, True, None, True, max_word_length=2, added=special))
    assert tokenizer.token_ids(["abb"]) == [[tokenizer.unk_id]]
    assert_equal(MemoizedTokenizer(tokenizer), tokenizer, ["ab", "abb", "abbb", "a-abb"])


def test_without_clean_up() -> None:
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "b")
    special = tuple(AddedToken(index, name) for index, name in enumerate(names[:5]))
    tokenizer = Tokenizer(Specification(names, False, None, False, clean=False, added=special))
    assert_equal(MemoizedTokenizer(tokenizer), tokenizer, ["a\x85b a\x1cb a\x0bb", "ab\u2028b\x00"])

"""What the page begins with."""

import pytest

from bertsmith.inspection.suggestions import Start, start_for
from bertsmith.text.tokenizer import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENGLISH = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"), ".", "?", ","]
CHINESE = [*"孩子们坐在河边看船天色渐暗了下来放学以后上哪里雨起所她撑开伞给花浇水对着石头唱歌才回家他的", "，", "。", "？"]
CHEMISTRY = ["(", ")", "=", "[C@H]", *(f"c{number}" for number in range(1, 20)), "##x"]


def _tokenizer(*entries: str) -> Tokenizer:
    return Tokenizer.build([*SPECIAL, *dict.fromkeys(entries)], lowercase=False)


@pytest.mark.parametrize("reads", ["text", "pair", "question", "query", "choices"])
@pytest.mark.parametrize(("entries", "first"), [((*ENGLISH, *"TWI"), "TWbI"), (CHINESE, "孩河天")])
def test_the_language_is_that_of_the_vocabulary(reads: str, entries: list[str], first: str) -> None:
    tokenizer = _tokenizer(*entries)
    start = start_for(tokenizer, reads)
    assert start.text[0] in first
    assert (start.pair is not None) == (reads in ("pair", "question", "query"))
    assert (len(start.choices) > 1) == (reads == "choices")
    for text in (start.text, start.pair or "", *start.choices):
        assert tokenizer.unk_id not in tokenizer.token_ids([text])[0]


def test_a_model_of_both_languages_begins_in_english() -> None:
    assert start_for(_tokenizer(*ENGLISH, *"TWI", *CHINESE), "text").text.startswith("The children")


@pytest.mark.parametrize("reads", ["text", "pair", "choices"])
def test_a_vocabulary_of_another_domain_gives_its_own_words(reads: str) -> None:
    tokenizer = _tokenizer(*CHEMISTRY)
    start = start_for(tokenizer, reads)
    texts = [start.text, *([start.pair] if start.pair else []), *start.choices]
    assert sum(len(text.split()) for text in texts) == 10
    assert all(tokenizer.unk_id not in ids for ids in tokenizer.token_ids(texts))


def test_a_vocabulary_without_a_word_has_something_all_the_same() -> None:
    assert start_for(_tokenizer("##a"), "text") == Start("?", None)

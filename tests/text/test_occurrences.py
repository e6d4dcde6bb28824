"""Words in documents: which are the same, what their contexts are, and which are kept of many."""

from itertools import pairwise
from pathlib import Path

import pytest

from bertsmith.errors import UsageError
from bertsmith.text import occurrences as module
from bertsmith.text.occurrences import Context, EvenSample, Occurrence, WordFinder, occurrences, words_like
from bertsmith.text.readers import Document
from bertsmith.text.tokenizer import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNCASED = Tokenizer.build([*SPECIAL, "bank"], lowercase=True)
CASED = Tokenizer.build([*SPECIAL, "bank"], lowercase=False)


def found(text: str, *words: str, tokenizer: Tokenizer = UNCASED) -> list[str]:
    finder = WordFinder(tokenizer, words)
    spans = list(finder.find(text))
    assert finder.may_be_in(text) or not spans
    return [text[start:end] for _, start, end in spans]


def documents(*texts: str) -> list[Document]:
    return [Document(text, Path("a.txt"), number) for number, text in enumerate(texts, 1)]


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("bank", "The Bank's BANK, a bank.", ["Bank", "BANK", "bank"]),
        ("bank", "banks embank bank-note bankers", []),
        ("cafe", "A Café, CAFÉ and cafe\u0301.", ["Café", "CAFÉ", "cafe\u0301"]),
        ("Café", "the cafe", ["cafe"]),
        ("New York", "in New\nYork, new  york; New, York", ["New\nYork", "new  york"]),
        ("don't", "They don't, we DON'T.", ["don't", "DON'T"]),
        ("包袱", "他的包袱很重，包和袱，放下包袱。", ["包袱", "包袱"]),
        ("花", "开花花了钱", ["花", "花"]),
        ("\u200bbank ", "bank", ["bank"]),
    ],
)
def test_whole_words_are_found_as_the_tokenizer_reads_them(word: str, text: str, expected: list[str]) -> None:
    assert found(text, word) == expected


def test_case_and_accents_count_where_they_do_for_the_tokenizer() -> None:
    assert found("Bank bank Bänk", "Bank", tokenizer=CASED) == ["Bank"]


def test_several_words_come_in_the_order_of_the_text_each_as_it_was_given() -> None:
    finder = WordFinder(UNCASED, ["New York", "york", "old"])
    assert [word for word, _, _ in finder.find("Old York, New York")] == ["old", "york", "New York", "york"]


@pytest.mark.parametrize("word", ["", " ", "\u200b"])
def test_a_word_without_characters_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is not a word"):
        WordFinder(UNCASED, [word])


LINES = "By the bank we sat. It rained.\nA bank closed."


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("sentence", ["By the bank we sat.", "A bank closed."]),
        ("line", ["By the bank we sat. It rained.", "A bank closed."]),
        ("passage", [LINES, LINES]),
    ],
)
def test_the_context_is_a_sentence_a_line_or_the_passage(context: Context, expected: list[str]) -> None:
    found_in = occurrences(documents("Nothing.", LINES), WordFinder(UNCASED, ["bank"]), context)
    assert [one.text for one in found_in] == expected


def test_an_occurrence_says_where_it_is() -> None:
    (first, second) = occurrences(documents("x", "A Bank and a bank."), WordFinder(UNCASED, ["bank"]), "sentence")
    assert first == Occurrence("bank", "A Bank and a bank.", 2, 6, "a.txt:2")
    assert (second.start, second.end) == (13, 17)


def test_a_long_context_is_cut_on_either_side_of_the_word() -> None:
    text = "x " * 5000 + "Bank" + " y" * 5000
    (one,) = occurrences(documents(text), WordFinder(UNCASED, ["bank"]), "passage")
    assert one.text[one.start : one.end] == "Bank" and len(one.text) == 2004
    assert text.startswith(one.text, 10_000 - 1000)


def test_documents_without_the_word_are_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    split: list[str] = []
    monkeypatch.setattr(module, "split_sentences", lambda text, _mode: split.append(text) or [text])
    assert len(list(occurrences(documents("none here", "a bank", "none"), WordFinder(UNCASED, ["bank"]), "sentence"))) == 1
    assert split == ["a bank"]


@pytest.mark.parametrize("n_items", [0, 1, 9, 10, 11, 19, 20, 21, 1000, 1234])
def test_a_sample_is_even_and_as_large_as_it_may_be(n_items: int) -> None:
    sample = EvenSample[int](10)
    for item in range(n_items):
        sample.add(item)
    kept = sample.items()
    assert sample.seen == n_items and len(kept) == min(n_items, 10) and kept == sorted(set(kept))
    gaps = [after - before for before, after in pairwise(kept)]
    assert not gaps or max(gaps) <= 2 * min(gaps)
    assert n_items <= 10 or kept[-1] >= 0.8 * n_items


def test_words_written_nearly_so_are_found() -> None:
    texts = documents("The banks lend money to bankers.", "他放下包裹，去了银行。")
    assert words_like("bankk", texts, UNCASED)[0] == "banks"
    assert "包裹" in words_like("包袱", texts, UNCASED)
    assert words_like("zzzz", texts, UNCASED) == []

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertsmith.sources.file_patterns import find_files
from bertsmith.text.readers import ReaderConfig, read_documents
from bertsmith.text.sentences import split_sentences


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_lines() -> None:
    assert split_sentences("one. two.\n\n  three \n\t\n", "lines") == ["one. two.", "three"]


def test_prose_knows_abbreviations_and_numbers() -> None:
    text = 'Mr. Smith paid 3.5 dollars. "Really?" he asked. Yes!'
    assert split_sentences(text, "prose") == ["Mr. Smith paid 3.5 dollars.", '"Really?" he asked.', "Yes!"]


def test_hard_wrapped_lines_are_joined() -> None:
    text = "Emma Woodhouse, handsome, clever, and rich, with a\ncomfortable home, seemed to unite blessings. She\nwas happy.\n"
    assert split_sentences(text, "prose") == [
        "Emma Woodhouse, handsome, clever, and rich, with a comfortable home, seemed to unite blessings.",
        "She was happy.",
    ]


def test_headings_and_paragraphs_stay_apart() -> None:
    text = "VOLUME I\n\n \nChapter One\nEmma Woodhouse was handsome and clever and\nrich\n\nand more"
    expected = ["VOLUME I", "Chapter One", "Emma Woodhouse was handsome and clever and rich", "and more"]
    assert split_sentences(text, "prose") == expected


def test_paragraphs_on_one_line_each() -> None:
    long = "This is a long paragraph that nobody has wrapped " * 4
    assert split_sentences(f"A Heading\n{long}\nAnother one", "prose") == ["A Heading", long.strip(), "Another one"]


def test_chinese() -> None:
    text = "今天天气很好，我们一起去了北京\n大学。增长了3.5%！“真的吗？”他问。"
    assert split_sentences(text, "prose") == ["今天天气很好，我们一起去了北京大学。", "增长了3.5%！", "“真的吗？”", "他问。"]


def test_long_quotations_are_split() -> None:
    quotation = '"' + "I am very glad that I did think of her. " * 12 + 'Is it so?" she said. "Yes."'
    sentences = split_sentences(quotation, "prose")
    assert sentences[0] == '"I am very glad that I did think of her.'
    assert sentences[1:12] == ["I am very glad that I did think of her."] * 11
    assert sentences[12] == 'Is it so?"'
    assert squeezed("".join(sentences)) == squeezed(quotation)


@pytest.mark.parametrize("mark", ['"', "'", "“", "(", "「"])
def test_a_quotation_mark_without_its_pair_does_not_hide_what_follows(mark: str) -> None:
    text = f"He said {mark}hello to her. " + "Then they went home together. " * 100 + f"It's {mark}over."
    sentences = split_sentences(text, "prose")
    assert sentences.count("Then they went home together.") >= 99


def test_wide_white_space() -> None:
    assert split_sentences("Oh\u3000\u3000\u3000. So\xa0end.\u2003Dear me.", "prose") == ["Oh   .", "So end.", "Dear me."]


class _Panic(BaseException):
    pass


_Panic.__name__ = "PanicException"


def test_a_panic_in_the_library_leaves_the_paragraph_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: str) -> None:
        raise _Panic

    monkeypatch.setattr("sentencex.segment", panic)
    assert split_sentences("One. Two.\n\nThree.", "prose") == ["One. Two.", "Three."]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"ab A.?!。！\"'“”() \n\t中文\u3000\x85", "Mr.", "3.5", "\n\n", "x" * 130, "Hello there. " * 20]),
        max_size=40,
    )
)
def test_nothing_but_white_space_is_lost(parts: list[str]) -> None:
    text = "".join(parts)
    for mode in ("prose", "lines"):
        sentences = split_sentences(text, mode)
        assert squeezed("".join(sentences)) == squeezed(text)
        assert all(sentence and sentence == sentence.strip() for sentence in sentences)


@pytest.mark.parametrize(
    "name", ["en/gutenberg/austen-emma", "en/debian_handbook", "zh/debian_reference", "zh/clue_small_sample"]
)
def test_real_text(name: str, corpus: Path) -> None:
    class Silent:
        def advance(self, amount: float) -> None: ...
        def note(self, text: str) -> None: ...

    files = find_files([str(corpus / f"{name}.txt.gz")])
    for document in read_documents(files, ReaderConfig(documents="file"), Silent()):
        sentences = split_sentences(document.text, "prose")
        assert squeezed("".join(sentences)) == squeezed(document.text)
        lengths = sorted(map(len, sentences))
        assert 15 < lengths[len(lengths) // 2] < 150
        assert sum(length > 1000 for length in lengths) < 0.001 * len(lengths)

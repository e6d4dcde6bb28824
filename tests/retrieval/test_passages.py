"""Documents as passages: every passage is where it says it is, and what cannot be read is said."""

import gzip
import json
from pathlib import Path

import pytest

from bertsmith.errors import InputError
from bertsmith.retrieval.passages import LONGEST_PASSAGE, Passage, read_passages
from bertsmith.text.sentences import sentence_pieces
from bertsmith.text.words import word_spans

TEXT = "\n  A title\n\n\nFirst line,\nsecond line.  \n \t\nLast. \n"
LONG_ENGLISH = " ".join(f"Sentence {n} has “seven” words, Dr. Smith." for n in range(100))
LONG_CHINESE = "".join(f"第{n}句话说的是北京。" for n in range(100))


def found(passages: list[Passage]) -> list[tuple[int, int, str]]:
    return [(passage.paragraph, passage.start, passage.text) for passage in passages]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.gz"])
def test_paragraphs_of_a_text(tmp_path: Path, name: str) -> None:
    content = TEXT.replace("\n", "\r\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    passages = read_passages(tmp_path / name)
    assert found(passages) == [(1, 3, "A title"), (2, 13, "First line,\nsecond line."), (3, 43, "Last.")]
    assert {passage.document for passage in passages} == {str(tmp_path / name)}


@pytest.mark.parametrize("paragraph", [LONG_ENGLISH, LONG_CHINESE])
def test_long_paragraphs_are_parted_between_sentences(tmp_path: Path, paragraph: str) -> None:
    text = f"Before.\n\n{paragraph}\n\nBehind."
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    passages = read_passages(tmp_path / "a.txt")
    assert len(passages) > 4
    assert [passage.paragraph for passage in passages] == [1, *[2] * (len(passages) - 2), 3]
    for passage in passages:
        assert text.startswith(passage.text, passage.start)
        assert len(list(word_spans(passage.text))) <= LONGEST_PASSAGE
    # As many sentences as there is room for, of about a dozen words each.
    assert all(len(list(word_spans(passage.text))) > LONGEST_PASSAGE - 25 for passage in passages[1:-2])
    assert all(passage.text[-1] in ".。" for passage in passages)
    assert "".join(passage.text for passage in passages[1:-1]).replace(" ", "") == paragraph.replace(" ", "")


@pytest.mark.parametrize("word", ["word ", "字"])
def test_what_has_no_sentences_is_parted_between_words(tmp_path: Path, word: str) -> None:
    (tmp_path / "a.txt").write_text(word * 450, encoding="utf-8")
    passages = read_passages(tmp_path / "a.txt")
    assert [len(list(word_spans(passage.text))) for passage in passages] == [200, 200, 50]
    assert [passage.start for passage in passages] == [0, 200 * len(word), 400 * len(word)]


@pytest.mark.parametrize("paragraph", [LONG_ENGLISH, LONG_CHINESE, "a\u3000b. C\u2003d!\ne", "“x.” y? (z.)", "", " "])
def test_sentences_laid_end_to_end_are_the_paragraph(paragraph: str) -> None:
    assert "".join(sentence_pieces(paragraph)) == paragraph


def test_records_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"body": " one\n\ntwo"}) + "\n\n" + json.dumps({"body": "three"}) + "\n", encoding="utf-8")
    passages = read_passages(path, "body")
    assert found(passages) == [(1, 1, "one"), (2, 6, "two"), (1, 0, "three")]
    assert [passage.document for passage in passages] == [f"{path}:1", f"{path}:1", f"{path}:3"]
    with pytest.raises(InputError, match="no column 'text'"):
        read_passages(path)


def test_a_folder_and_what_in_it_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("good")
    (tmp_path / "b.md").write_text("fine")
    (tmp_path / "binary.txt").write_bytes(b"a\0b")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".git" / "hidden.txt").write_text("hidden")
    assert [passage.text for passage in read_passages(tmp_path)] == ["fine", "good"]
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.getMessage().startswith("3 file(s) left out:\n")
    for name, reason in (("binary.txt", "NUL byte"), ("latin.txt", "invalid UTF-8 at byte 3"), ("picture.png", "extension")):
        assert any(name in line and reason in line for line in record.getMessage().splitlines())


def test_many_unreadable_files_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(9):
        (tmp_path / f"{n}.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds no text to look for answers in; documents are files of \.txt"):
        read_passages(tmp_path)
    assert caplog.messages[0].splitlines()[-1] == "  and 4 others"


@pytest.mark.parametrize(("name", "message"), [("no.txt", "does not exist"), ("a.pdf", "no extension"), ("b.txt", "NUL byte")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, message: str) -> None:
    for binary in ("a.pdf", "b.txt"):
        (tmp_path / binary).write_bytes(b"\0")
    with pytest.raises(InputError, match=message):
        read_passages(tmp_path / name)


def test_folders_without_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no text"):
        read_passages(tmp_path)
    (tmp_path / "blank.txt").write_text(" \n\n ")
    with pytest.raises(InputError, match="holds no text"):
        read_passages(tmp_path)

"""Files and standard input as text and lines, and what is said about those that are none."""

import gzip
import io
import sys
from pathlib import Path

import pytest

from bertsmith.errors import InputError
from bertsmith.sources import streams
from bertsmith.sources.streams import Decoding, extension, input_name, read_input, read_lines, well_formed


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfone\r\n\rtwo\xe4\xba\xac", b"one\n\ntwo\xe4\xba\xac"])
def test_a_file_and_standard_input_are_the_same_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(data))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert "".join(read_input(path)) == "".join(read_input("-")) == "one\n\ntwo京"
    assert (input_name(path), input_name("-")) == (str(path), "standard input")


def test_lines_are_whole_however_the_pieces_are_cut() -> None:
    text = "one\n\ntwo three\nfour"
    for size in range(1, len(text) + 1):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert list(read_lines(pieces, "a.txt")) == ["one\n", "\n", "two three\n", "four"]
    assert list(read_lines([], "a.txt")) == []


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LONGEST_LINE", 10)
    lines = read_lines(["one\n", "a" * 8, "a" * 8], "a.txt")
    assert next(lines) == "one\n"
    with pytest.raises(InputError, match=r"a\.txt has a line of more than 10 characters"):
        next(lines)


@pytest.mark.parametrize(
    ("data", "place"), [(b"good\nb\xff\n", "2: invalid UTF-8 at byte 1"), (b"b\xe4\xba", "1: invalid UTF-8")]
)
def test_standard_input_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch, data: bytes, place: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(InputError, match=rf"^standard input:{place}.* of the line \(0x..\); convert it to UTF-8$"):
        list(read_input("-"))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt does not exist; check its name"):
        list(read_input(tmp_path / "none.txt"))
    with pytest.raises(InputError, match="is a directory; give a file in it"):
        list(read_input(tmp_path))


def test_only_flags_that_there_are_are_recommended(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"ab\ncd\nab\xff")
    with pytest.raises(InputError, match=r"a\.txt:3: invalid UTF-8 at byte 2 of the line \(0xff\); convert it to UTF-8$"):
        list(read_input(path))
    with pytest.raises(InputError, match=r"; or use --errors$"):
        list(read_input(path, Decoding(remedy="or use --errors")))


def test_names_and_halves_of_characters() -> None:
    assert [extension(Path(name)) for name in ("a.csv", "a.csv.gz", "a.gz", "a")] == [".csv", ".csv", "", ""]
    assert well_formed("a\ud800b\U0001f600\ud83d\ude00") == "a\ufffdb\U0001f600\U0001f600"


TEXT = "\ufefftext,n\r\n京 \U0001f600\r上,1\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_says_which_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.encode(encoding))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert "".join(read_input(path)) == "".join(read_input("-")) == "text,n\n京 \U0001f600\n上,1\n"


@pytest.mark.parametrize("text", ["text,n\r\nline,1\r\n", "京是,上一\n" * 3])
@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
def test_utf16_without_a_mark_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode(encoding))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    for source in (path, "-"):
        with pytest.raises(InputError, match=rf"not UTF-8: it looks like {encoding} without .* iconv -f {encoding} -t UTF-8$"):
            list(read_input(source))


@pytest.mark.parametrize("data", [b"text\0and more\n", "京\0".encode(), b"\0" * 9, "\ufeffa\0b".encode("utf-16-le")])
def test_what_has_nul_bytes_is_no_text(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(
        InputError, match=r"a\.txt is not text: it has a NUL byte at byte \d; convert it to UTF-8 text or leave"
    ):
        list(read_input(tmp_path / "a.txt"))


def test_broken_utf16(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffab\n".encode("utf-16-le") + b"\x00\xd8a\x00")
    with pytest.raises(InputError, match=r"a\.txt:2: invalid UTF-16.* at byte \d of the line \(0x00\); convert it to UTF-8$"):
        list(read_input(tmp_path / "a.txt"))
    assert "".join(read_input(tmp_path / "a.txt", Decoding("replace"))) == "ab\n\ufffda"

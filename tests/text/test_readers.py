import gzip
import io
import json
import logging
import lzma
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import feather, parquet

from bertsmith.errors import InputError
from bertsmith.sources.file_patterns import find_files
from bertsmith.text.readers import LONGEST_DOCUMENT, Document, ReaderConfig, read_documents, read_whole


class CountingTask:
    """Adds up what is reported to it."""

    def __init__(self) -> None:
        self.done = 0.0

    def advance(self, amount: float) -> None:
        self.done += amount

    def note(self, text: str) -> None:
        pass


def zstd(data: bytes) -> bytes:
    return pyarrow.compress(data, "zstd", asbytes=True)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstd}


def read(files: Path | Iterable[Path], **config: Any) -> list[Document]:
    files = [files] if isinstance(files, Path) else list(files)
    task = CountingTask()
    documents = list(read_documents(files, ReaderConfig(**config), task))
    assert task.done == pytest.approx(sum(file.stat().st_size for file in files))
    return documents


def texts(documents: Iterable[Document]) -> list[str]:
    return [document.text for document in documents]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Plain text.

POEM = "\n \none\ntwo\n\n\t\n\n three \n\nfour"


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_documents_of_text_files(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.txt{suffix}", COMPRESSORS[suffix](POEM.encode()))
    blank = read(path)
    assert texts(blank) == ["one\ntwo", "three", "four"]
    assert [document.source for document in blank] == [f"{path}:{line}" for line in (3, 8, 10)]
    lines = read(path, documents="line")
    assert texts(lines) == ["one", "two", "three", "four"]
    assert [document.line for document in lines] == [3, 4, 8, 10]
    whole = read(path, documents="file")
    assert texts(whole) == [POEM.strip()]
    assert whole[0].line == 3


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo\r\n\r\nthree\rfour\n")
    assert texts(read(path)) == ["one\ntwo", "three\nfour"]


def test_pieces_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "é\r\n\r\n中 \U0001f600\r\n" * 50
    path = write(tmp_path / "a.txt", content)
    expected = read(path)
    for size in (1, 2, 3, 7):
        monkeypatch.setattr("bertsmith.sources.streams._BLOCK_BYTES", size)
        assert read(path) == expected
    assert len(expected) == 51


def test_compressed_files_of_several_members(tmp_path: Path) -> None:
    for suffix in (".gz", ".xz", ".zst"):
        path = write(tmp_path / f"a.txt{suffix}", COMPRESSORS[suffix](b"one\n\n") + COMPRESSORS[suffix](b"two"))
        assert texts(read(path)) == ["one", "two"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_long_documents_come_in_parts(suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = "word " * 500_000
    path = write(tmp_path / f"a.txt{suffix}", COMPRESSORS[suffix](f"first\n{words}\nlast\n\nshort".encode()))
    documents = read(path)
    assert texts(documents)[-1] == "short"
    assert " ".join(texts(documents)).split() == ["first", *words.split(), "last", "short"]
    assert all(0 < len(document.text) <= LONGEST_DOCUMENT for document in documents)
    assert len(documents) == 4
    assert [document.line for document in documents] == [1, 2, 2, 5]
    assert caplog.messages == [f"{path}:1: a document of more than a million characters; such documents are read in parts"]


def test_parts_do_not_depend_on_compression_or_format(tmp_path: Path) -> None:
    long = "某" * 2_500_000 + " " + "ab " * 400_000
    plain = read(write(tmp_path / "a.txt", long))
    packed = read(write(tmp_path / "a.txt.zst", zstd(long.encode())))
    record = read(write(tmp_path / "a.jsonl", json.dumps({"text": long})))
    assert texts(plain) == texts(packed) == texts(record)


def test_a_line_of_fifty_megabytes_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(50):
            file.write(b"abcdefg " * 125_000)
    tracemalloc.start()
    total = sum(len(document.text) + 1 for document in read_documents([path], ReaderConfig(), CountingTask()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 50_000_000
    assert peak < 16_000_000


def test_empty_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    empty, blank, full = (write(tmp_path / name, text) for name, text in (("a.txt", ""), ("b.txt", " \n\n"), ("c.txt", "x")))
    assert texts(read([empty, blank, full])) == ["x"]
    assert caplog.messages == [f"{empty} holds no text", f"{blank} holds no text"]
    with pytest.raises(InputError, match=r"no text in .*a\.txt, .*b\.txt$"):
        read([empty, blank])


def test_binary_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"abc\n\0def")
    for errors in ("strict", "replace"):
        with pytest.raises(InputError, match=r"a\.txt is not text: it has a NUL byte at byte 4"):
            read(path, errors=errors)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_invalid_utf8(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / f"a.txt{suffix}", COMPRESSORS[suffix]("é\n中".encode() + b"x\xffy"))
    for size in (1, 4, 1 << 20):
        monkeypatch.setattr("bertsmith.sources.streams._BLOCK_BYTES", size)
        with pytest.raises(InputError, match=r"a\.txt.*:2: invalid UTF-8 at byte 4 of the line \(0xff\); .*--errors replace"):
            read(path)
    assert texts(read(path, errors="replace")) == ["é\n中x\ufffdy"]


def test_text_that_ends_inside_a_character(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"ab\xe4\xb8")
    with pytest.raises(InputError, match="invalid UTF-8 at byte 2"):
        read(path)
    assert texts(read(path, errors="replace")) == ["ab\ufffd"]


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_damaged_compressed_file(suffix: str, damage: str, tmp_path: Path) -> None:
    import random

    data = COMPRESSORS[suffix](random.Random(0).randbytes(5000).hex().encode())
    data = data[:-600] if damage == "cut" else b"this was never compressed"
    path = write(tmp_path / f"a.txt{suffix}", data)
    with pytest.raises(InputError, match=rf"a\.txt\{suffix}"):
        read(path)


def test_a_folder_named_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(InputError, match=r"cannot read .*a\.txt"):
        read(tmp_path / "a.txt")


# Tables; what they share with labelled files is tested with these.

RECORDS = {
    "a.jsonl": '\ufeff{"text": "a\\nb", "n": 1}\n\n  \n{"text": " "}\n{"text": "\\ud83d\\ude00 \\ud800", "n": 2}',
    "a.json": '[{"text": "a\\nb"}, {"text": " "},\n{"text": "\U0001f600 \ufffd"}]',
    "a.csv": 'n,text\r\n1,"a\r\nb"\r\n2,\r\n3,"\U0001f600 \ufffd"\r\n',
    "a.tsv": '\ufefftext\tn\n"a\t1\n \t2\n\nb"\t3\n',
}


@pytest.mark.parametrize(
    ("name", "expected", "lines"),
    [
        ("a.jsonl", ["a\nb", "\U0001f600 \ufffd"], [1, 5]),
        ("a.json", ["a\nb", "\U0001f600 \ufffd"], [1, 2]),
        ("a.csv", ["a\nb", "\U0001f600 \ufffd"], [2, 5]),
        ("a.tsv", ['"a', 'b"'], [2, 5]),
    ],
)
@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_records_with_text_are_documents(name: str, expected: list[str], lines: list[int], suffix: str, tmp_path: Path) -> None:
    documents = read(write(tmp_path / f"{name}{suffix}", COMPRESSORS[suffix](RECORDS[name].encode())))
    assert texts(documents) == expected
    assert [document.line for document in documents] == lines


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_rows_of_parquet_and_arrow_are_documents(name: str, suffix: str, kind: Any, tmp_path: Path) -> None:
    table = pyarrow.table({"n": list(range(1000)), "text": pyarrow.array([f"text {row}" for row in range(1000)]).cast(kind)})
    buffer = io.BytesIO()
    if name == "a.parquet":
        parquet.write_table(table, buffer, row_group_size=100)
    else:
        feather.write_feather(table, buffer)
    path = write(tmp_path / f"{name}{suffix}", COMPRESSORS[suffix](buffer.getvalue()))
    documents = read(path)
    assert texts(documents) == [f"text {row}" for row in range(1000)]
    assert documents[41].source == f"{path}:42"


def test_field_is_chosen(tmp_path: Path) -> None:
    assert texts(read(write(tmp_path / "a.jsonl", '{"text": 1, "body": "x"}'), field="body")) == ["x"]
    with pytest.raises(InputError, match=r"a\.csv has no column 'text'; its columns are 'a', 'b'; choose one with --field"):
        read(write(tmp_path / "a.csv", "a,b\n1,2\n"))


def test_what_stands_beside_the_text_does_not_matter(tmp_path: Path) -> None:
    rows = write(tmp_path / "a.csv", "a,text,a,\n1,2\n3,4,5,6,7\n")
    assert texts(read(rows)) == ["2", "4"]
    with pytest.raises(InputError, match=r"a\.csv:3 has 1 fields where the header has 2: \['3'\]"):
        read(write(tmp_path / "a.csv", "a,text\n1,2\n3\n"))
    with pytest.raises(InputError, match=r"a\.csv: two columns are named 'text'"):
        read(write(tmp_path / "a.csv", "text,text\n1,2\n"))


def test_bytes_that_are_not_utf8_in_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"text\nx\xff\n")
    with pytest.raises(InputError, match=r"a\.csv:2: invalid UTF-8 at byte 1 of the line \(0xff\); .*--errors replace"):
        read(path)
    assert texts(read(path, errors="replace")) == ["x\ufffd"]
    with pytest.raises(InputError, match=r"\(0xff\); convert it to UTF-8$"):
        list(read_whole(path, "text"))


def test_tables_without_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    empty, header, lines = (
        write(tmp_path / name, text) for name, text in (("a.csv", ""), ("b.tsv", "text\n"), ("c.jsonl", "\n"))
    )
    full = write(tmp_path / "d.txt", "x")
    assert texts(read([empty, header, lines, full])) == ["x"]
    assert caplog.messages == [f"{path} holds no text" for path in (empty, header, lines)]


def test_unknown_extension(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no extension that says how to read it"):
        read(write(tmp_path / "a.md", "x"))


def test_real_corpora(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    files = find_files([str(corpus / "zh"), str(corpus / "en" / "brown.txt.gz")])
    documents = read(files)
    assert sum(document.path.name == "brown.txt.gz" for document in documents) == 500
    assert sum(document.path.name == "poetry.txt.gz" for document in documents) == 57_603

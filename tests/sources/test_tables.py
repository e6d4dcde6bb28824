"""Tables of every format: the same rows from each, plain, compressed and from standard input, and one set of messages."""

import csv
import gzip
import io
import json
import lzma
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from bertsmith.errors import InputError, UsageError
from bertsmith.sources.streams import Decoding
from bertsmith.sources.tables import Layout, Record, Table, open_table

Rows = Sequence[Mapping[str, Any]]
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pyarrow.compress(data, "zstd", asbytes=True),
}


def csv_bytes(rows: Rows, delimiter: str = ",", **dialect: Any) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n", **dialect)
    writer.writerows([list(rows[0]), *(row.values() for row in rows)])
    return text.getvalue().encode()


def tsv_bytes(rows: Rows) -> bytes:
    return "".join("\t".join(map(str, row)) + "\n" for row in [rows[0], *(row.values() for row in rows)]).encode()


def json_bytes(rows: Rows) -> bytes:
    return f"[{','.join(json.dumps(row) + chr(10) for row in rows)}]".encode()


def json_lines_bytes(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet_bytes(table: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, row_group_size=100)
    return buffer.getvalue()


def arrow_bytes(table: Any, new: Callable[..., Any] = ipc.new_file) -> bytes:
    buffer = io.BytesIO()
    with new(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=300)
    return buffer.getvalue()


# Each writes a table that has a row; text alone in the first two.
WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "a.csv": csv_bytes,
    "a.tsv": tsv_bytes,
    "a.json": json_bytes,
    "a.jsonl": json_lines_bytes,
    "a.parquet": lambda rows: parquet_bytes(pyarrow.Table.from_pylist(rows)),
    "a.arrow": lambda rows: arrow_bytes(pyarrow.Table.from_pylist(rows)),
    "b.arrow": lambda rows: arrow_bytes(pyarrow.Table.from_pylist(rows), ipc.new_stream),
    "a.feather": lambda rows: arrow_bytes(pyarrow.Table.from_pylist(rows)),
}
TYPED = [name for name in WRITERS if name not in ("a.csv", "a.tsv")]
COLUMNAR = [name for name in TYPED if "json" not in name]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(table: Table) -> list[Mapping[str, Any]]:
    return [record.values for record in table.rows]


def texts(path: Path, **options: Any) -> list[str]:
    """Read the column ``text`` as corpora and labelled files are read."""
    table = open_table(path, **options)
    table.check_columns(field="text")
    return [record.text("text") for record in table.with_columns("text")]


class Counted:
    """Adds up what is reported to it."""

    def __init__(self) -> None:
        self.done = 0.0

    def advance(self, amount: float) -> None:
        self.done += amount

    def note(self, text: str) -> None:
        pass


# The same rows.

# A file of text ends its lines with any of \n, \r\n and \r; TSV has no quotes, so that neither tabs nor line ends may be in it.
CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=12)
ROWS = st.lists(st.builds(lambda *cells: dict(zip(("text", "#2 Ü"), cells, strict=True)), CELLS, CELLS), min_size=1, max_size=6)


@given(ROWS)
@settings(deadline=None, max_examples=60)
def test_the_same_rows_in_every_format(tmp_path_factory: pytest.TempPathFactory, rows: Rows) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for name, writer in WRITERS.items():
        if name == "a.tsv":
            rows = [{column: re.sub(r"[\t\n]", " ", cell) for column, cell in row.items()} for row in rows]
        table = open_table(write(folder / name, writer(rows)))
        assert table.columns == ("text", "#2 Ü")
        assert values(table) == rows


@pytest.mark.parametrize("name", TYPED)
def test_values_keep_their_types(name: str, tmp_path: Path) -> None:
    rows = [{"t": "é", "b": True, "i": 7, "f": [1.5, None]}, {"t": None, "b": False, "i": -1, "f": []}]
    assert values(open_table(write(tmp_path / name, WRITERS[name](rows)))) == rows


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_plain_and_compressed_files_and_what_is_reported_of_them(name: str, suffix: str, tmp_path: Path) -> None:
    rows = [{"n": f"{number}", "text": f"text {number}"} for number in range(1000)]
    path, progress = write(tmp_path / f"{name}{suffix}", COMPRESSORS[suffix](WRITERS[name](rows))), Counted()
    assert texts(path, progress=progress) == [row["text"] for row in rows]
    assert progress.done == pytest.approx(path.stat().st_size)


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.csv", '\n\ntext,n\r\n"one\r\n\n ""two""",1\r\n\r\nthree,2', [4, 8]),
        ("a.tsv", '\ufefftext\tn\n"one\t1\n\n\n""two"\t2\n', [2, 5]),
        ("a.jsonl", '\n{"text": "one"}\n \n{"text": "two"}', [2, 4]),
        ("a.json", '\ufeff\n [{"text": "one",\n"l": [\n1]}\n, {"text": "]"}]\n', [2, 5]),
        ("a.jsonl", '[\n{"text": "one"},\n\n{"text": "two"}]', [2, 4]),
        ("a.txt", "\n\tone \n \t\ntwo", [2, 4]),
        ("a.parquet", WRITERS["a.parquet"]([{"text": "one"}, {"text": "two"}]), [1, 2]),
        ("a.arrow", WRITERS["a.arrow"]([{"text": "one"}, {"text": "two"}]), [1, 2]),
    ],
)
def test_rows_say_where_they_stand(name: str, content: str | bytes, lines: list[int], tmp_path: Path) -> None:
    path = write(tmp_path / name, content)
    assert [record.source for record in open_table(path).rows] == [f"{path}:{line}" for line in lines]


def test_quotes_are_for_csv_alone_and_white_space_is_kept(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.csv", 'n,text\r\n1,"one, ""two""\r\nthree "\r\n')) == ['one, "two"\nthree ']
    assert texts(write(tmp_path / "a.tsv", 'n\ttext\r\n1\t" he said \n0\t""said"\n')) == ['" he said ', '""said"']
    assert texts(write(tmp_path / "a.txt", '"one\ttwo \n')) == ['"one\ttwo ']


@pytest.mark.parametrize(
    ("content", "delimiter", "expected"),
    [
        ("text;label\na, b;x\n\n'c';y\n", None, [("a, b", "x", 2), ("'c'", "y", 4)]),
        ("text|label\na;b|x\n", None, [("a;b", "x", 2)]),
        ('text\tlabel\n"a\tb"\tx\n', None, [("a\tb", "x", 2)]),
        ("text,label\na;b,x\n", None, [("a;b", "x", 2)]),
        ("sep=;\ntext;label\na;x\n", None, [("a", "x", 3)]),
        ('\ufeff"sep=^"\r\n\r\ntext^label\r\n"a^\r\nb"^x\r\nc^y', None, [("a^\nb", "x", 4), ("c", "y", 6)]),
        ("text^label\na^x\n", "^", [("a", "x", 2)]),
        ("text,label\na^b,x\n", "^", [("a^b", "x", 2)]),  # what a model was trained on need not be what it is used on
        (" text , label\n a,x \n", None, [(" a", "x ", 2)]),
    ],
)
def test_what_stands_between_the_fields_of_csv(
    content: str, delimiter: str | None, expected: list[tuple[str, str, int]], tmp_path: Path
) -> None:
    table = open_table(write(tmp_path / "a.csv", content), delimiter=delimiter)
    assert [(row.text("text"), row.text("label"), row.line) for row in table.rows] == expected


def test_a_cell_longer_than_a_page(tmp_path: Path) -> None:
    assert len(texts(write(tmp_path / "a.csv", "text\n" + "x" * 300_000))[0]) == 300_000


def test_json_objects_may_have_other_keys_than_the_first(tmp_path: Path) -> None:
    rows = [{"text": "a", "n": [1, {"x": -1.5e3}]}, {"other": {}}, {}]
    for name in ("a.json", "a.jsonl"):
        table = open_table(write(tmp_path / name, WRITERS[name](rows)))
        assert table.columns == ("text", "n")
        assert values(table) == rows


def test_lone_surrogates_of_json_become_replacement_characters(tmp_path: Path) -> None:
    row = r'{"text": "a\ud83d b \ud83d\ude00", "l": ["\uDE00"]}'
    for name, content in {"a.jsonl": row, "b.json": f"[{row}]"}.items():
        assert values(open_table(write(tmp_path / name, content))) == [{"text": "a\ufffd b \U0001f600", "l": ["\ufffd"]}]


@pytest.mark.parametrize("piece", [1, 2, 7])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_cut_anywhere(monkeypatch: pytest.MonkeyPatch, piece: int, indent: int | None) -> None:
    rows = [{"text": 'a\U0001f600\\"b', "f": -1.25, "t": True, "n": None, "l": [[], {}]}, {"text": "", "k": "\u00e9"}]
    text = json.dumps(rows, indent=indent)
    pieces = [text[at : at + piece].encode() for at in range(0, len(text), piece)]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pieces))
    assert values(open_table("-", "json")) == rows


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_json_objects_over_several_lines(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    rows = [{"text": "a\nb", "l": [[], {}]}, {}, {"text": "é"}]
    text = "\n".join(json.dumps(row, indent=1) for row in rows[:2]) + "  " + json.dumps(rows[2]) + "\n"
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=[text[at : at + piece].encode() for at in range(0, len(text), piece)])
    )
    records = list(open_table("-", "jsonl").rows)
    assert [record.values for record in records] == rows
    assert [record.line for record in records] == [1, 8, 8]


def test_a_long_json_object_over_several_lines(tmp_path: Path) -> None:
    row = {"l": ["x" * 1000] * 5000}
    assert values(open_table(write(tmp_path / "a.json", json.dumps(row, indent=1)))) == [row]


@pytest.mark.parametrize("name", ["a.txt", *WRITERS])
def test_memory_stays_bounded(tmp_path: Path, name: str) -> None:
    n_rows, text = 6000, "x" * 2000
    content = f"{text}\n".encode() * n_rows if name == "a.txt" else WRITERS[name]([{"text": text, "n": "1"}] * n_rows)
    path = write(tmp_path / name, content)
    del content
    tracemalloc.start()
    assert sum(1 for _ in open_table(path).rows) == n_rows
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


# Formats and standard input.


def test_format_overrides_the_extension(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "text,label\none,1\n")
    assert values(open_table(path, "csv")) == [{"text": "one", "label": "1"}]
    with pytest.raises(
        UsageError, match=r"unknown format 'xml'; the formats are csv, tsv, jsonl, json, txt, xlsx, parquet, arrow$"
    ):
        open_table(path, "xml")


def test_standard_input_is_text_unless_a_format_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def stdin(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    stdin(b"\xef\xbb\xbfone\r\n\ntwo\n")
    table = open_table("-")
    assert (table.path, table.format, table.columns) == ("standard input", "txt", ("text",))
    assert list(table.rows) == [Record({"text": "one"}, "standard input", 1), Record({"text": "two"}, "standard input", 3)]
    stdin(b"a,b\n1,2\n")
    assert values(open_table("-", "csv")) == [{"a": "1", "b": "2"}]
    stdin(b"good\nb\xff\n")
    with pytest.raises(InputError, match=r"standard input:2: invalid UTF-8 at byte 1 of the line \(0xff\); convert it"):
        list(open_table("-").rows)
    for name in ("parquet", "arrow"):
        with pytest.raises(InputError, match=rf"standard input: an? {name.title()} file is not read from a pipe; give "):
            open_table("-", name)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("csv", [b"text,n\n", b"one,1\n", b"two,2\n"]),
        ("tsv", [b"text\tn\n", b"one\t1\n", b"two\t2\n"]),
        ("jsonl", [b'{"text": "one"}\n', b'{"text": "two"}\n']),
        ("json", [b'[{"text": "one"},\n', b'{"text": "two"}]']),
    ],
)
def test_standard_input_is_read_as_it_comes(name: str, lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    arrived: list[bytes] = []

    def arriving() -> Iterator[bytes]:
        for line in lines:
            arrived.append(line)
            yield line

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=arriving()))
    assert next(open_table("-", name).rows).text("text") == "one"
    assert arrived == lines[:-1]  # all but what is not needed yet


# Columns.


@pytest.mark.parametrize("name", WRITERS)
def test_columns_are_chosen(name: str, tmp_path: Path) -> None:
    table = open_table(write(tmp_path / name, WRITERS[name]([{"id": "7", "text": "a", "n": "1"}])))
    assert table.columns == ("id", "text", "n")
    (record,) = table.with_columns("text", None, "nowhere", "id")
    assert {column: record.values[column] for column in ("id", "text")} == {"id": "7", "text": "a"}
    if "json" not in name:
        assert set(record.values) == {"id", "text"}


@pytest.mark.parametrize("name", COLUMNAR)
def test_columns_that_are_not_asked_for_are_not_read(name: str, tmp_path: Path) -> None:
    bad = pyarrow.array([b"\xff"]).view("string")  # makes whoever reads it fail
    table = pyarrow.table({"image": bad, "text": ["a"]})
    content = {
        "a.parquet": parquet_bytes,
        "b.arrow": lambda table: arrow_bytes(table, ipc.new_stream),
    }.get(name, arrow_bytes)(table)
    path = write(tmp_path / name, content)
    assert texts(path) == ["a"]
    with pytest.raises(InputError, match=r":1: invalid UTF-8 at byte 0 of the column 'image' \(0xff\); convert it to UTF-8$"):
        list(open_table(path).rows)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_columns_of_the_same_name_are_refused_where_they_are_asked_for(name: str, tmp_path: Path) -> None:
    separator = "," if name == "a.csv" else "\t"
    table = open_table(write(tmp_path / name, separator.join(["a", "b", "b", "", ""]) + "\n" + separator.join("12345") + "\n"))
    assert [record.values for record in table.with_columns("a", "")] == [{"a": "1", "": "5"}]
    for choose in (lambda: table.rows, lambda: table.with_columns("b")):
        with pytest.raises(InputError, match=r"a\.[ct]sv: two columns are named 'b'; rename one, so that it is clear which"):
            choose()


COLA = Layout("CoLA", re.compile(r"[^\t]*\t[01]\t\*?\t[^\t]+"), ("source", "label", "mark", "text"))
LOOSE = Layout("loose", re.compile(r"n\ttext.*"), uneven="read")
BROKEN = Layout("QQP", re.compile("qid\ttext"), uneven="left out")


@pytest.mark.parametrize("separator", [",", "\t"])
def test_layouts(separator: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def read(*rows: Sequence[str]) -> list[tuple[str, int]]:
        path = write(tmp_path / ("a.csv" if separator == "," else "a.tsv"), "".join(separator.join(row) + "\n" for row in rows))
        table = open_table(path, layouts=(COLA, LOOSE, BROKEN))
        return [(record.text("text"), record.line) for record in table.with_columns("text")]

    assert read(["gj04", "1", "", "One."], ["bc01", "0", "*", "Two the."]) == [("One.", 1), ("Two the.", 2)]
    assert read(["id", "label", "*", "text"], ["1", "1", "*", "x"]) == [("x", 2)]
    assert read(["n", "text", "m"], ["1", "a"], ["1", "b", "c", "d"]) == [("a", 2), ("b", 3)]
    with pytest.raises(InputError, match=r"a\.[ct]sv:2 has 1 fields where the header has 3: \['1'\]; is "):
        read(["n", "text", "m"], ["1"])
    assert not caplog.messages
    assert read(["qid", "text"], ["1"], ["1", "a"], ["1", "2", "3"]) == [("a", 3)]
    assert re.fullmatch(r".*a\.[ct]sv: left out 2 broken rows of QQP, the first .*a\.[ct]sv:2", caplog.messages[0])


# What cannot be read: one set of messages.

FORM = "; write one object a line, or one array of objects"
NO_COLUMN = " has no column 'text'; did you mean 'texts'? its columns are 'texts', 'n'; choose one with --field"
NO_TEXT = "where text is expected; write text, or take the row out"
REFUSED: list[tuple[str, str | bytes, str]] = [
    *((name, writer([{"texts": "a", "n": "b"}]), NO_COLUMN) for name, writer in WRITERS.items()),
    *((name, WRITERS[name]([{"text": "a"}, {"text": None}]), f":2: the column 'text' holds None {NO_TEXT}") for name in TYPED),
    *((name, WRITERS[name]([{"text": ["a"]}]), f":1: the column 'text' holds ['a'] {NO_TEXT}") for name in TYPED),
    ("a.jsonl", '{"text": "a"}\n{"b": 1}', ":2 has no column 'text'; its columns are 'b'; add it, or take the row out"),
    ("a.json", '[{"text": "a"},\n{}]', ":2 has no column 'text'; its columns are none; add it, or take the row out"),
    ("a.json", "{}", " has no column 'text'; its columns are none; choose one with --field"),
    # CSV and TSV.
    ("a.csv", 'text,b\n"x\ny",1\nz\n', ":4 has 1 fields where the header has 2: ['z']; is a quotation mark not closed, or a"),
    ("a.csv", "text\nx,1\n", ":2 has 2 fields where the header has 1: ['x', '1']; is a quotation mark not closed"),
    (
        "a.csv",
        "text;b\nx;1;2\n",
        ":2 has 3 fields where the header has 2: ['x', '1', '2']; is a quotation mark not closed, or a text with ';'",
    ),
    ("a.csv", 'sep=;\ntext;b\nx;1\n"z;2\nw;3\n', ":4: unexpected end of data; is a quotation mark not closed?"),
    ("a.csv", 'text,b\nx,1\n"z,2\nw,3\n', ":3: unexpected end of data; is a quotation mark not closed?"),
    ("a.csv", 'text,b\n"x"y,1\n', ":2: ',' expected after '\"'; is a quotation mark not closed?"),
    ("a.tsv", "text\tb\nx\t1\ny\t2\t3\n", ":3 has 3 fields where the header has 2: ['y', '2', '3']; is there a tab or a line"),
    # JSON.
    ("a.jsonl", '{"text": "a"}\n{"text": \n', f":2 is not valid JSON: Expecting value: the text ends there{FORM}"),
    (
        "a.jsonl",
        '{"text":\n"a"}\n{"text": 1,\n',
        f":3 is not valid JSON: Expecting property name enclosed in double quotes: the text ends there{FORM}",
    ),
    ("a.json", '{\n"text": "a"}\n7', f":3 holds 7 where a JSON object is expected{FORM}"),
    ("a.jsonl", '{"text": "a"} x\n', f":1 is not valid JSON: Extra data: 'x\\n'{FORM}"),
    ("a.jsonl", '{"text": "a"}\n[1]\n', f":2 holds [1] where a JSON object is expected{FORM}"),
    ("a.jsonl", '{"a": ' + "[" * 100_000 + "\n", ":1 is not valid JSON: maximum recursion depth exceeded"),
    ("a.jsonl", '{"a": ' + "9" * 5000 + "}\n", ":1 is not valid JSON: Exceeds the limit"),
    ("a.json", '[{"text": "a"},\n{"text" 2}]', f":2 is not valid JSON: Expecting ':' delimiter: '2}}]'{FORM}"),
    ("a.json", '[{"text": "a"}\n{"text": 2}]', f":2 is not valid JSON: '{{' where ',' or ']' is expected{FORM}"),
    ("a.json", '[{"text": "a"},\n{"text": "2', f":2 is not valid JSON: Unterminated string starting at: '\"2'{FORM}"),
    ("a.json", '[{"text": "a"}\n', f":2 is not valid JSON: the end of the file where ',' or ']' is expected{FORM}"),
    ("a.json", '[{"text": "a"}]\n[', f":2 is not valid JSON: '[' after the end of the array{FORM}"),
    ("a.json", '[{"text": "a"}, "b"]\n', f":1 holds 'b' where a JSON object is expected{FORM}"),
    # Bytes.
    ("a.csv", b"text\nn\xc3\xa9\xff\n", ":2: invalid UTF-8 at byte 3 of the line (0xff); convert it to UTF-8"),
    ("a.tsv", b"text\n\xe4\xb8", ":2: invalid UTF-8 at byte 0 of the line (0xe4); convert it to UTF-8"),
    ("a.jsonl.gz", gzip.compress(b'{"text":\xff}'), ":1: invalid UTF-8 at byte 8 of the line (0xff); convert it to UTF-8"),
    ("a.csv", b"text\0", " is not text: it has a NUL byte at byte 4; convert it to UTF-8 text or leave it out"),
    ("a.txt.gz", b"\x1f\x8b\x08\x00", " is truncated or damaged: "),
    *(
        (name, b"", f" is not {noun}, or is damaged: ")
        for name, noun in {"a.parquet": "a Parquet file", "a.arrow": "an Arrow file", "a.parquet.gz": "a Parquet file"}.items()
    ),
    ("a.parquet", b"PAR1 is what this is not", " is not a Parquet file, or is damaged: "),
    ("a.arrow", b"ARROW1 is what this is not", " is not an Arrow file, or is damaged: "),
    # Extensions.
    ("a.md", "text", " has no extension that says how to read it: known are .csv .tsv .jsonl .json .txt .xlsx .parquet .arrow"),
    ("a.gz", "text", " has no extension that says how to read it: known are "),
]


@pytest.mark.parametrize(("name", "content", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_read(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InputError, match="^" + re.escape(f"{path}{message}")):
        texts(path)


@pytest.mark.parametrize("name", COLUMNAR)
def test_half_a_columnar_file(name: str, tmp_path: Path) -> None:
    content = WRITERS[name]([{"text": f"{row}" * 50} for row in range(1000)])
    with pytest.raises(InputError, match=r"is not an? (Parquet|Arrow) file, or is damaged: .*; copy or write it|cannot read"):
        texts(write(tmp_path / name, content[: len(content) // 2]))


def test_bytes_that_are_not_utf8_may_be_replaced(tmp_path: Path) -> None:
    column = pyarrow.array([b"fine", None, b"\xff\xfe"]).view("string")
    for name, content in {
        "a.tsv": b"text\nfine\n\xff\xfe\n",
        "a.parquet": parquet_bytes(pyarrow.table({"text": column})),
    }.items():
        rows = values(open_table(write(tmp_path / name, content), decoding=Decoding("replace")))
        assert [row["text"] for row in rows if row["text"]] == ["fine", "\ufffd\ufffd"]
        with pytest.raises(InputError, match=r":3: invalid UTF-8 at byte 0 of the .* \(0xff\); ask for it$"):
            list(open_table(tmp_path / name, decoding=Decoding(remedy="ask for it")).rows)


def test_missing_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "none.parquet", "none.arrow", "none"):
        with pytest.raises(InputError, match=rf"{name} does not exist; check its name"):
            open_table(tmp_path / name)
    for path in (tmp_path / "folder.csv", tmp_path):
        with pytest.raises(InputError, match="is a directory; give a file in it"):
            open_table(path)


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", "", ()),
        ("a.csv", "a,b\n", ("a", "b")),
        ("a.tsv", "\n\n", ()),
        ("a.json", "[]", ()),
        ("a.jsonl", " \n", ()),
        ("a.txt", " \n\n", ()),
        ("a.parquet", parquet_bytes(pyarrow.table({"a": pyarrow.array([], "string")})), ("a",)),
        ("a.arrow", arrow_bytes(pyarrow.table({"a": pyarrow.array([], "string")})), ("a",)),
        ("a.arrow", arrow_bytes(pyarrow.table({"a": pyarrow.array([], "string")}), ipc.new_stream), ("a",)),
    ],
)
def test_tables_without_rows(name: str, content: str | bytes, columns: tuple[str, ...], tmp_path: Path) -> None:
    table = open_table(write(tmp_path / name, content))
    assert (table.is_empty, table.columns, list(table.rows)) == (True, columns, [])

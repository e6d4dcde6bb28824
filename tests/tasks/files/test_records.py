import gzip
import io
import json
import logging
import lzma
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from bertsmith.errors import InputError, UsageError
from bertsmith.tasks.files.candidates import RankColumns, read_queries
from bertsmith.tasks.files.pairs import read_pairs
from bertsmith.tasks.files.records import Record, Table, read_table
from bertsmith.tasks.files.texts import Columns, read_texts


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(table: Table) -> list[dict[str, Any]]:
    return [dict(record.values) for record in table.rows]


def lines(table: Table) -> list[int]:
    return [int(record.source.rpartition(":")[2]) for record in table.rows]


# Formats.


def test_csv_with_quotes_commas_and_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\r\n"one, ""two""\r\nthree",1\r\n\r\nfour,0\r\n')
    table = read_table(path)
    assert (table.path, table.columns) == (str(path), ("text", "label"))
    assert list(table.rows) == [
        Record({"text": 'one, "two"\nthree', "label": "1"}, f"{path}:2"),
        Record({"text": "four", "label": "0"}, f"{path}:5"),
    ]


def test_quotes_are_ordinary_in_tsv(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.tsv", '\ufeffQuality\t#1 String\n1\t" he said\n\n0\t""said"\n'))
    assert table.columns == ("Quality", "#1 String")
    assert values(table) == [{"Quality": "1", "#1 String": '" he said'}, {"Quality": "0", "#1 String": '""said"'}]


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    rows = [{"text": "é", "label": True, "scores": [1, 2.5, None]}, {"other": {"a": 1}}]
    for name in ("a.jsonl", "a.json"):
        table = read_table(write(tmp_path / name, "\n" + "\n\n".join(map(json.dumps, rows))))
        assert table.columns == ("text", "label", "scores")
        records = list(table.rows)
        assert [record.values for record in records] == rows
        assert [record.source for record in records] == [f"{tmp_path / name}:2", f"{tmp_path / name}:4"]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_of_objects(tmp_path: Path, indent: int | None) -> None:
    rows = [{"text": "a\nb", "n": [1, {"x": -1.5e3}]}, {"text": "]"}, {}]
    path = write(tmp_path / "a.json", "\ufeff\n " + json.dumps(rows, indent=indent) + "\n")
    table = read_table(path)
    assert table.columns == ("text", "n")
    records = list(table.rows)
    assert [record.values for record in records] == rows
    first = 2 if indent is None else 3
    assert records[0].source == f"{path}:{first}"
    assert records[1].source == f"{path}:{first if indent is None else 12}"


@pytest.mark.parametrize("piece", [1, 2, 7])
def test_a_json_array_cut_anywhere(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    rows = [{"text": 'a\U0001f600\\"b', "f": -1.25, "t": True, "n": None, "l": [[], {}]}, {"text": "", "k": "\u00e9"}]
    text = json.dumps(rows, indent=1)
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=[text[i : i + piece].encode() for i in range(0, len(text), piece)])
    )
    assert values(read_table("-", "json")) == rows


def test_text_one_a_line(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.txt", '\n"one\ttwo \n \t\nthree'))
    assert table.columns == ("text",)
    assert list(table.rows) == [
        Record({"text": '"one\ttwo '}, f"{tmp_path}/a.txt:2"),
        Record({"text": "three"}, f"{tmp_path}/a.txt:4"),
    ]


def test_format_overrides_the_extension(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "text,label\none,1\n")
    assert values(read_table(path, "csv")) == [{"text": "one", "label": "1"}]


def test_compressed_files(tmp_path: Path) -> None:
    data = b"text\tlabel\none\t1\n"
    for suffix, compressed in {
        ".gz": gzip.compress(data),
        ".xz": lzma.compress(data),
        ".zst": pyarrow.compress(data, "zstd", asbytes=True),
    }.items():
        table = read_table(write(tmp_path / f"a.tsv{suffix}", compressed))
        assert values(table) == [{"text": "one", "label": "1"}]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def stdin(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    stdin(b"\xef\xbb\xbfone\r\n\ntwo\n")
    table = read_table("-")
    assert table.path == "standard input"
    assert list(table.rows) == [Record({"text": "one"}, "standard input:1"), Record({"text": "two"}, "standard input:3")]
    stdin(b"a,b\n1,2\n")
    assert values(read_table("-", "csv")) == [{"a": "1", "b": "2"}]
    stdin(b"good\nb\xff\n")
    with pytest.raises(InputError, match=r"standard input:2: invalid UTF-8 at byte 1 of the line; convert it"):
        list(read_table("-").rows)


def test_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    arrived: list[bytes] = []

    def arriving() -> Iterator[bytes]:
        for line in (b"text\tlabel\n", b"one\t1\n", b"two\t2\n"):
            arrived.append(line)
            yield line

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=arriving()))
    table = read_table("-", "tsv")
    next(table.rows)
    assert arrived == [b"text\tlabel\n", b"one\t1\n"]


# Headers.


def test_cola_has_no_header(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "train.tsv", 'gj04\t1\t\t"One.\nbc01\t0\t*\tTwo the.\n'))
    assert table.columns == ("source", "label", "mark", "sentence")
    assert values(table)[1] == {"source": "bc01", "label": "0", "mark": "*", "sentence": "Two the."}


def test_sts_b_with_gold_has_no_header_and_rows_with_more_fields(tmp_path: Path) -> None:
    row = "main-captions\tMSRvid\t2012test\t0024\t2.500\tA girl.\tGirls."
    table = read_table(write(tmp_path / "test.tsv", f"{row}\n{row}\thttp://a\thttp://b\n"))
    assert table.columns == ("genre", "filename", "year", "old_index", "score", "sentence1", "sentence2")
    first, second = values(table)
    assert first == second
    assert (first["score"], first["sentence2"]) == ("2.500", "Girls.")
    with pytest.raises(InputError, match=r"short\.tsv:2 has 6 fields where the header has 7"):
        list(read_table(write(tmp_path / "short.tsv", f"{row}\n{row.rpartition(chr(9))[0]}\n")).rows)


def test_other_tables_of_four_columns_have_a_header(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.tsv", "id\tlabel\t*\ttext\n1\t1\t*\tx\n"))
    assert table.columns == ("id", "label", "*", "text")
    assert len(values(table)) == 1


def test_broken_rows_of_qqp_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    path = write(tmp_path / "a.tsv", f"{header}\n0\t1\t2\tWhy?\tHow?\t0\n1\t3\t4\tWhat\nis it?\tWho?\t1\n2\t5\t6\ta\tb\t1\n")
    with caplog.at_level(logging.WARNING, "bertsmith"):
        assert [row["id"] for row in values(read_table(path))] == ["0", "2"]
    assert caplog.messages == [f"{path}: left out 2 broken rows of QQP, the first {path}:3"]


def test_columns_of_the_same_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv:1: two columns are named 'b'; rename one"):
        read_table(write(tmp_path / "a.csv", "a,b,b\n1,2,3\n"))
    assert values(read_table(write(tmp_path / "c.csv", "a,,\n1,,\n"))) == [{"a": "1", "": ""}]


# What cannot be read.


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'a,b\n"x\ny",1\nz\n', r"a\.csv:4 has 1 fields where the header has 2; is a quotation mark not closed"),
        ("a.csv", 'a,b\nx,1\n"z,2\nw,3\n', r"a\.csv:3: .*; is a quotation mark not closed\?"),
        ("a.tsv", "a\tb\nx\t1\ny\t2\t3\n", r"a\.tsv:3 has 3 fields where the header has 2; is there a tab or a line break"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', r"a\.jsonl:2 is not valid JSON"),
        ("a.jsonl", '{"a": 1}\n[1]\n', r"a\.jsonl:2 holds a list where a JSON object is expected"),
        ("a.jsonl", '{"a": ' + "[" * 100_000 + "\n", r"a\.jsonl:1 is not valid JSON"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}\n", r"a\.jsonl:1 is not valid JSON"),
        ("a.json", '[{"a": 1},\n{"a" 2}]', r"a\.json:2 is not valid JSON: Expecting ':' delimiter"),
        ("a.json", '[{"a": 1}\n{"a": 2}]', r"a\.json:2 is not valid JSON: '\{' where ',' or '\]' is expected"),
        ("a.json", '[{"a": 1},\n{"a": "2', r"a\.json:2 is not valid JSON: Unterminated string"),
        ("a.json", '[{"a": 1}\n', r"a\.json:2 is not valid JSON: the end of the file where"),
        ("a.json", '[{"a": 1}]\n[', r"a\.json:2 is not valid JSON: '\[' after the end of the array"),
        ("a.json", '[{"a": 1}, 2]\n', r"a\.json:1 holds a int where a JSON object is expected"),
        ("a.json", "[]", r"a\.json holds no rows; give a file with at least one example"),
        ("a.json", "", r"a\.json holds no rows"),
        ("a.csv", "", r"a\.csv holds no rows"),
        ("a.tsv", "a\tb\n", r"a\.tsv holds no rows"),
        ("a.txt", " \n\n", r"a\.txt holds no rows"),
        ("a.txt", b"\x61\xff\x61", r"a\.txt: invalid UTF-8 at byte 1; convert it to UTF-8$"),
        ("a.md", "text", r"a\.md has no extension that says how to read it: known are \.csv \.tsv \.jsonl \.json \.txt, each"),
        ("a.gz", "text", r"a\.gz has no extension"),
        ("a.txt.gz", b"\x1f\x8b\x08\x00", r"a\.txt\.gz is truncated or damaged"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_table(write(tmp_path / name, content)).rows)


def test_missing_files_directories_and_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv does not exist; check its name"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"folder\.csv is a directory; give a file in it"):
        read_table(tmp_path / "folder.csv")
    with pytest.raises(UsageError, match=r"unknown format 'xml'; the formats are csv, tsv, jsonl, json, txt"):
        read_table(write(tmp_path / "a.txt", "x"), "xml")


def test_lone_surrogates_of_json_become_replacement_characters(tmp_path: Path) -> None:
    row = r'{"text": "a\ud83d b \ud83d\ude00", "l": ["\uDE00"]}'
    for name, content in {"a.jsonl": row, "b.json": f"[{row}]"}.items():
        table = read_table(write(tmp_path / name, content))
        assert values(table) == [{"text": "a\ufffd b \U0001f600", "l": ["\ufffd"]}]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt"])
def test_memory_stays_bounded(tmp_path: Path, name: str) -> None:
    n_rows, text = 6000, "x" * 2000
    rows = {
        "a.csv": "text,n\n" + f"{text},1\n" * n_rows,
        "a.tsv": "text\tn\n" + f"{text}\t1\n" * n_rows,
        "a.json": "[" + ",".join([f'{{"text": "{text}"}}'] * n_rows) + "]",
        "a.jsonl": f'{{"text": "{text}"}}\n' * n_rows,
        "a.txt": f"{text}\n" * n_rows,
    }[name]
    path = write(tmp_path / name, rows)
    del rows
    tracemalloc.start()
    assert sum(1 for _ in read_table(path).rows) == n_rows
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist; check its name"):
        read_table(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a directory; give a file in it"):
        read_table(tmp_path)


# Parquet.


def parquet_with_damage(path: Path, damaged: str, **columns: list[Any]) -> Path:
    """Write a file, and overwrite what holds the values of a column, so that whoever reads it fails."""
    parquet.write_table(pyarrow.table(columns), path)
    with parquet.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        found = next(group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == damaged)
    content = bytearray(path.read_bytes())
    begin = min(found.data_page_offset, found.dictionary_page_offset or found.data_page_offset)
    content[begin : begin + found.total_compressed_size] = b"\xff" * found.total_compressed_size
    return write(path, bytes(content))


def test_columns_of_parquet_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    path = parquet_with_damage(tmp_path / "a.parquet", "image", text=["a", "b"], image=[b"x" * 99, b"y" * 99], id=[7, 8])
    table = read_table(path)
    assert table.columns == ("text", "image", "id")
    rows = list(table.with_columns("text", None, "nowhere", "id"))
    assert rows == [Record({"text": "a", "id": 7}, f"{path}:1"), Record({"text": "b", "id": 8}, f"{path}:2")]
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet"):
        list(table.rows)
    (one, _) = read_texts(path, Columns(), labelled=False)
    assert (one.text, one.id) == ("a", "7")


def test_nor_are_those_of_pairs_and_candidates(tmp_path: Path) -> None:
    texts = {"query": ["a"], "positive": ["b"], "negative": ["c"]}
    path = parquet_with_damage(tmp_path / "a.parquet", "image", **texts, image=[b"x" * 99], id=[7])
    (pair,) = read_pairs(path, Columns(), labelled=True)
    assert (pair.texts, pair.id) == (("a", "b", "c"), "7")
    (query,) = read_queries(path, RankColumns(), labelled=True)
    assert (query.candidates, query.id) == (("b", "c"), "7")


def test_other_files_have_all_their_columns(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", "a,b\n1,2\n"))
    assert [record.values for record in table.with_columns("a")] == [{"a": "1", "b": "2"}]


def test_parquet_without_rows(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="holds no rows"):
        read_table(tmp_path / "a.parquet")


# The Hugging Face hub, from local directories.


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


@pytest.mark.usefixtures("local_hub")
def test_a_dataset_with_class_labels(tmp_path: Path) -> None:
    import datasets

    labels = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"text": datasets.Value("string"), "label": labels, "tags": datasets.List(labels)})
    rows = {"text": ["a", "b", "c"], "label": [1, 0, -1], "tags": [[0, 1], [], [1]]}
    directory = tmp_path / "sets@home" / "mine"
    (directory / "data").mkdir(parents=True)
    datasets.Dataset.from_dict(rows, features=features).to_parquet(directory / "data" / "train-00000.parquet")
    address = f"hub:{directory}:train"
    table = read_table(address)
    assert table.columns == ("text", "label", "tags")
    assert list(table.rows) == [
        Record({"text": "a", "label": "good", "tags": ["bad", "good"]}, f"{address}:1"),
        Record({"text": "b", "label": "bad", "tags": []}, f"{address}:2"),
        Record({"text": "c", "label": None, "tags": ["good"]}, f"{address}:3"),
    ]
    assert len(values(read_table(f"hub:{directory}@default:train[:2]"))) == 2
    with pytest.raises(InputError, match=r"cannot read hub:.*:dev: .*dev"):
        read_table(f"hub:{directory}:dev")
    with pytest.raises(InputError, match=r"cannot read hub:.*@other:train: .*other"):
        read_table(f"hub:{directory}@other:train")
    with pytest.raises(InputError, match=r"cannot read hub:.*none:train"):
        read_table(f"hub:{tmp_path / 'none'}:train")


def test_hub_addresses_without_a_split() -> None:
    with pytest.raises(InputError, match=r"hub:imdb does not say which dataset is meant; write hub:NAME:SPLIT"):
        read_table("hub:imdb")


def test_the_hub_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"reading hub:imdb:train needs .*: pip install 'bertsmith\[hub\]'"):
        read_table("hub:imdb:train")


# The real benchmarks, where they are.

REAL = Path(__file__).parents[4] / "shared" / "data" / "tasks"


@pytest.mark.skipif(not REAL.is_dir(), reason="the benchmarks are not in ../shared/data/tasks")
@pytest.mark.parametrize(
    ("name", "n_rows"),
    [
        ("glue/SST-2/train.tsv.gz", 67_349),
        ("glue/SST-2/dev.tsv", 872),
        ("glue/SST-2/test.tsv", 1_821),
        ("glue/CoLA/train.tsv", 8_551),
        ("glue/CoLA/dev.tsv", 1_043),
        ("glue/CoLA/test.tsv", 1_063),
        ("glue/MRPC/train.tsv", 3_667),
        ("glue/MRPC/dev.tsv", 408),
        ("glue/MRPC/test.tsv", 1_725),
        ("glue/STS-B/train.tsv", 5_749),
        ("glue/STS-B/dev.tsv", 1_500),
        ("glue/STS-B/test.tsv", 1_379),
        ("glue/STS-B/test_with_gold.tsv", 1_379),
        ("chnsenticorp/train.tsv", 9_600),
        ("chnsenticorp/dev.tsv", 1_200),
        ("chnsenticorp/test.tsv", 1_200),
        ("chnsenticorp/test_nolabel.tsv", 1_200),
        ("ocnli/train.10k.json", 10_000),
        ("ocnli/dev.json", 3_000),
        ("fake_news_pair/train-small.csv", 2_000),
        ("fake_news_pair/test-small.csv", 100),
        ("wikiqa/train.tsv.gz", 8_672),
        ("wikiqa/dev.tsv", 1_130),
        ("wikiqa/test.tsv", 2_351),
    ],
)
def test_real_benchmarks_are_read_whole(name: str, n_rows: int) -> None:
    table = read_table(REAL / name)
    assert sum(set(record.values) >= set(table.columns) for record in table.rows) == n_rows

import logging
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from bertsmith.errors import ConfigError, InputError, UsageError
from bertsmith.sources.example_tables import TableConfig, read_table
from bertsmith.sources.tables import Record, Table
from bertsmith.tasks.files.candidates import RankColumns, read_queries
from bertsmith.tasks.files.pairs import read_pairs
from bertsmith.tasks.files.texts import Columns, read_texts


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(table: Table) -> list[dict[str, Any]]:
    return [dict(record.values) for record in table.rows]


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


def test_headers_of_spreadsheets(tmp_path: Path) -> None:
    assert values(read_table(write(tmp_path / "c.csv", "a,,\n1,,\n"))) == [{"a": "1", "": ""}]


@pytest.mark.parametrize(("written", "separator"), [("^", "^"), ("tab", "\t"), ("\\t", "\t"), (None, ";")])
def test_delimiters(tmp_path: Path, written: str | None, separator: str) -> None:
    path = write(tmp_path / "a.csv", f"text{separator}label\na{separator}x\n")
    assert values(read_table(path, config=TableConfig(delimiter=written))) == [{"text": "a", "label": "x"}]
    (example,) = read_texts(path, Columns(delimiter=written), labelled=True)
    assert (example.text, example.label) == ("a", "x")


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n"])
def test_what_is_no_delimiter(delimiter: str) -> None:
    with pytest.raises(ConfigError, match="a delimiter is one character such as ; or the word tab"):
        TableConfig(delimiter=delimiter)


# What cannot be read; messages of all tables are tested with these.


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", "[]"), ("a.jsonl", ""), ("a.csv", ""), ("a.csv", "a,b\n"), ("a.tsv", "a\tb\n"), ("a.txt", " \n\n")],
)
def test_tables_without_rows(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(InputError, match=r"a\.[a-z]+ holds no rows; give a file with at least one example"):
        read_table(write(tmp_path / name, content))


def test_missing_files_and_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv does not exist; check its name"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(
        InputError, match=r"a\.md has no extension that says how to read it: .*; rename the file or give its --format"
    ):
        read_table(write(tmp_path / "a.md", "x"))
    with pytest.raises(UsageError, match=r"unknown format 'xml'"):
        read_table(write(tmp_path / "a.txt", "x"), "xml")


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
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet"):
        list(read_table(path).rows)
    (one, _) = read_texts(path, Columns(), labelled=False)
    assert (one.text, one.id) == ("a", "7")


def test_nor_are_those_of_pairs_and_candidates(tmp_path: Path) -> None:
    texts = {"query": ["a"], "positive": ["b"], "negative": ["c"]}
    path = parquet_with_damage(tmp_path / "a.parquet", "image", **texts, image=[b"x" * 99], id=[7])
    (pair,) = read_pairs(path, Columns(), labelled=True)
    assert (pair.texts, pair.id) == (("a", "b", "c"), "7")
    (query,) = read_queries(path, RankColumns(), labelled=True)
    assert (query.candidates, query.id) == (("b", "c"), "7")


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
        Record({"text": "a", "label": "good", "tags": ["bad", "good"]}, address, 1),
        Record({"text": "b", "label": "bad", "tags": []}, address, 2),
        Record({"text": "c", "label": None, "tags": ["good"]}, address, 3),
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

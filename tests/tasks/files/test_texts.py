import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import ConfigError, InputError
from bertsmith.tasks.files.texts import Columns, TextExample, read_texts


def json_lines(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tsv(path: Path, *rows: Sequence[str]) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labelled(path: Path, **columns: Any) -> list[TextExample]:
    return list(read_texts(path, Columns(**columns), labelled=True))


def unlabelled(path: Path, **columns: Any) -> list[TextExample]:
    return list(read_texts(path, Columns(**columns), labelled=False))


# Which columns.


@pytest.mark.parametrize(
    ("header", "text", "pair", "label"),
    [
        ("sentence label", "sentence", None, "label"),  # SST-2
        ("index sentence", "sentence", None, None),
        ("index question sentence label", "question", "sentence", "label"),  # QNLI
        ("index sentence1 sentence2 label", "sentence1", "sentence2", "label"),  # RTE, WNLI
        ("index genre source1 source2 sentence1 sentence2 score", "sentence1", "sentence2", "score"),  # STS-B
        ("index pairID sentence1_parse sentence1 sentence2 label1 gold_label", "sentence1", "sentence2", "gold_label"),  # MNLI
        ("id qid1 qid2 question1 question2 is_duplicate", "question1", "question2", "is_duplicate"),  # QQP
        ("id question1 question2", "question1", "question2", None),
        ("question_id question answer label", "question", "answer", "label"),  # WikiQA
        ("premise hypothesis label idx", "premise", "hypothesis", "label"),
        ("label text_a text_b", "text_a", "text_b", "label"),
        ("label text_a", "text_a", None, "label"),
        ("text label", "text", None, "label"),
        ("id tid1 tid2 title1_zh title2_zh title1_en title2_en label", "title1_zh", "title2_zh", "label"),
    ],
)
def test_known_layouts(tmp_path: Path, header: str, text: str, pair: str | None, label: str | None) -> None:
    columns = header.split()
    path = tsv(tmp_path / "a.tsv", columns, [f"the {column}" for column in columns])
    (example,) = unlabelled(path)
    assert (example.text, example.pair, example.label) == (f"the {text}", pair and f"the {pair}", None)
    if label:
        (example,) = labelled(path)
        assert (example.text, example.pair, example.label) == (f"the {text}", pair and f"the {pair}", f"the {label}")


def test_mrpc_and_cola(tmp_path: Path) -> None:
    mrpc = tsv(tmp_path / "m.tsv", ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"], ["1", "7", "8", '" a', "b"])
    assert labelled(mrpc) == [TextExample('" a', "b", "1", "0", f"{mrpc}:2")]
    cola = tsv(tmp_path / "c.tsv", ["gj04", "1", "", "One."], ["gj04", "0", "*", "Two the."])
    assert labelled(cola) == [
        TextExample("One.", None, "1", "0", f"{cola}:1"),
        TextExample("Two the.", None, "0", "1", f"{cola}:2"),
    ]


def test_columns_given(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "a.jsonl", {"text": "t", "label": "l", "title": "u", "topic": "v", "body": "w"})

    def taken(**columns: str) -> tuple[str, str | None, Any]:
        (example,) = labelled(path, **columns)
        return example.text, example.pair, example.label

    assert taken() == ("t", None, "l")
    assert taken(label="topic") == ("t", None, "v")
    assert taken(pair="title") == ("t", "u", "l")
    assert taken(text="title") == ("u", None, "l")
    assert taken(text="title", pair="body", label="topic") == ("u", "w", "v")


def test_a_given_text_takes_no_pair_by_itself(tmp_path: Path) -> None:
    path = json_lines(tmp_path / "a.jsonl", {"sentence1": "a", "sentence2": "b"})
    assert unlabelled(path, text="sentence1")[0].pair is None


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", ["headline", "topic"], ["a", "b"])
    with pytest.raises(
        InputError, match=r"a\.tsv: .* hold the text; its columns are 'headline', 'topic'; say which with --text"
    ):
        unlabelled(path)
    with pytest.raises(InputError, match=r"a\.tsv: .* hold the label; its columns are 'headline', 'topic'; say .* --label"):
        labelled(path, text="headline")
    message = r"a\.tsv has no column 'headlines'; did you mean 'headline'\? its columns are 'headline', 'topic'; .*--text"
    with pytest.raises(InputError, match=message):
        unlabelled(path, text="headlines")
    with pytest.raises(InputError, match=r"has no column 'x'; its columns are 'headline', 'topic'; choose one with --pair"):
        unlabelled(path, text="headline", pair="x")
    with pytest.raises(InputError, match=r"has no column 'topics'; did you mean 'topic'\? .*--label"):
        labelled(path, text="headline", label="topics")


def test_columns_are_checked_before_examples_are_asked_for(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", ["headline", "topic"], ["a", "b"])
    with pytest.raises(InputError):
        read_texts(path, Columns(), labelled=True)


def test_unlabelled_examples_need_no_label_column(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", ["text"], ["a"])
    assert unlabelled(path, label="topic") == [TextExample("a", None, None, "0", f"{path}:2")]


# Examples.


def test_labels_of_json(tmp_path: Path) -> None:
    labels = ["a", 1, 0, -1, True, False, 2.5, 3.0, [], ["x", 2, True]]
    path = json_lines(tmp_path / "a.jsonl", *({"text": "t", "label": label} for label in labels))
    found = [example.label for example in labelled(path, skip_labels=())]
    assert found == ["a", "1", "0", "-1", "true", "false", 2.5, "3", [], ["x", "2", "true"]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "t", "label": None}, r"a\.jsonl:2: the label 'label' is missing; label the row or take it out"),
        ({"text": "t", "label": " "}, r"a\.jsonl:2: the label 'label' is missing"),
        ({"text": "t"}, r"a\.jsonl:2: the label 'label' is missing"),
        ({"text": "t", "label": {"a": 1}}, r"a\.jsonl:2: the label 'label' holds \{'a': 1\} where"),
        ({"text": "t", "label": ["a", None]}, r"a\.jsonl:2: the label 'label' holds None where"),
        ({"text": "t", "label": float("nan")}, r"a\.jsonl:2: the label 'label' is nan, which is no number to learn"),
        ({"text": None, "label": "a"}, r"a\.jsonl:2: the column 'text' holds None where text is expected"),
        ({"text": ["t"], "label": "a"}, r"a\.jsonl:2: the column 'text' holds \['t'\] where text is expected"),
        ({"body": "t", "label": "a"}, r"a\.jsonl:2 has no column 'text'; its columns are 'body', 'label'"),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    examples = read_texts(json_lines(tmp_path / "a.jsonl", {"text": "t", "label": "a"}, row), Columns(), labelled=True)
    assert next(examples).label == "a"
    with pytest.raises(InputError, match=message):
        next(examples)


def test_whoever_reads_says_what_a_cell_means(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", ["text", "label"], ["a", ""], ["b", "x"], ["c", "-"])
    found = read_texts(path, Columns(), labelled=True, read_label=lambda cell, _: (cell.column, cell.value, cell.source))
    assert [(example.text, example.label) for example in found] == [
        ("a", ("label", "", f"{path}:2")),
        ("b", ("label", "x", f"{path}:3")),
    ]


def test_labels_read_otherwise_than_written_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tsv(tmp_path / "a.tsv", ["text", "label"], *(["a", label] for label in ("no", "yes ", " yes", "- ", "YES", "2.0")))
    assert [example.label for example in labelled(path)] == ["no", "yes", "yes", "YES", "2"]
    (said,) = (message for message in caplog.messages if "labels:" in message)
    assert said == (
        f"{path}: labels: 3 with white space around them, which does not count, the first {path}:3; "
        f"1 written like 1.0 and read like 1, the first {path}:7"
    )


def test_a_pair_is_text_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl:1: the column 'text_b' holds 1 where text is expected"):
        unlabelled(json_lines(tmp_path / "a.jsonl", {"text_a": "t", "text_b": 1}))


def test_empty_texts_are_kept_unlabelled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tsv(tmp_path / "a.tsv", ["text", "label"], ["", "1"], [" ", "-"], ["a", ""])
    assert [example.text for example in unlabelled(path)] == ["", " ", "a"]
    assert not caplog.records


def test_rows_left_out_when_labelled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("a", "b", "1"), ("a", "", "1"), ("a", "b", "-"), (" ", "b", "1"), ("a", "b", "?"), ("c", "d", "0"), ("", "", "-")]
    path = tsv(tmp_path / "a.tsv", ("text_a", "text_b", "label"), *rows)
    with caplog.at_level(logging.WARNING, "bertsmith"):
        examples = labelled(path, skip_labels=("-", "?"))
    assert [(example.text, example.id) for example in examples] == [("a", "0"), ("c", "5")]
    (message,) = caplog.messages
    assert message == (
        f"{path}: left out 5 rows: 3 with an empty text, the first {path}:3; 1 labelled '-', the first {path}:4; "
        f"1 labelled '?', the first {path}:6"
    )


def test_a_file_with_every_row_left_out(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", ("text", "label"), ("a", "-"))
    with pytest.raises(InputError, match=r"a\.tsv holds no labelled example: every row was left out"):
        labelled(path)


@pytest.mark.parametrize("column", ["id", "index", "idx", "guid", "pairID"])
def test_ids(tmp_path: Path, column: str) -> None:
    path = json_lines(tmp_path / "a.jsonl", {"text": "a", column: "x7"}, {"text": "b", column: 12}, {"text": "c"})
    assert [example.id for example in unlabelled(path)] == ["x7", "12", "2"]


def test_examples_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", ["text", "label"], ["a", "1"], ["broken"])
    examples = read_texts(path, Columns(), labelled=True)
    assert next(examples).text == "a"
    with pytest.raises(InputError, match=r"a\.tsv:3 has 1 fields"):
        next(examples)


# Plain text.


def test_lines_are_texts_unless_a_pair_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ttwo\nthree\tfour\n", encoding="utf-8")
    assert [(example.text, example.pair) for example in unlabelled(path)] == [("one\ttwo", None), ("three\tfour", None)]
    pairs = [("one", "two"), ("three", "four")]
    assert [(example.text, example.pair) for example in unlabelled(path, pair="pair")] == pairs
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    examples = read_texts("-", Columns(pair="pair"), labelled=False, format="txt")
    assert [(example.text, example.pair) for example in examples] == pairs


def test_plain_text_has_no_columns_to_choose_from(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ttwo\n", encoding="utf-8")
    (alone,) = read_texts(tmp_path / "a.txt", Columns(text="body"), labelled=False)
    assert (alone.text, alone.pair) == ("one\ttwo", None)
    (paired,) = read_texts(tmp_path / "a.txt", Columns(text="premise", pair="hypothesis"), labelled=False)
    assert (paired.text, paired.pair) == ("one", "two")


def test_lines_without_exactly_one_tab_are_no_pair(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ttwo\nthree\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.txt:2 has 0 tabs where one is expected, between a text and its pair"):
        unlabelled(path, pair="pair")


def test_plain_text_has_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.txt: .* hold the label; its columns are 'text'; say which with --label"):
        labelled(path)


# The real benchmarks, where they are.

REAL = Path(__file__).parents[4] / "shared" / "data" / "tasks"


@pytest.mark.skipif(not REAL.is_dir(), reason="the benchmarks are not in ../shared/data/tasks")
@pytest.mark.parametrize(
    ("name", "paired", "labels"),
    [
        ("glue/SST-2/dev.tsv", False, {"0": 428, "1": 444}),
        ("glue/CoLA/dev.tsv", False, {"0": 322, "1": 721}),
        ("glue/MRPC/dev.tsv", True, {"0": 129, "1": 279}),
        ("chnsenticorp/dev.tsv", False, {"0": 607, "1": 593}),
        ("ocnli/dev.json", True, {"entailment": 947, "neutral": 1103, "contradiction": 900}),
        ("wikiqa/dev.tsv", True, {"0": 990, "1": 140}),
    ],
)
def test_real_benchmarks(name: str, paired: bool, labels: dict[str, int]) -> None:
    examples = labelled(REAL / name)
    assert Counter(example.label for example in examples) == labels
    assert all((example.pair is not None) == paired for example in examples)


@pytest.mark.skipif(not REAL.is_dir(), reason="the benchmarks are not in ../shared/data/tasks")
def test_real_scores_of_sts_b() -> None:
    examples = labelled(REAL / "glue/STS-B/test_with_gold.tsv")
    assert len(examples) == 1_379
    assert all(0 <= float(example.label) <= 5 and example.text and example.pair for example in examples)


# Files of the field as they are.

FIELD = [
    ("lcqmc.tsv", "怎么去火车站\t火车站在哪里\t1\n手机没电了\t下雨了吗\t0\n"),
    ("lcqmc.txt", "怎么去火车站\t火车站在哪里\t1\n手机没电了\t下雨了吗\t0\n"),
    ("pairs.csv", "怎么去火车站,火车站在哪里,1\n手机没电了,下雨了吗,0\n"),
]


@pytest.mark.parametrize(("name", "content"), FIELD)
def test_the_first_row_of_a_file_without_names_is_an_example(
    tmp_path: Path, name: str, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with caplog.at_level(logging.INFO):
        first, _ = labelled(tmp_path / name)
    assert (first.text, first.pair, first.label, first.source) == ("怎么去火车站", "火车站在哪里", "1", f"{tmp_path / name}:1")
    assert "the first row is data" in caplog.text and "read as --text 1 --pair 2 --label 3" in caplog.text


def test_columns_by_number(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("7\tup\tgood\n8\tdown\tbad\n", encoding="utf-8")
    examples = labelled(path, header=False, text="2", label="3")
    assert [(example.text, example.label) for example in examples] == [("up", "good"), ("down", "bad")]
    path.write_text("n\tbody\tmood\n7\tup\tgood\n", encoding="utf-8")
    assert [(example.text, example.label) for example in labelled(path, text="2", label="3")] == [("up", "good")]


def test_what_columns_hold_is_asked_where_it_is_not_clear(tmp_path: Path) -> None:
    path = tsv(tmp_path / "a.tsv", ["up", "5", "1"], ["down", "7", "0"])
    with pytest.raises(
        InputError, match=r"what they hold is not clear: 1 \('up'\), 2 \('5'\), 3 \('1'\); say which with --text 1"
    ):
        labelled(path)


def test_sick(tmp_path: Path) -> None:
    names = ["pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment"]
    path = tsv(tmp_path / "SICK.txt", names, ["12", "A man runs", "A man walks", "3.5", "NEUTRAL"])
    (example,) = labelled(path, label="entailment_judgment")
    assert (example.id, example.text, example.pair, example.label) == ("12", "A man runs", "A man walks", "NEUTRAL")
    with pytest.raises(InputError, match="'relatedness_score', 'entailment_judgment'; say which with --label"):
        labelled(path)
    (example,) = unlabelled(path)
    assert example.pair == "A man walks"


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\n这家酒店的服务很好，下次还会再来,好\n".encode("gbk"))
    with pytest.raises(InputError, match=r"a\.csv:2: invalid UTF-8 .*; it looks like gb18030; give its --encoding, or convert"):
        labelled(path)
    (example,) = labelled(path, encoding="GBK")
    assert (example.text, example.label) == ("这家酒店的服务很好，下次还会再来", "好")
    with pytest.raises(ConfigError, match="encoding = 'gbq': no such encoding is known"):
        Columns(encoding="gbq")

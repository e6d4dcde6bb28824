"""Tables of pairs, triplets and scored pairs."""

import json
from pathlib import Path

import pytest

from bertsmith.errors import InputError
from bertsmith.tasks.files.pairs import PairExample, read_pairs
from bertsmith.tasks.files.texts import Columns


def read(path: Path, text: str, *, labelled: bool = True, columns: Columns = Columns()) -> list[PairExample]:  # noqa: B008
    path.write_text(text, encoding="utf-8")
    return list(read_pairs(path, columns, labelled=labelled))


def test_pairs(tmp_path: Path) -> None:
    found = read(tmp_path / "a.tsv", "anchor\tpositive\na\tb\nc\td\n")
    assert found == [
        PairExample(("a", "b"), None, "0", f"{tmp_path}/a.tsv:2"),
        PairExample(("c", "d"), None, "1", f"{tmp_path}/a.tsv:3"),
    ]


def test_triplets_with_any_number_of_negatives(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", "id,query,positive,negative_1,negative_2\nx,a,b,c,d\ny,e,f,g,\n")
    assert [(one.id, one.texts) for one in found] == [("x", ("a", "b", "c", "d")), ("y", ("e", "f", "g"))]
    rows = [{"anchor": "a", "positive": "b", "negatives": ["c", "d"]}, {"anchor": "e", "positive": "f", "negatives": []}]
    found = read(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [one.texts for one in found] == [("a", "b", "c", "d"), ("e", "f")]


def test_scored_pairs_of_sts_b(tmp_path: Path) -> None:
    found = read(tmp_path / "test.tsv", "main-news\tx\t2012\t0007\t4.5\tA man.\tA boy.\n")
    assert [(one.texts, one.score) for one in found] == [(("A man.", "A boy."), 4.5)]
    found = read(tmp_path / "a.jsonl", '{"sentence1": "a", "sentence2": "b", "label": 1}\n')
    assert found[0].score == 1.0


def test_named_columns(tmp_path: Path) -> None:
    columns = Columns(text="one", pair="two", label="alike")
    (found,) = read(tmp_path / "a.tsv", "alike\tone\ttwo\n3\ta\tb\n", columns=columns)
    assert (found.texts, found.score) == (("a", "b"), 3.0)
    (found,) = read(tmp_path / "a.tsv", "one\ttwo\na\tb\n", columns=columns, labelled=False)
    assert (found.texts, found.score) == (("a", "b"), None)
    with pytest.raises(InputError, match="has no column 'alike'"):
        read(tmp_path / "a.tsv", "one\ttwo\na\tb\n", columns=columns)


def test_unlabelled_texts_and_pairs(tmp_path: Path) -> None:
    assert [one.texts for one in read(tmp_path / "a.txt", "a\nb\n", labelled=False)] == [("a",), ("b",)]
    (found,) = read(tmp_path / "a.tsv", "sentence1\tsentence2\tscore\na\tb\t1\n", labelled=False)
    assert (found.texts, found.score) == (("a", "b"), None)


def test_rows_with_an_empty_text_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read(tmp_path / "a.tsv", "anchor\tpositive\na\t \nc\td\n")) == 1
    assert "left out 1 rows: 1 with an empty text" in caplog.text
    (found,) = read(tmp_path / "a.tsv", "sentence1\tsentence2\tscore\na\tb\t-\nc\td\t2\n")
    assert found.score == 2 and "left out 1 rows: 1 labelled '-', the first" in caplog.text


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("anchor\tpositive\n\tb\n", Columns(), "holds no labelled example: every row was left out"),
        ("x\ty\na\tb\n", Columns(), "none of its columns is known to hold the text; its columns are 'x', 'y'"),
        ("x\ty\na\tb\n", Columns(text="x", pair="z"), "has no column 'z'; its columns are 'x', 'y'"),
        ("text\nb\n", Columns(), "one column of texts, 'text', where a pair is needed"),
        ("premise\thypothesis\tlabel\na\tb\tneutral\n", Columns(), r"a\.tsv:2: 'label' = 'neutral' is no number that says"),
        ("sentence1\tsentence2\tscore\na\tb\tnan\n", Columns(), r"a\.tsv:2: 'score' = 'nan' is no number"),
    ],
)
def test_what_is_no_table_of_pairs(tmp_path: Path, text: str, columns: Columns, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.tsv", text, columns=columns)


def test_a_negative_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl:1: the column 'negatives' holds 3 where text is expected"):
        read(tmp_path / "a.jsonl", '{"anchor": "a", "positive": "b", "negatives": [3]}\n')


def test_a_score_that_is_beyond_all_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl:1: 'score' = 10000.* is no number"):
        read(tmp_path / "a.jsonl", json.dumps({"sentence1": "a", "sentence2": "b", "score": 10**400}))

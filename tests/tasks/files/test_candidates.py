"""Files of queries and candidates: a row a candidate, triples, lists; and what is none."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import InputError
from bertsmith.tasks.files.candidates import RankColumns, RankExample, read_queries

WIKIQA = """question_id\tquestion\tanswer\tlabel
7\twho ?\tann .\t0
7\twho ?\tbob .\t1
3\twhen ?\tnow .\t1
"""


def read(path: Path, content: str, labelled: bool = True, **columns: str) -> list[RankExample]:
    path.write_text(content, encoding="utf-8")
    return list(read_queries(path, RankColumns(**columns), labelled=labelled))


def said(examples: list[RankExample]) -> list[tuple[Any, ...]]:
    return [(one.query, one.candidates, one.relevances) for one in examples]


def test_wikiqa(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    assert read(path, WIKIQA) == [
        RankExample("who ?", ("ann .", "bob ."), (0.0, 1.0), "7", ("0", "1"), f"{path}:2"),
        RankExample("when ?", ("now .",), (1.0,), "3", ("0",), f"{path}:4"),
    ]
    unlabelled = read(path, WIKIQA.replace("\tlabel", "\tcolour").replace("\t0", "\tred"), labelled=False)
    assert [(one.candidates, one.relevances) for one in unlabelled] == [(("ann .", "bob ."), None), (("now .",), None)]


def test_wikiqa_as_it_was_published(tmp_path: Path) -> None:
    header = "QuestionID\tQuestion\tDocumentID\tDocumentTitle\tSentenceID\tSentence\tLabel\n"
    (found,) = read(tmp_path / "a.tsv", header + "Q1\twho ?\tD1\tBob\tD1-0\tbob .\t1\nQ1\twho ?\tD1\tBob\tD1-1\tann .\t0\n")
    assert (found.id, found.candidate_ids) == ("Q1", ("D1-0", "D1-1"))
    assert (found.query, found.candidates, found.relevances) == ("who ?", ("bob .", "ann ."), (1.0, 0.0))


def test_rows_of_a_query_without_ids_are_those_of_its_text(tmp_path: Path) -> None:
    content = "query,passage,relevance\nq,a,2\nr,b,0\nq,c,0.5\n"
    assert said(read(tmp_path / "a.csv", content)) == [("q", ("a", "c"), (2.0, 0.5)), ("r", ("b",), (0.0,))]


def test_unlabelled_rows_of_a_query_must_stand_together(tmp_path: Path) -> None:
    message = r"a\.csv:4: the rows of the query 'q' do not stand together; sort the file by query"
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.csv", "query,passage\nq,a\nr,b\nq,c\n", labelled=False)


def test_unlabelled_queries_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("query,passage\nq,a\nq,b\nr,c\nr\n", encoding="utf-8")
    queries = read_queries(tmp_path / "a.csv", RankColumns(), labelled=False)
    assert next(queries).candidates == ("a", "b")
    with pytest.raises(InputError, match=r"a\.csv:5"):
        next(queries)


def test_named_columns(tmp_path: Path) -> None:
    content = "wish,thing,grade,query\nq,a,1,x\nq,b,0,x\n"
    assert said(read(tmp_path / "a.csv", content, query="wish", candidate="thing", label="grade")) == [
        ("q", ("a", "b"), (1.0, 0.0))
    ]


def test_triples(tmp_path: Path) -> None:
    first, second = "one query\tits good one\tits bad one\n", "q\tgood\tbad\n"
    expected = [("one query", ("its good one", "its bad one"), (1.0, 0.0)), ("q", ("good", "bad"), (1.0, 0.0))]
    for name, header in (("a.tsv", ""), ("b.tsv", "query\tpositive\tnegative\n"), ("c.tsv", "anchor\tpositive\tnegative\n")):
        found = read(tmp_path / name, header + first + second)
        assert said(found) == expected
        assert [one.id for one in found] == ["0", "1"]
        assert found[0].source == f"{tmp_path / name}:{1 + bool(header)}"
    (tmp_path / "d.tsv.gz").write_bytes(gzip.compress((first + second).encode()))
    assert said(list(read_queries(tmp_path / "d.tsv.gz", RankColumns(), labelled=True))) == expected
    # Two triples of the same query stay two.
    assert len(read(tmp_path / "a.tsv", first + first)) == 2


@pytest.mark.parametrize(
    "row",
    [
        "how many legs\teight\tsix",
        "how many legs\t8\t6",
        "how\teight.\tsix",
        "where\tin rome\tmilan",
        "北京\t首都\t上海",
        "query of mine\tgood\tbad",
        "Wo?\tda\tdort",
    ],
)
def test_triples_of_one_word_or_of_chinese(tmp_path: Path, row: str) -> None:
    query, positive, negative = row.split("\t")
    expected = [(query, (positive, negative), (1.0, 0.0))]
    assert said(read(tmp_path / "a.tsv", f"{row}\n")) == expected
    assert said(read(tmp_path / "b.tsv", f"query\tpositive\tnegative\n{row}\n")) == expected


@pytest.mark.parametrize(
    "row",
    [
        "wish\tthing\tgrade",  # may well be a header
        "7\t12\t15",  # ids
        "7\twho is it\tit is bob",  # an id before a query and a passage
        "who is it\tit is bob\t1",  # a label behind a query and a passage
        "问题 一\t答案 一\t0.5",
    ],
)
def test_rows_that_are_no_triple(tmp_path: Path, row: str) -> None:
    with pytest.raises(InputError, match=r"are not known to hold .*; say which with .*, or write such names in the first row$"):
        read(tmp_path / "a.tsv", f"{row}\n{row}\n")


def test_headers_are_no_triples(tmp_path: Path) -> None:
    expected = [("who is it", ("bob",), (1.0,))]
    for header in ("Question\tAnswer\tIs_Selected", "查询\t段落\t标签", "query\tthe passage\tlabel"):
        columns = {"candidate": "the passage"} if "the" in header else {}
        assert said(read(tmp_path / "a.tsv", f"{header}\nwho is it\tbob\t1\n", **columns)) == expected
    named = {"query": "die Frage", "candidate": "der Text", "label": "wie gut"}
    assert said(read(tmp_path / "a.tsv", "die Frage\tder Text\twie gut\nwho is it\tbob\t1\n", **named)) == expected


def test_retrieved_passages_that_are_numbers(tmp_path: Path) -> None:
    (found,) = read(tmp_path / "a.tsv", "12\t901\t1984\ta book\n12\t77\t1984\tyear\n", labelled=False)
    assert (found.query, found.candidates, found.candidate_ids) == ("1984", ("a book", "year"), ("901", "77"))
    with pytest.raises(InputError, match="are not known to hold a query"):
        read(tmp_path / "a.tsv", "12\t0\t901\t1\n12\t0\t77\t0\n", labelled=False)


def test_retrieved_passages(tmp_path: Path) -> None:
    rows = "12\t901\twho is it\tit is bob\n12\t77\twho is it\tnobody\n5\t901\twhere\tin rome\n"
    first, second = read(tmp_path / "a.tsv", rows, labelled=False)
    assert (first.id, first.candidate_ids, first.candidates) == ("12", ("901", "77"), ("it is bob", "nobody"))
    assert (second.query, second.id, second.candidate_ids, second.relevances) == ("where", "5", ("901",), None)
    labelled = "".join(f"{row}\t{number}\n" for number, row in enumerate(rows.splitlines()))
    assert [one.relevances for one in read(tmp_path / "a.tsv", labelled)] == [(0.0, 1.0), (2.0,)]
    (found,) = read(tmp_path / "a.tsv", "1\t1\twho is it\tit is bob\t1\n")  # where a header would name columns twice
    assert (found.id, found.candidate_ids, found.relevances) == ("1", ("1",), (1.0,))
    with pytest.raises(InputError, match="say which with --query, --candidate and --label"):
        read(tmp_path / "a.tsv", rows)


def test_json_lines_with_lists(tmp_path: Path) -> None:
    rows = [
        {"id": 8, "query": "q", "candidates": ["a", "b"], "labels": [0, 3]},
        {"query": "q", "candidates": ["c"], "labels": [True]},
    ]
    found = read(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert said(found) == [("q", ("a", "b"), (0.0, 3.0)), ("q", ("c",), (1.0,))]
    assert [(one.id, one.candidate_ids) for one in found] == [("8", ("0", "1")), ("1", ("0",))]


def test_lists_in_the_cells_of_csv(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", """query,candidates,labels\nq,"['a', 'b']","[0, 3]"\nr,[1] is cited,1\n""")
    assert said(found) == [("q", ("a", "b"), (0.0, 3.0)), ("r", ("[1] is cited",), (1.0,))]
    found = read(tmp_path / "a.csv", """query;pos;neg\nq;["a"];['b' 'c']\n""")
    assert said(found) == [("q", ("a", "b", "c"), (1.0, 0.0, 0.0))]


def test_json_lines_with_positives_and_negatives(tmp_path: Path) -> None:
    row = {"query": "q", "pos": ["a"], "neg": ["b", "c"], "text": "other"}
    assert said(read(tmp_path / "a.jsonl", json.dumps(row))) == [("q", ("a", "b", "c"), (1.0, 0.0, 0.0))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": " "}, r"a\.jsonl:1: the query 'query' is ' '; write a text"),
        ({"query": None}, r"a\.jsonl:1: the query 'query' is None; write a text"),
        ({"candidates": []}, r"a\.jsonl:1: the query 'q' has no candidates"),
        ({"candidates": ["a", 1]}, r"a\.jsonl:1: the column 'candidates' holds 1 where text is expected"),
        ({"labels": [1]}, r"a\.jsonl:1 has 2 candidates and 1 labels; give each candidate one"),
        ({"labels": [1, -1]}, r"a\.jsonl:1: the label 'labels' is -1; write a number, 0 where the candidate is not relevant"),
        ({"labels": [1, "no"]}, r"a\.jsonl:1: the label 'labels' is 'no'"),
        ({"labels": [1, 10**400]}, r"a\.jsonl:1: the label 'labels' is 10000"),
        ({"labels": [1, None]}, r"a\.jsonl:1: the label 'labels' is None"),
        ({"labels": [1, float("nan")]}, r"a\.jsonl:1: the label 'labels' is nan"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    row = {"query": "q", "candidates": ["a", "b"], "labels": [1, 0]} | changes
    if not row["candidates"]:
        row["labels"] = []
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.jsonl", json.dumps(row))


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"a\.csv has no column 'wish'; its columns are 'query', 'passage', 'label'; choose one with --query"
    ):
        read(tmp_path / "a.csv", "query,passage,label\nq,a,1\n", query="wish")
    with pytest.raises(InputError, match=r"a\.csv: its columns 'a', 'b' are not known to hold a query"):
        read(tmp_path / "a.csv", "a,b\nq,a\n")
    # Without a label one may be ranked by.
    assert said(read(tmp_path / "a.csv", "query,passage\nq,a\n", labelled=False)) == [("q", ("a",), None)]

"""Files of choices: the layouts of the usual benchmarks, columns by their names, and what is no question."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import InputError
from bertsmith.tasks.files.choices import ChoiceColumns, ChoiceExample, read_choices

SWAG = """,video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label
0,a,3416,x,He sat.,He,gold,ate.,slept.,ran.,sang.,2
1,b,3417,x,She sat.,She,gold,ate.,slept.,ran.,sang.,0
"""
Row = dict[str, Any]


def read(path: Path, content: str | list[Row], labelled: bool = True, **columns: Any) -> list[ChoiceExample]:
    text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(text, encoding="utf-8")
    return list(read_choices(path, ChoiceColumns(**columns), labelled=labelled))


def as_csv(row: Row) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([row.keys(), row.values()])
    return text.getvalue()


def test_swag(tmp_path: Path) -> None:
    first, second = read(tmp_path / "a.csv", SWAG)
    choices = ("He ate.", "He slept.", "He ran.", "He sang.")
    assert first == ChoiceExample("He sat.", choices, 2, "3416", f"{tmp_path}/a.csv:2")
    assert second.label == 0
    assert [one.label for one in read(tmp_path / "a.csv", SWAG, labelled=False)] == [None, None]
    assert read(tmp_path / "a.csv", SWAG.replace("sang.,2", "sang.,2.0"))[0].label == 2


def test_swag_with_any_number_of_endings(tmp_path: Path) -> None:
    names = ",".join(f"ending{number}" for number in range(12))
    rows = [",".join(f"e{number}" for number in range(12)) + ",10", "a,b" + "," * 10 + ",1"]
    many, few = read(tmp_path / "a.csv", f"sent1,{names},label\n" + "".join(f"He sat.,{row}\n" for row in rows))
    assert many.choices == tuple(f"e{number}" for number in range(12))
    assert many.choices[many.label or 0] == "e10"
    assert few.choices == ("a", "b")
    row = {"sent1": "p", "sent2": None, "ending0": "a", "ending1": None, "ending2": "c", "label": 0}
    with pytest.raises(InputError, match="a question has a text under"):
        read(tmp_path / "a.jsonl", [row])


ABC, Q_ABC = ("a", "b", "c"), ("q a", "q b", "q c")
LISTED = [{"text": text, "label": mark} for text, mark in zip("abc", "123", strict=True)]
NAMED = {"text": list("abc"), "label": list("ABC")}


@pytest.mark.parametrize(
    ("row", "prompt", "choices", "label"),
    [
        ({"prompt": "p", "choices": [*"abc"], "label": 1}, "p", ABC, 1),
        ({"question": "q", "choices": [*"abc"], "answer": "0"}, "q", ABC, 0),
        ({"context": "p", "question": "q", "choices": [*"abc"], "label": 2}, "p", Q_ABC, 2),
        # HellaSwag
        ({"ind": 4, "ctx_a": "A", "ctx_b": "b", "ctx": "A b", "endings": [*"abc"], "label": 2}, "A b", ABC, 2),
        ({"ind": 4, "ctx_a": "A", "ctx_b": "b", "ctx": "A b", "endings": [*"abc"], "label": "2"}, "A b", ABC, 2),
        # RACE of the hub
        ({"article": "t", "answer": "B", "question": "q?", "options": [*"abc"]}, "t", ("q? a", "q? b", "q? c"), 1),
        (
            {"article": "t", "answer": "C", "question": "He is _ .", "options": [*"ab", "c"]},
            "t",
            tuple(f"He is {one} ." for one in ABC),
            2,
        ),
        # ARC, OpenBookQA, CommonsenseQA, each as it is published and of the hub
        ({"id": "x", "question": {"stem": "q", "choices": LISTED}, "answerKey": "3"}, "q", ABC, 2),
        ({"id": "x", "question": "q", "choices": NAMED, "answerKey": "B"}, "q", ABC, 1),
        ({"id": "x", "question_stem": "q", "choices": NAMED, "answerKey": "A"}, "q", ABC, 0),
        # COPA
        (
            {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "idx": 7, "label": 1},
            "p",
            ("What was the cause of this? a", "What was the cause of this? b"),
            1,
        ),
        # PIQA, Social IQa, WinoGrande, Cosmos QA, MedQA
        ({"goal": "p", "sol1": "a", "sol2": "b", "label": 0}, "p", ("a", "b"), 0),
        (
            {"context": "p", "question": "q", "answerA": "a", "answerB": "b", "answerC": "c", "label": "1"},
            "p",
            ("q a", "q b", "q c"),
            0,
        ),
        ({"sentence": "p", "option1": "a", "option2": "b", "answer": "2"}, "p", ("a", "b"), 1),
        ({"context": "p", "question": "q", "answer0": "a", "answer1": "b", "label": 1}, "p", ("q a", "q b"), 1),
        ({"question": "q", "options": {"A": "a", "B": "b"}, "answer": "B"}, "q", ("a", "b"), 1),
        ({"question": "q", "A": "a", "B": "b", "C": "c", "answer": "C"}, "q", ABC, 2),
        ({"question": "q", "choices": {"text": [*"abc"], "label": 1.5}, "answer": 1}, "q", ABC, 1),
        # The right choice in its own words
        ({"question": "q", "choices": ["one", "two"], "answer": "two"}, "q", ("one", "two"), 1),
        ({"question": "q", "choices": "['one', 'two']", "answer": 1.0}, "q", ("one", "two"), 1),
    ],
)
def test_known_layouts(tmp_path: Path, row: Row, prompt: str, choices: tuple[str, ...], label: int) -> None:
    (found,) = read(tmp_path / "a.jsonl", [row])
    assert (found.prompt, found.choices, found.label) == (prompt, choices, label)
    assert found.id == str(row.get("id", row.get("ind", row.get("idx", 0))))
    if not any(isinstance(value, dict) for value in row.values()):
        (written,) = read(tmp_path / "a.csv", as_csv(row))
        assert (written.prompt, written.choices, written.label) == (prompt, choices, label)
    assert read(tmp_path / "a.jsonl", [row], labelled=False)[0].label is None


def test_several_questions_on_one_text(tmp_path: Path) -> None:
    row = {
        "id": "high1.txt",
        "article": "t",
        "questions": ["q", "r"],
        "options": [["a", "b"], ["c", "d"]],
        "answers": ["A", "B"],
    }
    (tmp_path / "high1.txt").write_text(json.dumps(row), encoding="utf-8")
    found = list(read_choices(tmp_path / "high1.txt", ChoiceColumns(), labelled=True, format="json"))
    assert [(one.prompt, one.choices, one.label, one.id) for one in found] == [
        ("t", ("q a", "q b"), 0, "high1.txt-0"),
        ("t", ("r c", "r d"), 1, "high1.txt-1"),
    ]
    with pytest.raises(InputError, match=r"a\.jsonl:1: 'questions', 'options', 'answers' must be lists of one length"):
        read(tmp_path / "a.jsonl", [row | {"answers": ["A"]}])


def test_columns_given(tmp_path: Path) -> None:
    row = {"stem": "p", "ask": "q", "w": "x", "r": "y", "key": 2, "prompt": "other", "question": "other"}
    names = {"prompt": "stem", "choices": "w, r", "label": "key", "first_number": 1}
    for path, content in ((tmp_path / "a.csv", as_csv(row)), (tmp_path / "a.jsonl", [row])):
        (found,) = read(path, content, **names)
        assert (found.prompt, found.choices, found.label) == ("p", ("x", "y"), 1)
        (asked,) = read(path, content, question="ask", **names)
        assert asked.choices == ("q x", "q y")
    (listed,) = read(tmp_path / "a.jsonl", [{"prompt": "p", "l": ["a", "b"], "label": 1}], choices="l")
    assert listed.choices == ("a", "b")
    for flag in ("prompt", "question", "choices", "label"):
        with pytest.raises(InputError, match=rf"a\.jsonl has no column 'x'; its columns are .*; choose one with --{flag}"):
            read(tmp_path / "a.jsonl", [row], **(names | {flag: "x"}))
    with pytest.raises(InputError, match=r"a\.csv: its columns 'a', 'b' are not known to hold a prompt, choices and a label;"):
        read(tmp_path / "a.csv", "a,b\n1,2\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"label": 2},
            r"a\.jsonl:1: the label 2 is no number of a choice: 0 to 1, .*; if .* give --first-number 1$",
        ),
        ({"label": "-1"}, r"a\.jsonl:1: the label '-1' is no number of a choice: 0 to 1, and no letter or text of one$"),
        ({"label": "C"}, r"a\.jsonl:1: the label 'C' is no number of a choice"),
        ({"label": 0.5}, r"a\.jsonl:1: the label 0\.5 is no number of a choice"),
        ({"label": None}, r"a\.jsonl:1 has no label; write the number of the right choice, from 0, under label"),
        ({"label": ""}, r"a\.jsonl:1 has no label"),
        ({"choices": ["a"]}, r"a\.jsonl:1 has 1 choice\(s\); a question needs two or more"),
        (
            {"choices": "ab"},
            r"a\.jsonl:1: a question has a text under 'prompt' and a list of texts, or .*; this has prompt: 'p'",
        ),
        ({"choices": ["a", 1]}, r"a\.jsonl:1: a question has a text under"),
        ({"choices": [{"text": "a"}, {}]}, r"a\.jsonl:1: a question has a text under"),
        ({"prompt": None}, r"a\.jsonl:1: a question has a text under"),
    ],
)
def test_rows_that_are_no_question(tmp_path: Path, changes: Row, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.jsonl", [{"prompt": "p", "choices": ["a", "b"], "label": 1} | changes])

"""What cells of labels mean: the same in every format, and what is said of those that are odd."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from bertsmith.errors import InputError
from bertsmith.tasks.files.labels import LabelCell, LabelNotes, any_labels, class_name, number, one_class
from bertsmith.tasks.files.texts import Columns, read_texts


def cell(value: Any) -> LabelCell:
    return LabelCell(value, "label", "a.csv:2")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("pos", "pos"),
        (" pos\t", "pos"),
        ("\u3000正面 ", "正面"),
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        ("+1.", "1"),
        (-2.0, "-2"),
        ("-0.0", "0"),
        (True, "true"),
        ("True", "true"),
        ("FALSE", "false"),
        ("1.5", "1.5"),
        ("v1.0", "v1.0"),
        ("1.0.0", "1.0.0"),
        ("[1]", "[1]"),
        ("(none)", "(none)"),
        ("[PER]", "[PER]"),
        ("Truth", "Truth"),
    ],
)
def test_names_of_classes(value: Any, name: str) -> None:
    assert one_class(cell(value), LabelNotes()) == name
    assert class_name(name) == name


@pytest.mark.parametrize("value", ["['x', 'y']", ["x", "y"]])
def test_a_list_is_no_class(value: Any) -> None:
    assert one_class(cell(value), LabelNotes()) == ["x", "y"]
    assert one_class(cell(2.5), LabelNotes()) == 2.5


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a, b", ["a", "b"]),
        ("a", ["a"]),
        ("", []),
        (" ", []),
        ("[]", []),
        ("['x', 'y']", ["x", "y"]),
        ('["x", "y, z"]', ["x", "y, z"]),
        ("['x' 'y'\n 'z']", ["x", "y", "z"]),
        ("('x',)", ["x"]),
        ("{'x', 'y'}", ["x", "y"]),
        ('["it\'s", \'say "hi"\']', ["it's", 'say "hi"']),
        (r"['it\'s', 'a\xe9', '\u4eac']", ["it's", "aé", "京"]),
        ("[x, y]", ["x", "y"]),
        ("[1, 0, 1]", ["1", "0", "1"]),
        ("[1. 0. 1.]", ["1", "0", "1"]),
        ("[3]", ["3"]),
        ("[A],[B]", ["[A]", "[B]"]),
        ([1.0, 0, True], ["1", "0", "true"]),
        (7, ["7"]),
        ([], []),
    ],
)
def test_any_number_of_labels(value: Any, names: list[str]) -> None:
    assert any_labels(",", cell(value), LabelNotes()) == names


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "is missing; label the row or take it out"),
        ("  ", "is missing"),
        (float("nan"), "is nan, which is no number to learn"),
        ({"a": 1}, r"holds \{'a': 1\} where a string, a number or a list of strings is expected"),
        (["a", None], "holds None where"),
        (["a", 0.5], "holds 0.5 where"),
        ("['x', 'y'", """holds "\\['x', 'y'", which looks like a written list and is none; write it as"""),
    ],
)
def test_cells_without_a_label(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=r"^a\.csv:2: the label 'label' " + message):
        one_class(cell(value), LabelNotes())


def test_a_list_cut_short_is_no_label() -> None:
    with pytest.raises(InputError, match="looks like a written list and is none; write it as"):
        any_labels(",", cell("['x', 'y"), LabelNotes())


def test_numbers_are_left_as_they_are() -> None:
    assert [number(cell(value), LabelNotes()) for value in (" 1.0", 2.5, "x")] == [" 1.0", 2.5, "x"]
    with pytest.raises(InputError, match="is missing"):
        number(cell(""), LabelNotes())


def test_notes_name_the_first_rows(caplog: pytest.LogCaptureFixture) -> None:
    notes = LabelNotes()
    notes.report("a.csv")
    assert not caplog.messages
    for line, value in enumerate([1, "True", "True", 2.0, "nan", "pos", "pos", "['x', 'y']"]):
        any_labels(",", LabelCell(value, "label", f"a.csv:{line}"), notes)
    notes.report("a.csv")
    (message,) = caplog.messages
    assert message.removeprefix("a.csv: labels: ").split("; ") == [
        "2 written like True and read like true, the first a.csv:1",
        "1 written like 1.0 and read like 1, the first a.csv:3",
        "1 that say nan or null, as missing ones do, the first a.csv:4",
        "1 written as lists in text, the first a.csv:7",
    ]


def test_a_numeric_column_has_the_same_classes_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,1.0\nb,0.0\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("text,label\na,1\nb,0\n", encoding="utf-8")
    rows = [{"text": "a", "label": 1.0}, {"text": "b", "label": 0.0}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps([{"text": "a", "label": 1}, {"text": "b", "label": 0}]), encoding="utf-8")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.csv", "b.csv", "a.jsonl", "a.json", "a.parquet"):
        assert [one.label for one in read_texts(tmp_path / name, Columns(), labelled=True)] == ["1", "0"]

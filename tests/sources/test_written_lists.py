"""Lists in cells of text; what labels make of them is in tests/tasks/files/test_labels.py."""

from typing import Any

import pytest

from bertsmith.sources.written_lists import bare_list, written_list


@pytest.mark.parametrize(
    ("text", "items"),
    [("[]", []), ("[1, 2.5]", [1, 2.5]), ("['a' 'b']", ["a", "b"]), ("[True, null]", [True, None]), ('("a",)', ["a"])],
)
def test_what_is_a_written_list(text: str, items: list[Any]) -> None:
    assert written_list(text) == items


@pytest.mark.parametrize("text", ["x", "[x", "['x''y']", "['x', z]", "[1, 2", "[[1]]", r"['\q']", "[" * 100_000 + "]"])
def test_what_is_no_written_list(text: str) -> None:
    assert written_list(text) is None


def test_a_list_without_quotation_marks() -> None:
    assert bare_list(" [x, y ] ") == ["x", "y"]
    assert bare_list("x, y") is None

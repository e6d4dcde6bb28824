"""Excel's files as tables."""

import datetime
import sys
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import InputError, UsageError
from bertsmith.sources.tables import open_table


def sheet(path: Path, *rows: list[Any], others: int = 0) -> Path:
    book = pytest.importorskip("openpyxl").Workbook()
    for row in rows:
        book.active.append(row)
    for _ in range(others):
        book.create_sheet().append(["no", "row"])
    book.save(path)
    return path


def test_cells_are_text_as_csv_has_it(tmp_path: Path) -> None:
    day = datetime.date(2020, 2, 3)
    path = sheet(tmp_path / "a.xlsx", ["text", "label", None], ["很好，再来", 1], [None, None], ["x", 2.0], [0.5, None], [day])
    table = open_table(path)
    assert table.columns == ("text", "label")
    assert [(row.line, row.values["text"], row.values["label"]) for row in table.rows] == [
        (2, "很好，再来", "1"),
        (4, "x", "2"),
        (5, "0.5", ""),
        (6, "2020-02-03T00:00:00", ""),
    ]


def test_the_first_sheet_is_read(tmp_path: Path) -> None:
    (row,) = open_table(sheet(tmp_path / "a.xlsx", ["text"], ["x"], others=2)).rows
    assert row.values == {"text": "x"}


def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sheet(tmp_path / "a.xlsx", ["text"], ["x", "y"])
    with pytest.raises(InputError, match=r"a\.xlsx:2 has 2 fields where the first row has 1; name each column"):
        list(open_table(path).rows)
    (tmp_path / "b.xlsx").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.xlsx is no spreadsheet of Excel's .* save it again"):
        open_table(tmp_path / "b.xlsx")
    with pytest.raises(InputError, match="standard input: a spreadsheet is not read from a pipe"):
        open_table("-", "xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UsageError, match=r"a\.xlsx needs the openpyxl package: pip install 'bertsmith\[excel\]'; or save"):
        open_table(path)

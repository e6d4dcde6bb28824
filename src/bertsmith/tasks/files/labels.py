"""What the cells of a column of labels say: one class, any number of labels, or a number."""

import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bertsmith.errors import InputError
from bertsmith.sources.written_lists import bare_list, written_list

_log = logging.getLogger("bertsmith")


@dataclass(slots=True)
class Tallied:
    """Counts what is met, by reason, and remembers where the first of each stands."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, source: str) -> None:
        """Count one."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, source)

    def __str__(self) -> str:
        return "; ".join(f"{count} {reason}, the first {self.first[reason]}" for reason, count in self.counts.items())


@dataclass(slots=True)
class LabelNotes:
    """What is to be said of a file's labels: those read otherwise than they are written."""

    changed: Tallied = field(default_factory=Tallied)

    def report(self, path: str) -> None:
        """Say it in one message, if there is anything."""
        if self.changed.counts:
            _log.warning("%s: labels: %s", path, self.changed)


@dataclass(frozen=True, slots=True)
class LabelCell:
    """What stands in a column of labels in one row; ``source`` is ``file:line``."""

    value: Any
    column: str
    source: str

    def error(self, what: str) -> InputError:
        """Return the error for a label of which ``what`` is to be said."""
        return InputError(f"{self.source}: the label {self.column!r} {what}")

    def check_is_there(self) -> None:
        """Raise :class:`InputError` where there is nothing, or what stands for nothing."""
        if self.value is None or (isinstance(self.value, str) and not self.value.strip()):
            raise self.error("is missing; label the row or take it out")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise self.error(f"is {self.value}, which is no number to learn; correct the row or take it out")


LabelReading = Callable[[LabelCell, LabelNotes], Any]
"""From a cell and the notes on its file to the label; :class:`InputError` where it holds none."""


def one_class(cell: LabelCell, notes: LabelNotes) -> Any:
    """Return the name of a class; a list of names, or a number with a fraction, as what it is.

    A name has no white space around it. Numbers and truths are spelled as JSON spells them, 1 and true, whatever the file
    has: so a class is the same one in CSV, JSON and Parquet.
    """
    cell.check_is_there()
    value = cell.value
    if isinstance(value, str) and (items := written_list(value)) is not None and _is_no_name(items):
        notes.changed.add("written as lists in text", cell.source)
        value = items
    if isinstance(value, list):
        return [_class(one, cell, notes) for one in value]
    return value if isinstance(value, float) and not value.is_integer() else _class(value, cell, notes)


def any_labels(separator: str, cell: LabelCell, notes: LabelNotes) -> list[str]:
    """Return names as :func:`one_class` does, of a list or of text with a ``separator`` between them; blank text has none.

    Of columns, or of an object, with a 1 or a 0 for each name, they are those with a 1.
    """
    if isinstance(cell.value, dict):
        return _hot_keys(cell.value, cell.source)
    if isinstance(cell.value, str):
        items = written_list(cell.value)
        if items is None:
            items = bare_list(cell.value)
        if items is not None:
            notes.changed.add("written as lists in text", cell.source)
        else:
            items = [part.strip() for part in cell.value.split(separator) if part.strip()]
    else:
        cell.check_is_there()
        items = cell.value if isinstance(cell.value, list) else [cell.value]
    return [_class(one, cell, notes) for one in items]


def number(cell: LabelCell, notes: LabelNotes) -> Any:  # noqa: ARG001
    """Return what may be a number, as it stands."""
    cell.check_is_there()
    return cell.value


def finite(label: Any, source: str) -> float:
    """Return the number that a label says; :class:`InputError` at ``source`` if it says none."""
    try:
        value = float(label)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{source}: the label {label!r} is no number; use classify for classes")
    return value


# Names of classes.

_WHOLE = re.compile(r"\+?(-?[0-9]{1,18})\.0*")
_TRUTHS = ("True", "False", "TRUE", "FALSE")
_TRUTH_READ, _WHOLE_READ = "written like True and read like true", "written like 1.0 and read like 1"
_NOTHING = ("nan", "NaN", "null", "NULL", "<NA>")
_BEGINNING_OF_LIST = re.compile(r"""\s*[\[({]\s*['"]""")


def class_name(text: str) -> str:
    """Return a class's name in the one spelling that it has here, however a file spells it."""
    name = text.strip()
    if whole := _WHOLE.fullmatch(name):
        return str(int(whole[1]))
    return name.lower() if name in _TRUTHS else name


def known_name(label: str, known: Sequence[str]) -> str:
    """Return the one of the ``known`` names that is another spelling of a label, such as 1.0 of 1; else the label."""
    if label in known:
        return label
    name = class_name(label)
    return next((one for one in known if class_name(one) == name), label)


def _class(value: Any, cell: LabelCell, notes: LabelNotes) -> str:
    if isinstance(value, float) and value.is_integer():
        value = f"{value:.1f}"
    if not isinstance(value, str | int):
        raise cell.error(f"holds {value!r:.60} where a string, a number or a list of strings is expected")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _BEGINNING_OF_LIST.match(text):
        raise cell.error(f"holds {text!r:.60}, which looks like a written list and is none; write it as ['x', 'y']")
    name, bare = class_name(text), text.strip()
    if bare != text:
        notes.changed.add("with white space around them, which does not count", cell.source)
    if name != bare:
        notes.changed.add(_TRUTH_READ if name.isalpha() else _WHOLE_READ, cell.source)
    if isinstance(value, str) and name in _NOTHING:
        notes.changed.add("that say nan or null, as missing ones do", cell.source)
    return name


# Multi-hot form: a 1 or a 0 for each label.

GIVEN = {"1", "true"}
HOT = {*GIVEN, "0", "false"}
"""What stands in rows of this form."""


def are_multi_hot(rows: Sequence[Sequence[str]], sources: Sequence[str]) -> bool:
    """Say whether rows are in multi-hot form: as names, they would all say the same, or say one twice.

    Raises:
        InputError: one row surely is, and another is not.
    """
    if len(rows[0]) > 1 and len({*map(len, rows)}) == 1 and all(map(HOT.issuperset, rows)):
        return True
    for row, source in zip(rows, sources, strict=True):
        if HOT.issuperset(row) and len(row) > len(set(row)):
            raise InputError(
                f"{source}: the labels are {', '.join(row)}, as if a 1 or a 0 stood for each label, but other rows have "
                "more, fewer or other ones; correct them, or write names"
            )
    return False


def hot_names(row: Sequence[str], labels: Sequence[str], source: str) -> list[str]:
    """Return the names of the labels that a row in multi-hot form has; :class:`InputError` if it is in none."""
    if len(row) != len(labels) or not HOT.issuperset(row):
        raise InputError(
            f"{source}: the labels are {', '.join(row) or 'none'}, where a 1 or a 0 is expected for each of {len(labels)} "
            "labels, as in training; correct the row"
        )
    return [label for label, written in zip(labels, row, strict=True) if written in GIVEN]


def _hot_keys(values: dict[str, Any], source: str) -> list[str]:
    cells = [(name, class_name(str(value))) for name, value in values.items()]
    if wrong := next((f"the column {name!r} holds {cell!r:.60}" for name, cell in cells if cell not in HOT), None):
        raise InputError(f"{source}: {wrong} where a 1 or a 0 is expected; correct it")
    return [name for name, cell in cells if cell in GIVEN]


def _is_no_name(items: list[Any]) -> bool:
    """Say whether such a list cannot be a name with brackets, such as ``[1]``."""
    return len(items) != 1 or isinstance(items[0], str)

"""Whether the first row of a table names its columns; of one that does not, which columns are texts and which is the label."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

Rows = Sequence[Sequence[str]]
ROWS_LOOKED_AT = 100

_NUMBER = re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*")
# No name of a column is so long or ends so.
_LONGEST_NAME = 60
_SENTENCE = re.compile(r"[\s\S]*([。！？…]|\s[^\s]*\w[.!?])\s*")
_LONGEST_LABEL = 30


@dataclass(frozen=True, slots=True)
class Heading:
    """What is known beforehand of the first row of a table.

    is_there  whether it names the columns; None where it does unless it is plainly data
    known     names of which one shows that it does, compared without capitals and underscores
    tabs      whether tabs in a file that may be plain text part columns where all lines have as many
    """

    is_there: bool | None = True
    known: Collection[str] = ()
    tabs: bool = False

    def may_be_missing(self, first: Sequence[str]) -> bool:
        """Say whether the rows behind the first one must tell whether it names the columns."""
        return self.is_there is None and not self.has_known(first)

    def names_columns(self, first: Sequence[str], *others: Sequence[str]) -> bool:
        """Say whether the ``first`` row names the columns, given some ``others`` behind it."""
        return not _is_data(first, others) if self.may_be_missing(first) else self.is_there is not False

    def has_known(self, row: Sequence[str]) -> bool:
        """Say whether a row has one of the known names."""
        return not {_plain(name) for name in self.known}.isdisjoint(map(_plain, row))


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "")


def _is_data(first: Sequence[str], others: Rows) -> bool:
    """Say whether a row is plainly data, given others of its length: a number or a sentence stands in it, or its column has
    one of its values again.

    Numbers in order are the names that are written where there are none.
    """
    if len(first) < 2 or all(_NUMBER.fullmatch(field) or not field.strip() for field in first):
        return False
    if any(_NUMBER.fullmatch(field) or len(field) > _LONGEST_NAME or _SENTENCE.fullmatch(field) for field in first):
        return True
    return any(field.strip() and any(row[place] == field for row in others) for place, field in enumerate(first))


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns, by their places from 0, hold the texts, one or two, and which the label, if any."""

    texts: tuple[int, ...]
    label: int | None


def roles_of(rows: Rows) -> Roles | None:
    """Return what columns seem to hold, given some rows of one length; None where that is not clear.

    A label is a number that does not count the rows, or else what is short and has the fewest values; a text is neither.
    """
    columns = list(zip(*rows, strict=True))
    places = [place for place, column in enumerate(columns) if not _counts(column)]
    numbers = [place for place in places if all(map(_NUMBER.fullmatch, columns[place]))]
    words = [place for place in places if place not in numbers]
    if not numbers and len(words) > 1:
        fewest, next_fewest = sorted(words, key=lambda place: len(set(columns[place])))[:2]
        if _is_repeated(columns[fewest]) and 2 * len(set(columns[fewest])) <= len(set(columns[next_fewest])):
            words.remove(fewest)
            numbers = [fewest]
    if len(words) not in (1, 2) or len(numbers) > 1:
        return None
    return Roles(tuple(words), numbers[0] if numbers else None)


def _counts(column: Sequence[str]) -> bool:
    """Say whether a column numbers the rows."""
    if len(column) < 3 or not all(field.strip().isdecimal() for field in column):
        return False
    values = [int(field) for field in column]
    return values == list(range(values[0], values[0] + len(values)))


def _is_repeated(column: Sequence[str]) -> bool:
    return 2 * len(set(column)) <= len(column) and max(map(len, column)) <= _LONGEST_LABEL

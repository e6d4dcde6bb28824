"""First rows that are names or data, and what columns without names hold."""

import pytest

from bertsmith.sources.headers import Heading, Roles, roles_of

KNOWN = ("sentence_A", "label")


@pytest.mark.parametrize(
    ("first", "others", "is_there", "names_columns"),
    [
        ("body mood", ["fine +", "bad -"], None, True),
        ("fine +", ["body -", "bad +"], None, False),  # + again in its column
        ("tiger cat 7.35", ["book paper 7.46"], None, False),
        ("sentenceA 5", ["a 5"], None, True),  # a name is known
        ("0 1 2", ["a b 1"], None, True),  # as pandas names columns
        ("一部很好的电影。 x", ["b y"], None, False),
        ("body mood", ["fine +"], False, False),
        ("tiger cat 7.35", ["book paper 7.46"], True, True),
        ("5", ["5"], None, True),  # of one column there is nothing to tell
    ],
)
def test_a_first_row_that_is_plainly_data(first: str, others: list[str], is_there: bool | None, names_columns: bool) -> None:
    heading = Heading(is_there, KNOWN)
    assert heading.names_columns(first.split(), *(row.split() for row in others)) is names_columns


@pytest.mark.parametrize(
    ("rows", "roles"),
    [
        (["a b 0", "c d 1", "e f 0"], Roles((0, 1), 2)),
        (["1 a b 3.5", "2 c d 1.5", "3 e f 2"], Roles((1, 2), 3)),  # the first counts the rows
        (["+ one", "- two", "+ three", "- four"], Roles((1,), 0)),
        (["one two", "three four", "five six"], Roles((0, 1), None)),
        (["a b c 0", "d e f 1"], None),  # three texts
        (["one 5 1", "two 3 0"], None),  # two numbers
    ],
)
def test_what_columns_seem_to_hold(rows: list[str], roles: Roles | None) -> None:
    assert roles_of([row.split() for row in rows]) == roles

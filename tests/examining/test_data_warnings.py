from collections.abc import Mapping
from typing import Any

import pytest

from bertsmith.examining.data_report import DataReport, Histogram, NumberFacts, SplitFacts, TokenFacts
from bertsmith.examining.data_warnings import half_width, warnings_of

NO_BINS = Histogram([0.0, 1.0], [0])


def split(n_rows: int = 1000, **changes: Any) -> SplitFacts:
    usual: dict[str, Any] = {"classes": {"a": n_rows // 2, "b": n_rows - n_rows // 2}, "numbers": None, "n_scored": n_rows}
    return SplitFacts(n_rows=n_rows, **{**usual, "n_repeated": 0, "n_conflicting": 0, **changes})


def tokens(**changes: Any) -> TokenFacts:
    usual: dict[str, Any] = {"n_sequences": 1000, "median": 10, "percentile_95": 20, "longest": 300, "max_length": 128}
    counts = {"has_windows": True, "n_long": 0, "n_windows": 0, "n_tokens": 10_000, "n_unknown": 0, "unknown": ()}
    return TokenFacts(**{**usual, **counts, "histogram": NO_BINS, **changes})


def numbers(n_different: int) -> NumberFacts:
    return NumberFacts(0.0, 1.0, 0.5, 0.5, n_different, NO_BINS)


def checks(kind: str = "classify", metric: str = "accuracy", *, parts: Mapping[str, SplitFacts], **changes: Any) -> list[str]:
    return [warning.check for warning in warnings_of(DataReport(kind, metric, parts, **changes))]


def test_sound_data_are_not_warned_of() -> None:
    parts = {"train": split(), "dev": split(), "test": split()}
    assert checks(parts=parts, tokens=tokens(), n_steps=1000) == []


def of_classes(*names: str) -> SplitFacts:
    return split(classes=dict.fromkeys(names, 50))


@pytest.mark.parametrize(
    ("train", "found"),
    [
        (split(n_conflicting=10), []),
        (split(n_conflicting=11), ["conflicts"]),
        (split(n_repeated=100), []),
        (split(n_repeated=101), ["duplicates"]),
        (split(classes={"a": 901, "b": 99}), ["imbalance"]),
        (split(classes={"a": 900, "b": 100}), []),
        (split(classes={"a": 998, "b": 2}), ["imbalance", "rare classes"]),
        (of_classes("pos", "Pos"), ["labels alike"]),
        (of_classes("not good", "not  good"), ["labels alike"]),
        (of_classes("1", "true"), ["labels alike"]),
        (of_classes("ｐｏｓ", "pos"), ["labels alike"]),
        (of_classes("pos", "neg", "pos."), []),
        (of_classes("1", "2", "3", "4", "5"), []),
        (of_classes("0", "1"), []),
        (of_classes("2.5", "3"), ["numbers as classes"]),
        (of_classes(*map(str, range(150))), []),
        (of_classes(*map(str, range(18, 90, 3))), ["numbers as classes"]),
        (of_classes("100", "101", "103", "116"), []),
        (of_classes("3.5 stars", "4"), []),
    ],
)
def test_training_rows_and_labels(train: SplitFacts, found: list[str]) -> None:
    assert checks(parts={"train": train}) == found


@pytest.mark.parametrize(
    ("kind", "train", "found"),
    [
        ("regress", split(classes={}, numbers=numbers(2)), ["classes as numbers"]),
        ("regress", split(classes={}, numbers=numbers(3)), []),
        ("embed", split(classes={}, numbers=numbers(2)), []),
        ("multilabel", split(), ["one label each"]),
        ("multilabel", split(classes={"a": 700, "b": 600}, n_scored=1300), []),
        ("tag", of_classes("1", "2.5"), []),
        ("rank", split(classes={"not relevant": 990, "relevant": 10}), []),
    ],
)
def test_what_is_doubtful_depends_on_the_task(kind: str, train: SplitFacts, found: list[str]) -> None:
    assert checks(kind, "f1", parts={"train": train}) == found


@pytest.mark.parametrize(
    ("dev", "found"),
    [
        (split(n_in_training=10), []),
        (split(n_in_training=11), ["overlap"]),
        (split(n_of_groups=50), []),
        (split(n_of_groups=51), ["shared groups"]),
        (split(n_in_training=60, n_of_groups=60), ["overlap"]),
        (split(classes={"a": 1000}), ["classes not in dev"]),
        (split(170), ["few rows"]),
        (split(171), []),
        (split(1000, n_scored=20), ["few rows"]),
    ],
)
def test_rows_to_be_scored(dev: SplitFacts, found: list[str]) -> None:
    assert checks(parts={"train": split(), "dev": dev}) == found


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (tokens(n_unknown=300), []),
        (tokens(n_unknown=301), ["unknown tokens"]),
        (tokens(n_long=500, n_windows=2000), []),
        (tokens(n_long=51, has_windows=False), ["cut texts"]),
        (tokens(n_long=50, has_windows=False), []),
    ],
)
def test_tokens(facts: TokenFacts, found: list[str]) -> None:
    assert checks(parts={"train": split()}, tokens=facts) == found


@pytest.mark.parametrize(("n_steps", "found"), [(59, ["few steps"]), (60, []), (None, [])])
def test_steps(n_steps: int | None, found: list[str]) -> None:
    assert checks(parts={"train": split()}, n_steps=n_steps) == found


@pytest.mark.parametrize(("unknown", "model"), [(("很", "大"), "a Chinese model"), (("ж", "щ"), "a model of the language")])
def test_unknown_tokens_name_what_to_start_from(unknown: tuple[str, ...], model: str) -> None:
    report = DataReport("classify", "accuracy", {"train": split()}, tokens(n_unknown=6500, unknown=unknown))
    (said,) = map(str, warnings_of(report))
    assert said.startswith(f"65% of the tokens are [UNK], such as {unknown[0]!r}, {unknown[1]!r}: ")
    assert f"start from {model}" in said


def test_every_warning_ends_with_something_to_try() -> None:
    bad = split(
        20, classes={"1.5": 19, "2": 1, "２": 1}, n_conflicting=9, n_repeated=9, n_in_training=9, n_of_groups=9, n_scored=20
    )
    report = DataReport(
        "classify", "accuracy", {"train": bad, "dev": split(20, n_of_groups=9)}, tokens(n_unknown=9000, n_long=900), 3
    )
    found = list(warnings_of(report))
    assert len(found) == 11
    for warning in found:
        assert warning.remedy and str(warning).endswith(warning.remedy)


def test_the_interval_is_the_usual_one() -> None:
    assert half_width(100) == pytest.approx(1.96 * 0.04)
    assert half_width(0) < 1

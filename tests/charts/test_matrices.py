"""Confusion matrices and reliability curves as SVG: every cell says what was counted."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from bertsmith.charts.matrices import calibration_svg, confusion_svg

SVG = "{http://www.w3.org/2000/svg}"


def draw(counts: object, labels: list[str], **options: object) -> ElementTree.Element:
    return ElementTree.fromstring(confusion_svg(np.array(counts), labels, **options))  # type: ignore[arg-type]


def cells(svg: ElementTree.Element) -> list[ElementTree.Element]:
    return [rect for rect in svg.iter(f"{SVG}rect") if "cell" in rect.attrib["class"]]


def said(element: ElementTree.Element) -> str:
    return element.findtext(f"{SVG}title") or ""


def names(svg: ElementTree.Element) -> list[ElementTree.Element]:
    """Labels of the rows, then of the columns."""
    return [text for text in svg.iter(f"{SVG}text") if said(text)]


def printed(svg: ElementTree.Element) -> list[str | None]:
    return [text.text for text in svg.iter(f"{SVG}text") if text.get("class") == "count"]


def test_gold_is_in_rows_and_predicted_in_columns() -> None:
    svg = draw([[3, 1], [0, 2000]], ["cat", "dog"])
    assert [said(cell) for cell in cells(svg)] == [
        "gold cat, predicted cat: 3 (75.0% of the row)",
        "gold cat, predicted dog: 1 (25.0% of the row)",
        "gold dog, predicted cat: 0 (0.0% of the row)",
        "gold dog, predicted dog: 2,000 (100.0% of the row)",
    ]
    first, right_of_it, below_it, _ = ((float(cell.attrib["x"]), float(cell.attrib["y"])) for cell in cells(svg))
    assert first[0] < right_of_it[0] and first[1] == right_of_it[1]
    assert first[1] < below_it[1] and first[0] == below_it[0]
    assert [name.text for name in names(svg)] == ["cat", "dog", "cat", "dog"]


def test_shades_are_proportional_to_the_share_of_the_row() -> None:
    shades = [float(cell.attrib["fill-opacity"]) for cell in cells(draw([[3, 1], [0, 8]], ["a", "b"]))]
    assert shades[0] == pytest.approx(3 * shades[1])
    assert shades[2] == 0 < shades[0] < shades[3] <= 1


def test_a_class_without_examples_is_not_shaded() -> None:
    svg = draw([[0, 0], [1, 1]], ["never", "b"])
    assert [float(cell.attrib["fill-opacity"]) for cell in cells(svg)[:2]] == [0, 0]


def test_counts_are_printed_where_they_fit() -> None:
    assert printed(draw([[3, 1], [0, 2000]], ["a", "b"])) == ["3", "1", "2,000"]
    assert printed(draw([[3, 1], [0, 2_000_000]], ["a", "b"], size=(160, 160))) == ["3", "1"]


def test_everything_lies_within_the_picture() -> None:
    svg = draw(np.ones((30, 30), dtype=int), [f"intent number {number} of them all" for number in range(30)])
    [group] = svg.findall(f"{SVG}g")
    left, top = (float(part) for part in re.findall(r"[\d.]+", group.attrib["transform"]))
    last = cells(svg)[-1].attrib
    assert left + float(last["x"]) + float(last["width"]) <= 720
    assert top + float(last["y"]) + float(last["height"]) < 640


def test_labels_are_turned_where_they_are_wider_than_a_cell() -> None:
    short, long = draw(np.eye(9, dtype=int), ["ab"] * 9), draw(np.eye(9, dtype=int), ["a longer label"] * 9)
    assert not any("rotate" in name.get("transform", "") for name in names(short))
    assert all("rotate(-45)" in name.attrib["transform"] for name in names(long)[9:])


@pytest.mark.parametrize("label", ["an intent with a rather long name", "一个名字相当长的新闻类别的标签"])
def test_long_labels_are_cut_and_said_in_full(label: str) -> None:
    for name in names(draw([[1, 0], [0, 1]], [label, "b"]))[::2]:
        assert name.text is not None
        assert name.text.endswith("…") and label.startswith(name.text[:-1])
        assert len(name.text) >= 9
        assert said(name) == label


def test_of_very_many_classes_the_rare_ones_are_counted_together() -> None:
    counts = np.eye(40, dtype=int) * 10
    rare = [0, 5, *range(31, 40)]
    counts[rare, rare] = 2
    counts[0, 5], counts[0, 1], counts[1, 39] = 1, 3, 4
    svg = draw(counts, [f"c{number}" for number in range(40)])
    labels = [name.text for name in names(svg)[:30]]
    assert labels == [*(f"c{number}" for number in range(40) if number not in rare), "other"]
    found = {said(cell).split(" (")[0] for cell in cells(svg)}
    assert len(cells(svg)) == 900
    assert {"gold other, predicted other: 23", "gold other, predicted c1: 3", "gold c1, predicted other: 4"} <= found
    assert "gold c1, predicted c1: 10" in found


def test_labels_are_escaped() -> None:
    svg = draw([[1, 0], [0, 1]], ["<b> & c", '"d"'])
    assert names(svg)[0].text == "<b> & c"
    assert said(cells(svg)[1]).startswith('gold <b> & c, predicted "d"')


def test_reliability_curve_goes_through_the_bins_and_has_a_diagonal() -> None:
    svg = ElementTree.fromstring(calibration_svg([(0.25, 0.5, 10), (0.75, 0.625, 30)]))
    dots = {(said(dot), dot.attrib["class"]) for dot in svg.iter(f"{SVG}circle")}
    assert {("model: 0.5 at 0.25", "s0"), ("model: 0.625 at 0.75", "s0")} <= dots
    assert {said_at.split(": ")[1] for said_at, style in dots if style == "s1"} == {"0 at 0", "1 at 1"}


def test_pictures_are_standalone_and_have_light_and_dark_colours() -> None:
    for svg in (confusion_svg(np.eye(2, dtype=int), ["a", "b"]), calibration_svg([(0.5, 0.5, 1)])):
        assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
        assert "prefers-color-scheme:dark" in svg
        assert not re.search(r"url\(|href|@import|<script", svg)

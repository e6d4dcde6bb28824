"""Groups of points as SVG: well-formed whatever the text, each group with its mark."""

from xml.etree import ElementTree

import numpy as np
import pytest

from bertsmith.charts.scatters import Group, scatter_svg

SVG = "{http://www.w3.org/2000/svg}"


def draw(*groups: Group) -> ElementTree.Element:
    return ElementTree.fromstring(scatter_svg(groups, "a & b", "x", "y"))


def marks(svg: ElementTree.Element) -> list[ElementTree.Element]:
    return [path for path in svg.iter(f"{SVG}path") if path.get("class", "").startswith("mark") and len(path)]


def place(mark: ElementTree.Element) -> tuple[float, float]:
    x, y = mark.attrib["d"][1:].split("m")[0].split()
    return float(x), float(y)


def test_points_are_where_they_should_be() -> None:
    svg = draw(
        Group(np.array([[0.0, 0.0], [1.0, 0.0]]), ["origin", "right"], ["first"]), Group(np.array([[0.0, 1.0]]), ["up"], [])
    )
    origin, right, up = map(place, marks(svg))
    assert right[0] > origin[0] and right[1] == origin[1]
    assert up[0] == origin[0] and up[1] < origin[1]
    assert right[0] - origin[0] == pytest.approx(origin[1] - up[1], abs=0.2)


def test_every_point_says_what_it_is_and_no_text_breaks_the_file() -> None:
    said = ["<b>", "\x07bell & \ufffe", "山"]
    svg = draw(Group(np.zeros((3, 2)), said, ["l" * 500]))
    assert [mark.findtext(f"{SVG}title") for mark in marks(svg)] == ["<b>", " bell &  ", "山"]
    (line,) = [text.text for text in svg.iter(f"{SVG}text") if (text.text or "").startswith("l")]
    assert line.endswith("l…") and len(line) < 120


def test_the_keyboard_comes_to_every_point_and_what_it_says_has_a_line_of_its_own() -> None:
    svg = draw(Group(np.array([[0.0, 0.0], [1.0, 1.0]]), ["one", "other " * 99], ["first"]))
    points = [node for node in svg.iter(f"{SVG}g") if node.get("class") == "point"]
    assert [point.get("tabindex") for point in points] == ["0", "0"]
    assert [point.get("aria-label") for point in points] == ["one", "other " * 99]
    said = [point.find(f"{SVG}text") for point in points]
    assert [text.get("class") for text in said] == ["said", "said"]
    assert said[0].text == "one" and said[1].text.endswith("…")
    lines = [float(text.attrib["y"]) for text in svg.findall(f"{SVG}text")]
    assert len({text.get("y") for text in said}) == 1 and 44 + float(said[0].get("y")) < lines[-1] - 12


def test_groups_differ_in_outline_and_colour() -> None:
    svg = draw(*(Group(np.array([[float(n), 0.0]]), [str(n)], [str(n)]) for n in range(7)))
    outlines = [mark.attrib["d"].split("m", 1)[1] for mark in marks(svg)]
    assert len(set(outlines)) == 7
    assert len({mark.attrib["class"] for mark in marks(svg)}) == 6
    height = float(svg.attrib["height"])
    assert all(float(text.attrib["y"]) < height for text in svg.iter(f"{SVG}text") if "y" in text.attrib)

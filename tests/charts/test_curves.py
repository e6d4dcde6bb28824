"""Curves as SVG: what is drawn stands where its values say."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from bertsmith.charts.curves import STYLE, Series, curve_svg, moving_average

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def draw(*series: Series, **options: object) -> ElementTree.Element:
    return parse(curve_svg(series, "title", "across", "up", **options))  # type: ignore[arg-type]


def texts(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}text")]


def curves(svg: ElementTree.Element, kind: str) -> list[list[tuple[float, float]]]:
    """The points of each curve of a class, in pixels of the frame."""
    found = [
        path.attrib["d"] for inner in svg.iter(f"{SVG}svg") for path in inner.findall(f"{SVG}path") if path.get("class") == kind
    ]
    return [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)] for path in found]


def frame(svg: ElementTree.Element) -> tuple[float, float]:
    inner = next(element for element in svg.iter(f"{SVG}svg") if element is not svg)
    return float(inner.attrib["width"]), float(inner.attrib["height"])


def test_points_stand_where_their_values_say() -> None:
    svg = draw(Series("a", [0, 50, 100], [0.0, 0.25, 1.0]))
    width, height = frame(svg)
    [curve] = curves(svg, "s0")
    assert np.allclose(curve, [(0, height), (width / 2, height * 0.75), (width, 0)], atol=0.1)
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in svg.iter(f"{SVG}circle")]
    assert np.allclose(dots, curve, atol=0.1)


def test_reference_line_stands_at_its_height_and_in_the_legend() -> None:
    svg = draw(Series("a", [0, 1], [0.0, 1.0]), reference=("chance", 0.5))
    _, height = frame(svg)
    lines = [path.attrib["d"] for path in svg.iter(f"{SVG}path") if path.get("class") == "reference"]
    assert any(line.startswith(f"M0 {height / 2:.1f}H") for line in lines)
    assert {"a", "chance"} <= set(texts(svg))


def test_a_reference_beyond_the_curves_is_in_the_picture() -> None:
    svg = draw(Series("a", [0, 1], [0.8, 0.9]), reference=("chance", 0.5), percent=True)
    assert texts(svg)[3:8] == ["50%", "60%", "70%", "80%", "90%"]


def test_labels_and_title_are_shown_and_escaped() -> None:
    svg = parse(curve_svg([Series("<a>", [0, 1], [0, 1]), Series("训练", [0, 1], [1, 0])], "x & y", "<step>", "a < b"))
    assert {"x & y", "<step>", "a < b", "<a>", "训练"} <= set(texts(svg))
    assert svg.attrib["aria-label"] == "x & y"


def test_a_single_series_needs_no_legend() -> None:
    assert "alone" not in texts(draw(Series("alone", [0, 1], [0, 1])))


def test_a_legend_too_long_for_a_row_goes_on_in_the_next() -> None:
    svg = draw(*(Series(f"a rather long name number {index}", [0, 1], [0, index + 1]) for index in range(6)), size=(400, 300))
    places = [(float(text.attrib["x"]), float(text.attrib["y"])) for text in svg.findall(f"{SVG}text")[1:]]
    assert len(places) == len(set(places)) == 6
    assert len({y for _, y in places}) > 1
    assert all(x < 250 for x, _ in places)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([0.0, 1.0], True, ["0%", "20%", "40%", "60%", "80%", "100%"]),
        ([0.0, 1e-4], False, ["0", "2e-5", "4e-5", "6e-5", "8e-5", "1e-4"]),
        ([0.0, 10.4], False, ["0", "2", "4", "6", "8", "10", "12"]),
        ([9000.0, 12000.0], False, ["9k", "9.5k", "10k", "10.5k", "11k", "11.5k", "12k"]),
        ([0.0, 2e6], False, ["0", "0.5M", "1M", "1.5M", "2M"]),
        ([-1.0, 1.0], False, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([1.0, 1.0], True, ["0%", "20%", "40%", "60%", "80%", "100%"]),
        ([0.75, 0.75], True, ["0%", "20%", "40%", "60%", "80%", "100%"]),
        ([0.1, 0.1], True, ["0%", "5%", "10%", "15%", "20%"]),
        ([1.5, 1.5], True, ["0%", "50%", "100%", "150%", "200%", "250%", "300%"]),
        ([0.501, 0.503], True, ["50.10%", "50.15%", "50.20%", "50.25%", "50.30%"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], percent: bool, expected: list[str]) -> None:
    labels = [
        text.text for text in draw(Series("a", [0, 1], values), percent=percent).iter(f"{SVG}text") if text.get("x") == "-8"
    ]
    assert labels == expected


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-9, 1e12])
def test_one_point_is_a_dot_inside_the_frame(value: float) -> None:
    svg = draw(Series("a", [10], [value], smooth=True))
    [dot] = svg.iter(f"{SVG}circle")
    width, height = frame(svg)
    assert 0 <= float(dot.attrib["cx"]) <= width
    assert 0 <= float(dot.attrib["cy"]) <= height


def test_values_equal_but_for_rounding_are_drawn_as_a_level_line() -> None:
    _, height = frame(svg := draw(Series("a", [0, 1, 2], [9.1, 9.1, 9.1], smooth=True)))
    [curve] = curves(svg, "s0")
    assert len({y for _, y in curve}) == 1
    assert 0 < curve[0][1] < height


def test_points_that_are_not_finite_are_left_out() -> None:
    svg = draw(Series("a", [0, 1, 2, 3], [0, float("nan"), float("inf"), 1]))
    assert len(curves(svg, "s0")[0]) == 2


def test_an_empty_series_keeps_its_colour_but_is_not_named() -> None:
    svg = draw(Series("nothing", [], []), Series("something", [0, 1], [0, 1]))
    assert "nothing" not in texts(svg)
    assert curves(svg, "s0") == []
    assert len(curves(svg, "s1")) == 1


def test_no_points_at_all_give_an_empty_frame() -> None:
    svg = draw(Series("nothing", [], []))
    assert not list(svg.iter(f"{SVG}circle"))
    assert {"across", "up"} <= set(texts(svg))


def test_a_long_curve_is_thinned_and_keeps_its_peaks_and_ends() -> None:
    y = np.zeros(100_003)
    y[[0, 54_321, -1]] = 0.5, 1.0, 0.25
    svg = draw(Series("a", np.arange(len(y)), y))
    width, height = frame(svg)
    [curve] = curves(svg, "s0")
    assert len(curve) < 600
    assert np.allclose(curve[0], (0, height / 2), atol=0.1)
    assert np.allclose(curve[-1], (width, height * 0.75), atol=0.1)
    assert min(y for _, y in curve) == 0
    assert [x for x, _ in curve] == sorted(x for x, _ in curve)


def test_a_smooth_series_lies_before_its_faint_values() -> None:
    x = np.arange(1000)
    svg = draw(Series("a", x, np.where(x % 2, 1.0, 3.0), smooth=True))
    _, height = frame(svg)
    [faint], [smooth] = curves(svg, "s0 faint"), curves(svg, "s0")
    inner = [y for _, y in smooth[60:-60]]
    assert max(inner) - min(inner) < 0.1 * height
    assert max(y for _, y in faint) - min(y for _, y in faint) > 0.5 * height


def test_one_wild_value_does_not_flatten_a_smooth_series() -> None:
    y = np.linspace(2, 1, 1000)
    y[500] = 1e3
    labels = texts(draw(Series("a", np.arange(1000), y, smooth=True)))
    assert not any(label in labels for label in ("1,000", "1k"))


def test_moving_average_starts_with_the_value_and_follows_a_straight_line() -> None:
    line = np.linspace(10, 4, 400)
    smooth = moving_average(line)
    assert np.allclose(smooth[:390], line[:390])
    assert smooth[-1] == pytest.approx(line[-11:].mean())
    assert len(moving_average(np.array([]))) == 0


def test_more_series_than_colours_are_refused() -> None:
    with pytest.raises(ValueError, match="7 series"):
        draw(*(Series(str(index), [0], [0]) for index in range(7)))


def test_the_picture_is_standalone_and_has_light_and_dark_colours() -> None:
    svg = curve_svg([Series("a", [0, 1], [0, 1])], "title", "x", "y")
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "prefers-color-scheme:dark" in svg
    assert not re.search(r"url\(|href|@import|<script", svg)


@pytest.mark.parametrize(("paper", "axis"), [("#ffffff", "#868f99"), ("#171c22", "#6f7a87")])
def test_axes_stand_out_from_the_paper(paper: str, axis: str) -> None:
    assert f".plot .paper{{fill:{paper};" in STYLE and f".plot .axis{{stroke:{axis}}}" in STYLE
    darker, lighter = sorted(_luminance(colour) for colour in (paper, axis))
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def _luminance(colour: str) -> float:
    shares = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

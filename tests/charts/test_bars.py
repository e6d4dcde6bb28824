import re
import xml.etree.ElementTree as ET

import pytest

from bertsmith.charts.bars import bars_svg, histogram_svg

SVG = "{http://www.w3.org/2000/svg}"


def bars(svg: str) -> list[tuple[str, float, float]]:
    """Return what each bar says, its width and its height."""
    found = [one for one in ET.fromstring(svg).iter(f"{SVG}rect") if (one.get("class") or "").startswith("bar")]
    return [(one[0].text or "", float(one.get("width") or 0), float(one.get("height") or 0)) for one in found]


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ET.fromstring(svg).iter(f"{SVG}text")]


def test_bars_are_as_long_as_their_counts() -> None:
    found = bars(bars_svg([("<pos>", 300), ("neg", 100)], "Labels"))
    assert [said for said, _, _ in found] == ["<pos>: 300 (75.0%)", "neg: 100 (25.0%)"]
    assert found[0][1] == pytest.approx(3 * found[1][1], rel=0.01)


def test_many_bars_end_in_one_of_the_rest() -> None:
    found = [said for said, _, _ in bars(bars_svg([(str(n), 10) for n in range(20)], "Labels"))]
    assert len(found) == 13
    assert found[-1] == "8 more: 80 (40.0%)"


def test_a_long_name_is_cut_and_stays_within_the_picture() -> None:
    svg = bars_svg([("很" * 80, 3), ("b", 1)], "Labels")
    assert texts(svg)[1].endswith("…")
    assert bars(svg)[0][1] > 50


def test_a_histogram_has_a_bar_a_bin() -> None:
    svg = histogram_svg([0, 10, 20, 30], [4, 8, 2], "Lengths", "tokens")
    found = bars(svg)
    assert [said for said, _, _ in found] == ["0 to 10: 4", "10 to 20: 8", "20 to 30: 2"]
    assert found[1][2] == pytest.approx(2 * found[0][2], rel=0.01)
    assert {"0", "4", "8", "10", "20", "30", "Lengths", "tokens"} <= set(texts(svg))


@pytest.mark.parametrize(("mark", "is_drawn"), [(25, True), (31, False)])
def test_a_mark_stands_where_the_values_are(mark: float, is_drawn: bool) -> None:
    svg = histogram_svg([0, 10, 20, 30], [4, 8, 2], "Lengths", "tokens", ("longest", mark))
    assert ("longest" in texts(svg)) is is_drawn
    assert bool(re.search('class="mark"', svg)) is is_drawn

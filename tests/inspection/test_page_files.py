"""What the page's files say of colours: lines can be told from what they lie on, and no word contradicts a theme."""

import re

import pytest

from bertsmith.inspection.page_files import page_files

FEWEST_TO_ONE = 3.0  # for parts of pictures, WCAG 2.1, success criterion 1.4.11
FILES = page_files()


def _style(theme: str) -> dict[str, str]:
    selector = ':root[data-theme="dark"] {' if theme == "dark" else ":root {"
    return dict(re.findall(r"--([\w-]+): (#\w+);", FILES["style.css"].split(selector, 1)[1].split("}", 1)[0]))


def _palette(theme: str) -> dict[str, str]:
    body = FILES["palette.js"].split(f"const {theme.upper()} = {{", 1)[1].split("};", 1)[0]
    return dict(re.findall(r'(\w+): "(#\w+)"', body))


def _hues(theme: str) -> list[str]:
    body = FILES["palette.js"].split(f"const {theme.upper()} = {{", 1)[1]
    return re.findall(r"#\w+", body.split("hues: [", 1)[1].split("]", 1)[0])


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, between 1 and 21; WCAG 2.1."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_borders_and_curves_stand_out(theme: str) -> None:
    style, palette = _style(theme), _palette(theme)
    pairs = [(line, palette["paper"]) for line in (palette["border"], *_hues(theme))]
    pairs += [
        (style[line], style[ground]) for line in ("edge", "accent", "warm-line", "calm-line") for ground in ("paper", "page")
    ]
    weak = {pair: ratio for pair in pairs if (ratio := _contrast(*pair)) < FEWEST_TO_ONE}
    assert not weak


def test_no_word_says_that_dark_is_much() -> None:
    assert not re.findall(r"\b(?:darker|darkest|paler|lighter)\b|越深|越浅", FILES["words.js"])

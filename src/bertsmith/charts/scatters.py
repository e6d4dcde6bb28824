"""Groups of points in the plane as SVG, in the style of ``bertsmith.charts.curves``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from bertsmith.charts.curves import COLOURS, STYLE, text_width

# Seven outlines beside six colours: 42 groups before a pair comes back, and each can be told by its outline alone.
_MARKS = (
    "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",  # circle
    "m-4 3.5h8l-4 -7.5z",  # triangle
    "m-3.5 -3.5h7v7h-7z",  # square
    "m-4 -4l8 8m0 -8l-8 8",  # cross
    "m0 -5l4 5l-4 5l-4 -5z",  # diamond
    "m-4 -3.5h8l-4 7.5z",  # triangle upside down
    "m-4.5 0h9m-4.5 -4.5v9",  # plus
)
# Neither may stand in XML.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff]+")
# What is said of a point stands in a line of its own while the mouse or the keyboard is on it.
_STYLE = (
    ".plot .mark{stroke-width:1.5;pointer-events:all}.plot .point:focus{outline:none}.plot .point:focus .mark{stroke-width:4}"
    ".plot .said{visibility:hidden}.plot .point:hover .said,.plot .point:focus .said{visibility:visible}"
    ".plot:has(.point:hover) .point:focus:not(:hover) .said{visibility:hidden}"
)
_LINE, _MARGIN, _PLOT_HEIGHT = 18, 18, 340


@dataclass(frozen=True, slots=True)
class Group:
    """Points (n, 2) that belong together, what is said of each when pointed at, and lines of text for the legend."""

    points: npt.NDArray[Any]
    titles: Sequence[str]
    legend: Sequence[str]


def scatter_svg(groups: Sequence[Group], title: str, x_label: str, y_label: str, *, width: int = 720) -> str:
    """Return a standalone ``<svg>`` of the groups, each with a colour and a mark, and a legend below that is as high as it is.

    Both axes have the same scale; lines of the legend that are too long are cut. ``width`` is in pixels at natural scale.
    """
    points = np.concatenate([group.points for group in groups])
    low, high = points.min(axis=0), points.max(axis=0)
    frame = np.array([width - 2 * _MARGIN - 34, _PLOT_HEIGHT])
    scale = float(((frame - 24) / np.maximum(high - low, 1e-9)).min())
    marks = "".join(_marks(index, group, (low + high) / 2, scale, frame) for index, group in enumerate(groups))
    top = 44
    legend, bottom = _legend(groups, top + _PLOT_HEIGHT + 62, width)
    across, down = frame.tolist()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width} {bottom}" width="{width}" '
        f'height="{bottom}" role="figure" aria-label="{_clean(title)}"><style>{STYLE}{_STYLE}</style>'
        f'<rect class="paper" x=".5" y=".5" width="{width - 1}" height="{bottom - 1}" rx="8"/>'
        f'<text class="title" x="{_MARGIN}" y="28">{_clean(title)}</text><g transform="translate({_MARGIN + 22} {top})">'
        f'<path class="axis" d="M0 0H{across}V{down}H0z"/>'
        f'<text x="{across / 2:.1f}" y="{down + 20}" text-anchor="middle">{_clean(x_label)}</text>'
        f'<text transform="translate(-12 {down / 2:.1f}) rotate(-90)" text-anchor="middle">{_clean(y_label)}</text>'
        f"{marks}</g>{legend}</svg>"
    )


def _marks(index: int, group: Group, centre: npt.NDArray[Any], scale: float, frame: npt.NDArray[Any]) -> str:
    """Draw the points around the middle of the frame, the second component upwards."""
    places = (group.points - centre) * (scale, -scale) + frame / 2
    return "".join(
        f'<g class="point" tabindex="0" role="img" aria-label="{_clean(said)}">'
        f'<path class="mark s{index % len(COLOURS)}" d="M{x:.1f} {y:.1f}{_MARKS[index % len(_MARKS)]}">'
        f"<title>{_clean(said)}</title></path>"
        f'<text class="said" y="{frame[1] + 40:.0f}">{_clean(_cut(said, float(frame[0])))}</text></g>'
        for (x, y), said in zip(places.tolist(), group.titles, strict=True)
    )


def _legend(groups: Sequence[Group], top: int, width: int) -> tuple[str, int]:
    """Return the legend and where it ends."""
    parts, y = [], top
    for index, group in enumerate(groups):
        mark = f'd="M{_MARGIN + 8} {y - 4}{_MARKS[index % len(_MARKS)]}"'
        parts.append(f'<path class="mark s{index % len(COLOURS)}" {mark}/>')
        for line in group.legend:
            parts.append(f'<text x="{_MARGIN + 24}" y="{y}">{_clean(_cut(line, width - 2 * _MARGIN - 24))}</text>')
            y += _LINE
        y += 6
    return "".join(parts), y


def _cut(line: str, room: float) -> str:
    if text_width(line) <= room:
        return line
    while text_width(line + "…") > room:
        line = line[:-1]
    return line + "…"


def _clean(text: str) -> str:
    return escape(_CONTROLS.sub(" ", text))

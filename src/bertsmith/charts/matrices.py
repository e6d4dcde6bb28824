"""A confusion matrix and a reliability curve as SVG, in the style of ``bertsmith.charts.curves``."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from bertsmith.charts.curves import COLOURS, STYLE, Series, curve_svg, text_width

_MOST_LABELS = 30
_LABEL_WIDTH = 120.0
# How far a turned label of a given width reaches down: the sine of 45 degrees.
_SLANT = 0.7072

# Counts are read on every shade of the one blue: dark figures on white paper, light ones on dark.
_CELL_STYLE = (
    f".plot .cell{{fill:{COLOURS[0][0]}}}.plot .count{{fill:#1b2128}}"
    "@media (prefers-color-scheme:dark){.plot .count{fill:#e8ecf1}}"
)
_DARKEST = 0.8


def confusion_svg(counts: npt.NDArray[Any], labels: Sequence[str], size: tuple[int, int] = (720, 640)) -> str:
    """Return a standalone ``<svg>`` of a confusion matrix (C, C), gold classes in rows and predicted ones in columns.

    A cell is the darker the greater its share of the row, and holds its count unless that is 0 or too wide. Of more than 30
    classes the 29 that are gold most often keep their place and the rest are counted together as "other", the last. Labels
    too long are cut; they and the cells say all when pointed at. ``size`` is in pixels at natural scale.
    """
    counts, labels = _without_rare(counts, labels)
    names = [_shortened(label) for label in labels]
    width, height = size
    widest = max(text_width(name) for name in names)
    left, top = 50 + widest, 48
    cell_width = (width - left - 22) / len(labels)
    is_turned = widest > cell_width - 6
    bottom = 36 + (widest * _SLANT + 8 if is_turned else 14)
    cell_height = (height - top - bottom) / len(labels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="Confusion matrix"><style>{STYLE}{_CELL_STYLE}</style>'
        f'<rect class="paper" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>'
        f'<text class="title" x="18" y="28">Confusion matrix</text><g transform="translate({left:.1f} {top})">'
        f"{_cells(counts, labels, cell_width, cell_height)}"
        f'<path class="axis" d="M0 0V{cell_height * len(labels):.1f}H{cell_width * len(labels):.1f}V0z"/>'
        f"{_row_names(names, labels, cell_height)}{_column_names(names, labels, cell_width, cell_height, is_turned)}"
        f'<text transform="translate({22 - left:.1f} {cell_height * len(labels) / 2:.1f}) rotate(-90)" '
        'text-anchor="middle">gold</text>'
        f'<text x="{cell_width * len(labels) / 2:.1f}" y="{height - top - 16}" text-anchor="middle">predicted</text></g></svg>'
    )


def calibration_svg(bins: Sequence[tuple[float, float, int]], size: tuple[int, int] = (480, 420)) -> str:
    """Return a standalone ``<svg>`` of accuracy over confidence, from the bins that ``scores.calibration`` counts.

    A model whose confidence can be taken at its word lies on the diagonal.
    """
    model = Series("model", [one[0] for one in bins], [one[1] for one in bins])
    diagonal = Series("as right as confident", [0.0, 1.0], [0.0, 1.0])
    return curve_svg([model, diagonal], "Calibration", "confidence", "accuracy", size=size)


def _without_rare(counts: npt.NDArray[Any], labels: Sequence[str]) -> tuple[npt.NDArray[Any], list[str]]:
    if len(labels) <= _MOST_LABELS:
        return counts, list(labels)
    frequent = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: _MOST_LABELS - 1])
    place = np.full(len(labels), _MOST_LABELS - 1)
    place[frequent] = np.arange(_MOST_LABELS - 1)
    merged = np.zeros((_MOST_LABELS, _MOST_LABELS), dtype=counts.dtype)
    np.add.at(merged, (place[:, None], place[None, :]), counts)
    return merged, [*(labels[label] for label in frequent), "other"]


def _shortened(label: str) -> str:
    if text_width(label) <= _LABEL_WIDTH:
        return label
    while text_width(label + "…") > _LABEL_WIDTH:
        label = label[:-1]
    return label + "…"


def _cells(counts: npt.NDArray[Any], labels: Sequence[str], width: float, height: float) -> str:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    parts = []
    for (row, column), count in np.ndenumerate(counts):
        share, number = shares[row, column], f"{count:,}"
        said = f"gold {labels[row]}, predicted {labels[column]}: {number} ({share:.1%} of the row)"
        parts.append(
            f'<rect class="cell grid" x="{column * width:.1f}" y="{row * height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill-opacity="{share * _DARKEST:.3f}"><title>{escape(said)}</title></rect>'
        )
        if count and text_width(number) <= width - 6:
            x, y = (column + 0.5) * width, (row + 0.5) * height + 4
            # The cell beneath answers to the pointer.
            parts.append(
                f'<text class="count" x="{x:.1f}" y="{y:.1f}" text-anchor="middle" pointer-events="none">{number}</text>'
            )
    return "".join(parts)


def _row_names(names: Sequence[str], labels: Sequence[str], cell_height: float) -> str:
    return "".join(
        f'<text x="-8" y="{(row + 0.5) * cell_height + 4:.1f}" text-anchor="end">{escape(name)}'
        f"<title>{escape(label)}</title></text>"
        for row, (name, label) in enumerate(zip(names, labels, strict=True))
    )


def _column_names(names: Sequence[str], labels: Sequence[str], cell_width: float, cell_height: float, is_turned: bool) -> str:
    below = cell_height * len(names)
    turn, anchor, drop = ("rotate(-45)", "end", 14) if is_turned else ("", "middle", 18)
    return "".join(
        f'<text transform="translate({(column + 0.5) * cell_width:.1f} {below + drop:.1f}) {turn}" '
        f'text-anchor="{anchor}">{escape(name)}<title>{escape(label)}</title></text>'
        for column, (name, label) in enumerate(zip(names, labels, strict=True))
    )

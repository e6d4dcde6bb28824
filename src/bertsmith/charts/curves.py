"""Curves as SVG: one string that needs no script, font or network and is readable on light and dark screens."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_FONT, _CHARACTER = 12, 6.8
_BUCKETS = 250
_DOTTED = 40
_SMOOTHING = 40

# Okabe and Ito's colours, which people with any colour vision can tell apart; each one for light and for dark screens.
COLOURS = (
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#f0a030"),
    ("#009e73", "#2fc79b"),
    ("#b35a8e", "#e39bc4"),
    ("#8a6d00", "#f0e442"),
    ("#4d4d4d", "#cccccc"),
)


def _style() -> str:
    # Lines of the grid may be faint, since axes with marks and words stand out.
    def rules(shade: int, paper: str, border: str, axis: str, ink: str, quiet: str, grid: str) -> str:
        hues = "".join(
            f".plot .s{index}{{stroke:{pair[shade]}}}.plot circle.s{index}{{fill:{pair[shade]}}}"
            for index, pair in enumerate(COLOURS)
        )
        return (
            f".plot .paper{{fill:{paper};stroke:{border}}}.plot text{{fill:{quiet}}}.plot .title{{fill:{ink}}}"
            f".plot .grid{{stroke:{grid}}}.plot .axis{{stroke:{axis}}}.plot .reference{{stroke:{quiet}}}{hues}"
        )

    light = rules(0, "#ffffff", "#e1e5ea", "#868f99", "#1b2128", "#57606a", "#e8ebef")
    dark = rules(1, "#171c22", "#2a313a", "#6f7a87", "#e8ecf1", "#a1abb6", "#2a313a")
    return (
        f".plot text{{font:{_FONT}px system-ui,-apple-system,'Segoe UI',sans-serif}}"
        ".plot .title{font-size:14px;font-weight:600}"
        ".plot path{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
        ".plot .grid,.plot .axis{stroke-width:1}.plot .faint{stroke-width:1;stroke-opacity:.3}"
        ".plot .reference{stroke-width:1.5;stroke-dasharray:5 4}"
        f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
    )


STYLE = _style()


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve; points whose x or y is not finite are left out.

    ``x`` ascends. With ``smooth``, the curve is a moving average and the values themselves are drawn faintly behind it.
    """

    name: str
    x: Sequence[float] | Floats
    y: Sequence[float] | Floats
    smooth: bool = False


@dataclass(frozen=True, slots=True)
class _Axis:
    """Maps values between ``low`` and ``high`` to 0 … ``length`` pixels."""

    low: float
    high: float
    length: float
    ticks: list[float]
    labels: list[str]

    def place(self, value: Any) -> Any:
        return (value - self.low) / (self.high - self.low) * self.length


def curve_svg(
    series: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str,
    *,
    reference: tuple[str, float] | None = None,
    percent: bool = False,
    size: tuple[int, int] = (720, 420),
) -> str:
    """Return a standalone ``<svg>`` of the curves.

    A series without points keeps its colour and is not in the legend. Long series are thinned to the extremes of a few
    hundred stretches, so that peaks stay visible. ``reference`` is a name and the height of a dashed horizontal line;
    ``percent`` labels y = 0.5 as 50 %; ``size`` is in pixels at natural scale.

    Raises:
        ValueError: there are more series than colours.
    """
    if len(series) > len(COLOURS):
        raise ValueError(f"{len(series)} series; at most {len(COLOURS)} can be told apart by their colour")
    width, height = size
    curves = [_finite(one) for one in series]
    drawn = [(index, one.name) for index, one in enumerate(series) if len(curves[index][0])]
    legend, top = _legend(drawn, reference, width)
    y_axis = _y_axis(curves, [one.smooth for one in series], reference, percent, height - top - 50)
    left = 46 + _CHARACTER * max(len(label) for label in y_axis.labels)
    x_axis = _x_axis(curves, width - left - 22)
    paths = "".join(_curve(index, series[index], *curves[index], x_axis, y_axis) for index, _ in drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(title)}"><style>{STYLE}</style>'
        f'<rect class="paper" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>'
        f'<text class="title" x="18" y="28">{escape(title)}</text>{legend}'
        f'<g transform="translate({left:.0f} {top})">{_frame(x_axis, y_axis, x_label, y_label, left)}'
        f"{paths}{_reference(reference, x_axis, y_axis)}</g></svg>"
    )


def _finite(series: Series) -> tuple[Floats, Floats]:
    x, y = np.asarray(series.x, dtype=np.float64), np.asarray(series.y, dtype=np.float64)
    kept = np.isfinite(x) & np.isfinite(y)
    return x[kept], y[kept]


def moving_average(values: Floats) -> Floats:
    """Return the mean over a window of a fortieth of the values on either side, smaller at the start, one-sided at the end.

    The start is where a loss falls steeply, so the window stays symmetric there; at the end it is flat and noise matters more.
    """
    index = np.arange(len(values))
    before = np.minimum(index, len(values) // _SMOOTHING)
    stop = np.minimum(index + before + 1, len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((sums[stop] - sums[index - before]) / (stop - index + before))


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Keep the first and last point, and lowest and highest of each of a few hundred stretches of equal length."""
    if len(x) <= 2 * _BUCKETS:
        return x, y
    each = math.ceil(len(y) / _BUCKETS)
    stretches = np.pad(y, (0, -len(y) % each), mode="edge").reshape(-1, each)
    starts = np.arange(len(stretches)) * each
    kept = np.unique(np.concatenate([[0, len(y) - 1], starts + stretches.argmin(1), starts + stretches.argmax(1)]))
    kept = kept[kept < len(y)]
    return x[kept], y[kept]


def _y_axis(
    curves: Sequence[tuple[Floats, Floats]],
    smooth: Sequence[bool],
    reference: tuple[str, float] | None,
    percent: bool,
    length: float,
) -> _Axis:
    """Make room for every curve and the reference; of what is drawn faintly, for all but the outermost hundredths."""
    shown = [np.array([reference[1]] if reference else [])]
    for (_, y), is_smooth in zip(curves, smooth, strict=True):
        shown.append(moving_average(y) if is_smooth else y)
        if is_smooth and len(y):
            shown.append(np.percentile(y, [1, 99]))
    values = np.concatenate(shown)
    low, high = _range(values)
    if percent and values.max(initial=0.0) <= 1 + 1e-9:
        high = min(high, 1.0)  # the room above a constant share ends where shares do
    if 0 < low < 0.4 * high:
        low = 0.0
    step = _tick_step(high - low, 6)
    ticks = [step * k for k in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]
    return _Axis(ticks[0], ticks[-1], length, ticks, _tick_labels(ticks, step, percent))


def _x_axis(curves: Sequence[tuple[Floats, Floats]], length: float) -> _Axis:
    low, high = _range(np.concatenate([x for x, _ in curves] or [np.array([])]))
    if 0 < low < 0.4 * high:
        low = 0.0
    step = _tick_step(high - low, max(2, int(length / 75)))
    ticks = [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return _Axis(low, high, length, ticks, _tick_labels(ticks, step, False))


def _range(values: Floats) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    # Equal values differ by rounding once they are averaged.
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) or 1.0
    return (0.0, low + room) if low >= 0 else (low - room, 0.0)


def _tick_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5, 10, … that cuts ``span`` into at most ``most`` parts."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most + 1e-9)


def _tick_labels(ticks: Sequence[float], step: float, percent: bool) -> list[str]:
    if percent:
        decimals = max(0, -math.floor(math.log10(step * 100) + 1e-9))
        return [f"{tick * 100:.{decimals}f}%" for tick in ticks]
    largest = max(abs(tick) for tick in ticks)
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if largest >= unit and step >= unit / 10:
            return [f"{tick / unit:g}{letter}" if tick else "0" for tick in ticks]
    if largest < 1e-2:
        return [f"{tick:.1e}".replace(".0e", "e").replace("e-0", "e-") if tick else "0" for tick in ticks]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick:,.{decimals}f}" for tick in ticks]


def _frame(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str, left: float) -> str:
    width, height = x_axis.length, y_axis.length
    parts = []
    for tick, label in zip(y_axis.ticks, y_axis.labels, strict=True):
        y = height - y_axis.place(tick)
        parts.append(f'<path class="grid" d="M0 {y:.1f}H{width:.1f}"/>')
        parts.append(f'<text x="-8" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    marks = "".join(f"M{x_axis.place(tick):.1f} {height:.1f}v5" for tick in x_axis.ticks)
    parts.append(f'<path class="axis" d="M0 0V{height:.1f}H{width:.1f}{marks}"/>')
    for tick, label in zip(x_axis.ticks, x_axis.labels, strict=True):
        parts.append(f'<text x="{x_axis.place(tick):.1f}" y="{height + 18:.1f}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{width / 2:.1f}" y="{height + 36:.1f}" text-anchor="middle">{escape(x_label)}</text>')
    turned = f"translate({22 - left:.1f} {height / 2:.1f}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{escape(y_label)}</text>')
    return "".join(parts)


def _curve(index: int, series: Series, x: Floats, y: Floats, x_axis: _Axis, y_axis: _Axis) -> str:
    name, parts = escape(series.name), []
    if series.smooth:
        parts.append(f'<path class="s{index} faint" d="{_path(x, y, x_axis, y_axis)}"/>')
        y = moving_average(y)
    parts.append(f'<path class="s{index}" d="{_path(x, y, x_axis, y_axis)}"><title>{name}</title></path>')
    # An inner svg clips the faint peaks at the frame.
    curve = f'<svg width="{x_axis.length:.1f}" height="{y_axis.length:.1f}">{"".join(parts)}</svg>'
    if len(x) > _DOTTED:
        return curve
    dots = (
        f'<circle class="s{index}" cx="{x_axis.place(at):.1f}" cy="{y_axis.length - y_axis.place(value):.1f}" r="2.5">'
        f"<title>{name}: {value:.5g} at {at:,.7g}</title></circle>"
        for at, value in zip(x, y, strict=True)
    )
    return curve + "".join(dots)


def _path(x: Floats, y: Floats, x_axis: _Axis, y_axis: _Axis) -> str:
    x, y = _thinned(x, y)
    places: Iterable[tuple[float, float]] = zip(
        x_axis.place(x).tolist(), (y_axis.length - y_axis.place(y)).tolist(), strict=True
    )
    return "M" + "L".join(f"{across:.1f} {down:.1f}" for across, down in places)


def _reference(reference: tuple[str, float] | None, x_axis: _Axis, y_axis: _Axis) -> str:
    if reference is None:
        return ""
    name, value = reference
    y = y_axis.length - y_axis.place(value)
    return f'<path class="reference" d="M0 {y:.1f}H{x_axis.length:.1f}"><title>{escape(name)}</title></path>'


def _legend(drawn: Sequence[tuple[int, str]], reference: tuple[str, float] | None, width: float) -> tuple[str, int]:
    """Return the legend, in as many rows as it takes, and where the plot below it begins; none for a single name."""
    entries = [(name, f"s{index}") for index, name in drawn]
    entries += [(reference[0], "reference")] if reference else []
    if len(entries) < 2:
        return "", 48
    parts, x, y = [], 18.0, 50
    for name, style in entries:
        room = 28 + text_width(name)
        if x > 18 and x + room > width - 18:
            x, y = 18.0, y + 18
        parts.append(f'<path class="{style}" d="M{x:.0f} {y - 4}h18"/><text x="{x + 24:.0f}" y="{y}">{escape(name)}</text>')
        x += room + 14
    return "".join(parts), y + 20


def text_width(text: str) -> float:
    return sum(_FONT if unicodedata.east_asian_width(character) in "WF" else _CHARACTER for character in text)

"""Bars as SVG, in the style of ``bertsmith.charts.curves``: counts by name, and histograms."""

import math
from collections.abc import Sequence
from html import escape

from bertsmith.charts.curves import COLOURS, STYLE, text_width

_BAR_STYLE = (
    f".plot .bar{{fill:{COLOURS[0][0]};fill-opacity:.75}}.plot .more{{fill-opacity:.35}}"
    f".plot .mark{{stroke:{COLOURS[1][0]};stroke-dasharray:5 4}}"
    f"@media (prefers-color-scheme:dark){{.plot .bar{{fill:{COLOURS[0][1]}}}.plot .mark{{stroke:{COLOURS[1][1]}}}}}"
)
_MOST_BARS = 12
_NAME_WIDTH = 130.0
_LINE, _TOP, _MARGIN = 20, 44, 18


def bars_svg(counts: Sequence[tuple[str, int]], title: str, width: int = 400) -> str:
    """Return a standalone ``<svg>`` of horizontal bars in the order given, each with its count and its share of all.

    Behind the twelfth, the rest is one bar.
    """
    shown, rest = list(counts[:_MOST_BARS]), counts[_MOST_BARS:]
    if rest:
        shown.append((f"{len(rest):,} more", sum(count for _, count in rest)))
    total = max(sum(count for _, count in counts), 1)
    names = [_cut(name) for name, _ in shown]
    numbers = [f"{count:,} ({count / total:.1%})" for _, count in shown]
    left = _MARGIN + max(map(text_width, names), default=0.0) + 8
    room = width - left - max(map(text_width, numbers), default=0.0) - 8 - _MARGIN
    longest = max((count for _, count in shown), default=1) or 1
    rows = []
    for row, ((label, count), name, number) in enumerate(zip(shown, names, numbers, strict=True)):
        y, length = _TOP + row * _LINE, max(room * count / longest, 1.0)
        kind = "bar more" if rest and row == len(shown) - 1 else "bar"
        rows.append(
            f'<text x="{left - 8:.1f}" y="{y + 14}" text-anchor="end">{escape(name)}<title>{escape(label)}</title></text>'
            f'<rect class="{kind}" x="{left:.1f}" y="{y + 3}" width="{length:.1f}" height="14">'
            f"<title>{escape(label)}: {number}</title></rect>"
            f'<text x="{left + length + 6:.1f}" y="{y + 14}">{number}</text>'
        )
    return _svg(title, width, _TOP + len(shown) * _LINE + 14, "".join(rows))


def histogram_svg(
    edges: Sequence[float],
    counts: Sequence[int],
    title: str,
    x_label: str,
    mark: tuple[str, float] | None = None,
    size: tuple[int, int] = (400, 280),
) -> str:
    """Return a standalone ``<svg>`` of ``counts[i]`` values from ``edges[i]`` to ``edges[i + 1]``.

    ``mark`` is a name and a value at which an upright line stands; it is left out where it is beyond the last edge.
    """
    width, height = size
    ceiling = _round_up(max(counts))
    left = _MARGIN + text_width(f"{ceiling:,}") + 8
    across, down = width - left - _MARGIN, height - _TOP - 46
    first, span = edges[0], edges[-1] - edges[0]

    def x(value: float) -> float:
        return left + (value - first) / span * across

    parts = []
    for tick in (0, ceiling / 2, ceiling) if ceiling > 1 else (0, 1):
        y = _TOP + down * (1 - tick / ceiling)
        parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}h{across:.1f}"/>')
        parts.append(f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:,.0f}</text>')
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        tall = down * count / ceiling
        parts.append(
            f'<rect class="bar" x="{x(low) + 0.5:.1f}" y="{_TOP + down - tall:.1f}" '
            f'width="{max(x(high) - x(low) - 1, 0.5):.1f}" '
            f'height="{tall:.1f}"><title>{low:,.4g} to {high:,.4g}: {count:,}</title></rect>'
        )
    parts.append(f'<path class="axis" d="M{left:.1f} {_TOP}v{down}h{across:.1f}"/>')
    ticks = sorted({edges[round(quarter * len(counts) / 4)] for quarter in range(5)})
    parts += [f'<text x="{x(tick):.1f}" y="{_TOP + down + 18}" text-anchor="middle">{tick:,.4g}</text>' for tick in ticks]
    if mark is not None and first <= mark[1] <= edges[-1]:
        at, name = x(mark[1]), escape(mark[0])
        side = ("end", -6) if at > left + across / 2 else ("start", 6)
        parts.append(f'<path class="mark" d="M{at:.1f} {_TOP}v{down}"><title>{name}</title></path>')
        parts.append(f'<text x="{at + side[1]:.1f}" y="{_TOP + 10}" text-anchor="{side[0]}">{name}</text>')
    parts.append(f'<text x="{left + across / 2:.1f}" y="{_TOP + down + 36}" text-anchor="middle">{escape(x_label)}</text>')
    return _svg(title, width, height, "".join(parts))


def _svg(title: str, width: int, height: int, content: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(title)}"><style>{STYLE}{_BAR_STYLE}</style>'
        f'<rect class="paper" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>'
        f'<text class="title" x="{_MARGIN}" y="28">{escape(title)}</text>{content}</svg>'
    )


def _round_up(count: int) -> int:
    """Return the least round number that is not below a count and whose half is whole."""
    power = int(10.0 ** max(math.ceil(math.log10(max(count, 1))) - 1, 0))
    steps = (1, 2, 3, 4, 5, 6, 8, 10) if power > 1 else (1, 2, 4, 6, 8, 10)
    return next(power * step for step in steps if power * step >= count)


def _cut(name: str) -> str:
    if text_width(name) <= _NAME_WIDTH:
        return name
    while text_width(name + "…") > _NAME_WIDTH:
        name = name[:-1]
    return name + "…"

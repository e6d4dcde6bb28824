"""The frame of a static page: its style, its sections and the plots in them.

A page is one file with neither script nor network.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bertsmith.charts.curves import Series, curve_svg
from bertsmith.files import atomic_file

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --paper: #fff; --border: #e1e5ea; --ink: #1b2128; --quiet: #57606a;
  --bar: #dbe9f4; --right: #00684b; --right-bar: #c5eadd; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1116; --paper: #171c22; --border: #2a313a; --ink: #e8ecf1;
  --quiet: #a1abb6; --bar: #1d3a52; --right: #5fe0b5; --right-bar: #12493a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 40px 0 14px; font-size: 19px; }
p { margin: 4px 0 0; color: var(--quiet); }
.tiles, .cards { display: grid; gap: 14px; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin: 22px 0 0; }
.cards { grid-template-columns: repeat(auto-fill, minmax(min(100%, 370px), 1fr)); }
.tile, .card { background: var(--paper); border: 1px solid var(--border); border-radius: 8px; min-width: 0; }
.tile { padding: 12px 16px; }
.card { padding: 16px 18px; }
dt { color: var(--quiet); font-size: 13px; }
dd { margin: 2px 0 0; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.plot { display: block; width: 100%; height: auto; }
table { width: 100%; border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--quiet); }
th, td { padding: 4px 8px 4px 0; vertical-align: baseline; overflow-wrap: anywhere; }
.settings { display: grid; gap: 0 14px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
.settings th { white-space: nowrap; }
.settings tr + tr { border-top: 1px solid var(--border); }
pre { margin: 0; overflow-x: auto; font-size: 13px; }
section > p { margin-top: 12px; }
@media (max-width: 600px) { .card { padding: 14px; } .tile { padding: 10px 12px; } .tile dd { font-size: 17px; } }
"""


def write_page(path: Path, title: str, body: str, style: str = "") -> None:
    """Write a page, atomically, with ``style`` behind the style that all pages share; ``body`` and ``title`` are HTML.

    Raises:
        StorageError: the page cannot be written.
    """
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def plot(
    curves: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str,
    percent: bool = False,
    reference: tuple[str, float] | None = None,
) -> str:
    """Return the plot of the curves; nothing when none of them has a value."""
    if not any(np.isfinite(one.y).any() for one in curves):
        return ""
    return curve_svg(curves, title, x_label, y_label, reference=reference, percent=percent, size=(400, 280))


def section(title: str, cards: Iterable[str], kind: str = "cards", note: str = "") -> str:
    """Return a section of cards with a note below them; nothing when there are no cards."""
    shown = "".join(cards)
    below = f"<p>{note}</p>" if note else ""
    return f'<section><h2>{title}</h2><div class="{kind}">{shown}</div>{below}</section>' if shown else ""

"""What the pages of all runs share: the frame, the style, the reading of metrics, the plots and the settings.

A page is one file with neither script nor network, and whatever comes from outside is escaped.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from bertsmith.charts.curves import Series, curve_svg
from bertsmith.files import atomic_file, read_json

Record = Mapping[str, Any]

_MOST_TRAINING_RECORDS = 4000

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


def write_page(run: Path, body: str, style: str = "") -> None:
    """Write ``run/report.html``, atomically, with the settings of the run below ``body`` and ``style`` behind the shared one.

    Raises:
        ArtifactError: ``environment.json`` is missing.
        StorageError: the page cannot be written.
    """
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_name(run)} · bertsmith</title><style>{_STYLE}{style}</style></head>"
        f"<body><main>{body}{_settings(run)}</main></body></html>\n"
    )
    with atomic_file(run / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def _name(run: Path) -> str:
    return escape(run.resolve().name)


def _settings(run: Path) -> str:
    config, environment = (run / "config.toml").read_text(encoding="utf-8"), read_json(run / "environment.json")
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in environment.items())
    return (
        f'<div class="settings"><section><h2>Configuration</h2><div class="card"><pre>{escape(config)}</pre></div></section>'
        f'<section><h2>Environment</h2><div class="card"><table>{rows}</table></div></section></div>'
    )


def headline(run: Path, state: str, figures: Sequence[tuple[str, str]]) -> str:
    """Return the run's name, its state, and tiles of labels and values; a figure whose value is empty is left out."""
    tiles = "".join(f'<div class="tile"><dt>{label}</dt><dd>{value}</dd></div>' for label, value in figures if value)
    shown = f'<dl class="tiles">{tiles}</dl>' if tiles else ""
    return f"<header><h1>{_name(run)}</h1><p>{state}.</p></header>{shown}"


def duration(seconds: float) -> str:
    """Return a time in hours and minutes, or in minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def read_records(path: Path, measurements: Sequence[str]) -> dict[str, list[Record]]:
    """Read the records of ``metrics.jsonl`` by kind, in order: "train", and all of the kinds named as measurements.

    Of very many training records evenly spaced ones are read, the first and the last among them. A file that is not there
    has no records. Lines that are no records, such as a last one cut short, are passed over.
    """
    kinds: dict[str, list[Record]] = {"train": [], **{kind: [] for kind in measurements}}
    if path.exists():
        with path.open("rb") as file:
            for record in _records(_few(file, [f'"{kind}"'.encode() for kind in measurements])):
                if record.get("kind") in kinds:
                    kinds[record["kind"]].append(record)
    return kinds


def _few(lines: Iterable[bytes], measurements: Sequence[bytes]) -> list[bytes]:
    """Keep all lines of measurements and a limited number of others: parsing is slow, and a plot has few pixels."""
    measured: list[bytes] = []
    others: list[bytes] = []
    # The very last line may be cut short, so the one before it is kept as well.
    last: deque[bytes] = deque(maxlen=2)
    number, stride = 0, 1
    for line in lines:
        if any(kind in line for kind in measurements):
            measured.append(line)
            continue
        if number % stride == 0:
            others.append(line)
        if len(others) == _MOST_TRAINING_RECORDS:
            del others[1::2]
            stride *= 2
        number += 1
        last.append(line)
    return [*measured, *(line for line in others if line not in last), *last]


def _records(lines: Iterable[bytes]) -> Iterator[Record]:
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "step" in record:
                yield record


def series(name: str, records: Sequence[Record], x: str, y: str, smooth: bool = False) -> Series:
    """Return the curve of field ``y`` over field ``x``; a record without one of them has no point."""
    values = np.array([[record.get(x), record.get(y)] for record in records], dtype=np.float64).reshape(-1, 2)
    return Series(name, values[:, 0], values[:, 1], smooth)


def plot(
    curves: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str,
    percent: bool = False,
    reference: tuple[str, float] | None = None,
) -> str:
    """Return the plot of the curves; nothing when none of them has a value, as pairs under an objective without them."""
    if not any(np.isfinite(one.y).any() for one in curves):
        return ""
    return curve_svg(curves, title, x_label, y_label, reference=reference, percent=percent, size=(400, 280))


def section(title: str, cards: Iterable[str], kind: str = "cards", note: str = "") -> str:
    """Return a section of cards with a note below them; nothing when there are no cards."""
    shown = "".join(cards)
    below = f"<p>{note}</p>" if note else ""
    return f'<section><h2>{title}</h2><div class="{kind}">{shown}</div>{below}</section>' if shown else ""

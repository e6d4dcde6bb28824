"""The report of a run: one HTML file with curves, blanks filled over time and the configuration, viewable offline."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from bertsmith.files import atomic_file, read_json
from bertsmith.training.plots import Series, curve_svg

Record = Mapping[str, Any]

_TRAIN_RECORDS = 4000
_BLANKS_SHOWN = 12
_CANDIDATES_SHOWN = 3

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
.cards.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 520px), 1fr)); }
.tile, .card { background: var(--paper); border: 1px solid var(--border); border-radius: 8px; min-width: 0; }
.tile { padding: 12px 16px; }
.card { padding: 16px 18px; }
dt { color: var(--quiet); font-size: 13px; }
dd { margin: 2px 0 0; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.plot { display: block; width: 100%; height: auto; }
h3 { margin: 0 0 10px; font-size: 15px; font-weight: 500; overflow-wrap: anywhere; }
h3 b { border-radius: 4px; padding: 0 4px; background: var(--bar); }
table { width: 100%; border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
.blanks { table-layout: fixed; margin-top: 10px; }
th { text-align: left; font-weight: 500; color: var(--quiet); }
th, td { padding: 4px 8px 4px 0; vertical-align: baseline; overflow-wrap: anywhere; }
.blanks th:first-child { width: 76px; text-align: right; padding-right: 12px; white-space: nowrap; }
.blanks td { padding: 3px 8px 3px 6px; border: solid var(--paper); border-width: 1px 2px; }
td small { color: var(--quiet); white-space: nowrap; }
td.right { color: var(--right); font-weight: 600; }
td.right small, p strong { color: var(--right); }
.settings { display: grid; gap: 0 14px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
pre { margin: 0; overflow-x: auto; font-size: 13px; }
@media (max-width: 600px) { .card { padding: 14px; } .blanks small { display: block; }
  .blanks th:first-child { width: 60px; padding-right: 8px; } }
.settings tr + tr { border-top: 1px solid var(--border); }
"""


@dataclass(frozen=True, slots=True)
class Metrics:
    """The records of ``metrics.jsonl`` by kind, in order."""

    train: list[Record]
    held_out: list[Record]
    blanks: list[Record]


def read_metrics(path: Path) -> Metrics:
    """Read ``metrics.jsonl``; of very many training records evenly spaced ones, the first and the last among them.

    A file that is not there has no records. Lines that are no records, such as a last one cut short, are passed over.
    """
    kinds: dict[str, list[Record]] = {"train": [], "held_out": [], "blanks": []}
    if path.exists():
        with path.open("rb") as file:
            for record in _records(_few(file)):
                kinds[record["kind"]].append(record)
    return Metrics(**kinds)


def _few(lines: Iterable[bytes]) -> list[bytes]:
    """Keep all lines of measurements and at most ``_TRAIN_RECORDS`` others: parsing is slow, and a plot has few pixels."""
    measured: list[bytes] = []
    others: list[bytes] = []
    # The very last line may be cut short, so the one before it is kept as well.
    last: deque[bytes] = deque(maxlen=2)
    number, stride = 0, 1
    for line in lines:
        if b'"held_out"' in line or b'"blanks"' in line:
            measured.append(line)
            continue
        if number % stride == 0:
            others.append(line)
        if len(others) == _TRAIN_RECORDS:
            del others[1::2]
            stride *= 2
        number += 1
        last.append(line)
    return [*measured, *(line for line in others if line not in last), *last]


def _records(lines: Iterable[bytes]) -> Iterator[Record]:
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and record.get("kind") in ("train", "held_out", "blanks") and "step" in record:
                yield record


def write_report(run: Path) -> None:
    """Write ``run/report.html`` from the run's ``config.toml``, ``environment.json`` and ``metrics.jsonl``, atomically.

    Raises:
        ArtifactError: ``environment.json`` is missing.
        StorageError: the page cannot be written.
    """
    environment = read_json(run / "environment.json")
    metrics = read_metrics(run / "metrics.jsonl")
    name = escape(run.resolve().name)
    body = "".join(
        [
            _headline(name, metrics, (run / "final").exists()),
            _curves(metrics),
            _blanks(metrics.blanks),
            _settings((run / "config.toml").read_text(encoding="utf-8"), environment),
        ]
    )
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name} · bertsmith</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )
    with atomic_file(run / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def _headline(name: str, metrics: Metrics, finished: bool) -> str:
    heading = f"<header><h1>{name}</h1>"
    records = [*metrics.train[-1:], *metrics.held_out[-1:]]
    if not records:
        return f"{heading}<p>Pre-training has begun; nothing is measured yet.</p></header>"
    last = max(records, key=lambda record: float(record["step"]))
    state = f"Finished after step {last['step']:,}" if finished else f"Step {last['step']:,} so far, not finished"
    measured = metrics.held_out[-1] if metrics.held_out else {}
    held_out = f"; held-out figures from step {measured['step']:,}" if measured else "; no held-out figures yet"
    figures = [
        ("Steps", _shown(last, "step", "{:,.0f}")),
        ("Tokens seen", _compact(float(last.get("tokens") or 0))),
        ("Time", _duration(float(last.get("seconds") or 0))),
        ("Held-out loss", _shown(measured, "mlm_loss", "{:.3f}")),
        ("Perplexity", _shown(measured, "mlm_perplexity", "{:,.1f}")),
        ("Masked-token accuracy", _shown(measured, "mlm_accuracy", "{:.1%}")),
        ("Next-sentence accuracy", _shown(measured, "nsp_accuracy", "{:.1%}")),
    ]
    tiles = "".join(f'<div class="tile"><dt>{label}</dt><dd>{value}</dd></div>' for label, value in figures if value)
    return f'{heading}<p>{state}{held_out}.</p></header><dl class="tiles">{tiles}</dl>'


def _shown(record: Record, field: str, form: str) -> str:
    value = record.get(field)
    return form.format(value) if isinstance(value, int | float) else ""


def _compact(count: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M")):
        if count >= unit:
            return f"{count / unit:.1f} {letter}"
    return f"{count:,.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _curves(metrics: Metrics) -> str:
    loss, accuracy, pairs = (
        [_series("training", metrics.train, name, True), _series("held out", metrics.held_out, name)]
        for name in ("mlm_loss", "mlm_accuracy", "nsp_accuracy")
    )
    chance = ("chance", float((metrics.held_out or [{}])[-1].get("nsp_chance", 0.5)))
    plots = [
        _plot(loss, "Masked-token loss", "nats a token"),
        _plot(accuracy, "Masked-token accuracy", "share right", percent=True),
        _plot(pairs, "Next-sentence accuracy", "share right", percent=True, reference=chance),
        _plot([_series("training", metrics.train, "learning_rate")], "Learning rate", "rate"),
        _plot([_series("training", metrics.train, "gradient_norm", True)], "Gradient norm", "norm before clipping"),
        _plot([_series("training", metrics.train, "tokens_per_second", True)], "Speed", "tokens a second"),
    ]
    if not any(plots):
        return ""
    return f'<section><h2>Curves</h2><div class="cards">{"".join(plots)}</div></section>'


def _series(name: str, records: Sequence[Record], field: str, smooth: bool = False) -> Series:
    values = np.array([[record["step"], record.get(field)] for record in records], dtype=np.float64).reshape(-1, 2)
    return Series(name, values[:, 0], values[:, 1], smooth)


def _plot(
    series: Sequence[Series], title: str, y_label: str, percent: bool = False, reference: tuple[str, float] | None = None
) -> str:
    """Return the plot of the series; nothing when none of them has a value, as pairs under an objective without them."""
    if not any(np.isfinite(one.y).any() for one in series):
        return ""
    return curve_svg(series, title, "step", y_label, reference=reference, percent=percent, size=(400, 280))


def _blanks(records: Sequence[Record]) -> str:
    by_sentence: dict[str, tuple[str | None, dict[int, list[tuple[str, float]]]]] = {}
    for record in records:
        for sentence in record["sentences"]:
            _, filled = by_sentence.setdefault(sentence["text"], (sentence["answer"], {}))
            filled[record["step"]] = sentence["predictions"]
    if not by_sentence:
        return ""
    cards = (_sentence(text, answer, filled) for text, (answer, filled) in by_sentence.items())
    return f'<section><h2>Blanks filled over time</h2><div class="cards wide">{"".join(cards)}</div></section>'


def _sentence(text: str, answer: str | None, filled: Mapping[int, Sequence[tuple[str, float]]]) -> str:
    steps = _evenly(sorted(filled), _BLANKS_SHOWN)
    rows = "".join(
        f"<tr><th>{step:,}</th>"
        + "".join(_candidate(token, probability, answer) for token, probability in filled[step][:_CANDIDATES_SHOWN])
        + "</tr>"
        for step in steps
    )
    marked = escape(text).replace("[MASK]", "<b>[MASK]</b>")
    right = f"<p>Right answer: <strong>{escape(answer)}</strong></p>" if answer is not None else ""
    ranks = "<th>1st</th><th>2nd</th><th>3rd</th>"
    return f'<div class="card"><h3>{marked}</h3>{right}<table class="blanks"><tr><th>step</th>{ranks}</tr>{rows}</table></div>'


def _candidate(token: str, probability: float, answer: str | None) -> str:
    kind, mark, colour = ("right", " ✓", "--right-bar") if token == answer else ("wrong", "", "--bar")
    bar = f"background:linear-gradient(90deg,var({colour}) {probability:.1%},transparent 0)"
    share = f"{probability:.1%}" if probability >= 0.0005 else "&lt;0.1%"
    return f'<td class="{kind}" style="{bar}">{escape(token)}{mark} <small>{share}</small></td>'


def _evenly(steps: Sequence[int], most: int) -> list[int]:
    """Return at most ``most`` of the steps, evenly spaced, with the first and the last."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(place)] for place in np.linspace(0, len(steps) - 1, most)]


def _settings(config: str, environment: Record) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in environment.items())
    return (
        f'<div class="settings"><section><h2>Configuration</h2><div class="card"><pre>{escape(config)}</pre></div></section>'
        f'<section><h2>Environment</h2><div class="card"><table>{rows}</table></div></section></div>'
    )

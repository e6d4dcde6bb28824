"""The report of a run: one HTML file with curves, blanks filled over time and the configuration, viewable offline."""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path

import numpy as np

from bertsmith.charts.curves import Series
from bertsmith.charts.page import plot, section
from bertsmith.training.run_report import MetricsRecord, duration, headline, read_records, series, write_run_page

Metrics = Mapping[str, Sequence[MetricsRecord]]
"""The records of ``metrics.jsonl`` by kind, in order."""

_BLANKS_SHOWN = 12
_CANDIDATES_SHOWN = 3

_STYLE = """
.cards.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 520px), 1fr)); }
h3 { margin: 0 0 10px; font-size: 15px; font-weight: 500; overflow-wrap: anywhere; }
h3 b { border-radius: 4px; padding: 0 4px; background: var(--bar); }
.blanks { table-layout: fixed; margin-top: 10px; }
.blanks th:first-child { width: 76px; text-align: right; padding-right: 12px; white-space: nowrap; }
.blanks td { padding: 3px 8px 3px 6px; border: solid var(--paper); border-width: 1px 2px; }
td small { color: var(--quiet); white-space: nowrap; }
td.right { color: var(--right); font-weight: 600; }
td.right small, p strong { color: var(--right); }
@media (max-width: 600px) { .blanks small { display: block; } .blanks th:first-child { width: 60px; padding-right: 8px; } }
"""


def write_report(run: Path, is_finished: bool = False) -> None:
    """Write ``run/report.html`` from the run's ``config.toml``, ``environment.json`` and ``metrics.jsonl``, atomically.

    Raises:
        ArtifactError: ``environment.json`` is missing.
        StorageError: the page cannot be written.
    """
    metrics = read_records(run / "metrics.jsonl", ["held_out", "blanks"])
    write_run_page(run, _headline(run, metrics, is_finished) + _curves(metrics) + _blanks(metrics["blanks"]), _STYLE)


def _headline(run: Path, metrics: Metrics, is_finished: bool) -> str:
    records = [*metrics["train"][-1:], *metrics["held_out"][-1:]]
    if not records:
        return headline(run, "Pre-training has begun; nothing is measured yet", [])
    last = max(records, key=lambda record: float(record["step"]))
    state = f"Finished after step {last['step']:,}" if is_finished else f"Step {last['step']:,} so far, not finished"
    measured = metrics["held_out"][-1] if metrics["held_out"] else {}
    held_out = f"; held-out figures from step {measured['step']:,}" if measured else "; no held-out figures yet"
    figures = [
        ("Steps", _shown(last, "step", "{:,.0f}")),
        ("Tokens seen", _compact(float(last.get("tokens") or 0))),
        ("Time", duration(float(last.get("seconds") or 0))),
        ("Held-out loss", _shown(measured, "mlm_loss", "{:.3f}")),
        ("Perplexity", _shown(measured, "mlm_perplexity", "{:,.1f}")),
        ("Masked-token accuracy", _shown(measured, "mlm_accuracy", "{:.1%}")),
        ("Next-sentence accuracy", _shown(measured, "nsp_accuracy", "{:.1%}")),
    ]
    return headline(run, state + held_out, figures)


def _shown(record: MetricsRecord, field: str, form: str) -> str:
    value = record.get(field)
    return form.format(value) if isinstance(value, int | float) else ""


def _compact(count: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M")):
        if count >= unit:
            return f"{count / unit:.1f} {letter}"
    return f"{count:,.0f}"


def _curves(metrics: Metrics) -> str:
    loss, accuracy, pairs = (
        [_series("training", metrics["train"], name, True), _series("held out", metrics["held_out"], name)]
        for name in ("mlm_loss", "mlm_accuracy", "nsp_accuracy")
    )
    chance = ("chance", float((metrics["held_out"] or [{}])[-1].get("nsp_chance", 0.5)))
    draw = partial(plot, x_label="step")
    plots = [
        draw(loss, "Masked-token loss", y_label="nats a token"),
        draw(accuracy, "Masked-token accuracy", y_label="share right", percent=True),
        draw(pairs, "Next-sentence accuracy", y_label="share right", percent=True, reference=chance),
        draw([_series("training", metrics["train"], "learning_rate")], "Learning rate", y_label="rate"),
        draw([_series("training", metrics["train"], "gradient_norm", True)], "Gradient norm", y_label="norm before clipping"),
        draw([_series("training", metrics["train"], "tokens_per_second", True)], "Speed", y_label="tokens a second"),
    ]
    return section("Curves", plots)


def _series(name: str, records: Sequence[MetricsRecord], field: str, smooth: bool = False) -> Series:
    return series(name, records, "step", field, smooth)


def _blanks(records: Sequence[MetricsRecord]) -> str:
    by_sentence: dict[str, tuple[str | None, dict[int, list[tuple[str, float]]]]] = {}
    for record in records:
        for sentence in record["sentences"]:
            _, filled = by_sentence.setdefault(sentence["text"], (sentence["answer"], {}))
            filled[record["step"]] = sentence["predictions"]
    cards = (_sentence(text, answer, filled) for text, (answer, filled) in by_sentence.items())
    return section("Blanks filled over time", cards, "cards wide")


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

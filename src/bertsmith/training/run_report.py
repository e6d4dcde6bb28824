"""What the reports of all runs share: the reading of metrics, the headline, the settings."""

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from bertsmith.artifacts.card import without_places
from bertsmith.charts.curves import Series
from bertsmith.charts.page import write_page
from bertsmith.files import read_json
from bertsmith.training.run_directory import RunDirectory

MetricsRecord = Mapping[str, Any]

_MOST_TRAINING_RECORDS = 4000


def write_run_page(run: Path, body: str, style: str) -> None:
    """Write ``run/report.html``, atomically, with the settings of the run below ``body``.

    Raises:
        ArtifactError: ``environment.json`` is missing.
        StorageError: the page cannot be written.
    """
    write_page(RunDirectory(run).report, f"{_name(run)} · bertsmith", body + _settings(run), style)


def _name(run: Path) -> str:
    return escape(run.resolve().name)


def _settings(run: Path) -> str:
    directory = RunDirectory(run)
    config = without_places(directory.config.read_text(encoding="utf-8"))
    environment = read_json(directory.environment)
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


def read_records(path: Path, measurements: Sequence[str]) -> dict[str, list[MetricsRecord]]:
    """Read the records of ``metrics.jsonl`` by kind, in order: "train", and all of the kinds named as measurements.

    Of very many training records evenly spaced ones are read, the first and the last among them. A file that is not there
    has no records. Lines that are no records, such as a last one cut short, are passed over.
    """
    kinds: dict[str, list[MetricsRecord]] = {"train": [], **{kind: [] for kind in measurements}}
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


def _records(lines: Iterable[bytes]) -> Iterator[MetricsRecord]:
    for line in lines:
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("kind"), str) and is_finite(record.get("step")):
                yield record


def is_finite(value: Any) -> TypeGuard[float]:
    """Say whether a value of a record is a number to reckon with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def series(name: str, records: Sequence[MetricsRecord], x: str, y: str, smooth: bool = False) -> Series:
    """Return the curve of field ``y`` over field ``x``; a record without one of them has no point."""
    pairs = [[value if is_finite(value := record.get(name)) else None for name in (x, y)] for record in records]
    values = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return Series(name, values[:, 0], values[:, 1], smooth)

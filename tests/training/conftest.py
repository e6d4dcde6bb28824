"""Runs that are stopped at a step, and what is compared of two runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TIMINGS = {"tokens_per_second", "utilisation", "seconds"}


class Crash(BaseException):
    """Stands for SIGKILL: nothing in the package handles it, so what is on the disk is all that is left."""


@pytest.fixture
def crash_at(at: Callable[..., Any]) -> Callable[[int], Any]:
    """Make a progress that ends the run behind a step as a power cut would."""

    def crash() -> None:
        raise Crash

    return lambda step: at(step, crash)


@pytest.fixture
def crash() -> type[Crash]:
    return Crash


def records(run: Path) -> list[dict[str, Any]]:
    """Return the lines of ``metrics.jsonl`` without what depends on the time they took."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in record.items() if name not in TIMINGS} for record in lines]


@pytest.fixture(name="records")
def _records() -> Callable[[Path], list[dict[str, Any]]]:
    return records

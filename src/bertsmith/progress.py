"""Progress of long work, reported to whoever asked for it.

Library functions take a :class:`Progress` and report to it; by default it is silent. The command line passes
:class:`TerminalProgress`, which draws bars on stderr when that is a terminal and prints a line now and then when it is not.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

_SECONDS_BETWEEN_LINES = 10.0


class ProgressTask(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float) -> None:
        """Report that ``amount`` more of the total is done."""

    def note(self, text: str) -> None:
        """Show a few words behind the bar, e.g. the loss."""


class Progress(Protocol):
    """Shows tasks."""

    def task(self, description: str, total: float | None, unit: str) -> AbstractContextManager[ProgressTask]:
        """Begin a task; ``unit`` is ``"bytes"`` or a plural noun such as ``"steps"``."""


class _SilentTask:
    def advance(self, amount: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass


SILENT_TASK = _SilentTask()


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def task(self, description: str, total: float | None, unit: str) -> Iterator[ProgressTask]:  # noqa: ARG002
        yield SILENT_TASK


SILENT = SilentProgress()


class TerminalProgress:
    """Shows a bar with rate and remaining time on stderr, or lines where stderr is no terminal."""

    @contextmanager
    def task(self, description: str, total: float | None, unit: str) -> Iterator[ProgressTask]:
        task = _BarTask(description, total, unit) if sys.stderr.isatty() else _LineTask(description, total, unit)
        with task:
            yield task


class _BarTask:
    def __init__(self, description: str, total: float | None, unit: str) -> None:
        from rich import progress as rich
        from rich.console import Console

        amount: list[rich.ProgressColumn] = (
            [rich.DownloadColumn(), rich.TransferSpeedColumn()]
            if unit == "bytes"
            else [rich.MofNCompleteColumn(), rich.TextColumn(unit)]
        )
        self._bars = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=24),
            *amount,
            rich.TimeElapsedColumn(),
            rich.TextColumn("eta"),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._id = self._bars.add_task(description, total=total, note="")

    def __enter__(self) -> None:
        self._bars.start()

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def advance(self, amount: float) -> None:
        self._bars.advance(self._id, amount)

    def note(self, text: str) -> None:
        self._bars.update(self._id, note=text)


class _LineTask:
    def __init__(self, description: str, total: float | None, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done, self._note = 0.0, ""
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        self._print()

    def advance(self, amount: float) -> None:
        self._done += amount
        if time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES:
            self._print()

    def note(self, text: str) -> None:
        self._note = text

    def _print(self) -> None:
        self._printed = time.monotonic()
        elapsed = self._printed - self._started
        share = f"/{self._total:,.0f}" if self._total else ""
        eta = ""
        if self._total and self._done:
            eta = f", eta {max(0.0, elapsed * (self._total / self._done - 1)):.0f} s"
        line = f"{self._description}: {self._done:,.0f}{share} {self._unit}, {elapsed:.0f} s{eta}"
        print(f"{line}  {self._note}".rstrip(), file=sys.stderr, flush=True)

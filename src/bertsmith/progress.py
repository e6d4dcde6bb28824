"""Progress of long work, reported to whoever asked for it.

Library functions take a :class:`Progress` and report to it; by default it is silent. The command line passes
:class:`TerminalProgress`, which draws bars on stderr when that is a terminal and prints a line now and then when it is not.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

_SECONDS_BETWEEN_LINES = 10.0
_WIDTH_OF_FIGURES, _SHORTEST_BAR, _LONGEST_BAR = 46, 8, 24


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
        if logging.getLogger("bertsmith").level > logging.INFO:  # bertsmith -q
            yield SILENT_TASK
            return
        task = _BarTask(description, total, unit) if sys.stderr.isatty() else _LineTask(description, total, unit)
        with task:
            yield task


class _BarTask:
    def __init__(self, description: str, total: float | None, unit: str) -> None:
        from rich import progress as rich
        from rich.console import Console, RenderableType
        from rich.text import Text

        class Bars(rich.Progress):
            """Bars with their notes on lines of their own, which a narrow terminal would else squeeze out or the bar."""

            def get_renderables(self) -> Iterator[RenderableType]:
                for task in self.tasks:
                    yield self.make_tasks_table([task])
                    if note := task.fields["note"]:
                        yield Text(f"  {note}", overflow="ellipsis", no_wrap=True)

        console = Console(stderr=True)
        name = Text(description)
        room = max(2 * _SHORTEST_BAR, console.width - _WIDTH_OF_FIGURES)
        name.truncate(room - _SHORTEST_BAR, overflow="ellipsis")
        columns: list[rich.ProgressColumn] = [rich.TextColumn("{task.description}", markup=False)]
        if total is not None:
            columns.append(rich.BarColumn(max(_SHORTEST_BAR, min(_LONGEST_BAR, room - name.cell_len))))
        if unit == "bytes":
            columns += [rich.DownloadColumn(), rich.TransferSpeedColumn()]
        elif total is None:
            columns.append(rich.TextColumn("{task.completed:,.0f} " + unit))
        else:
            columns += [rich.MofNCompleteColumn(), rich.TextColumn(unit)]
        columns.append(rich.TimeElapsedColumn())
        if total is not None:
            columns += [rich.TextColumn("eta"), rich.TimeRemainingColumn()]
        self._bars = Bars(*columns, console=console)
        self._id = self._bars.add_task(str(name), total=total, note="")

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
        unit = self._unit.removesuffix("s") if self._done == 1 and not share else self._unit
        line = f"{self._description}: {self._done:,.0f}{share} {unit}, {elapsed:.0f} s{eta}"
        print(f"{line}  {self._note}".rstrip(), file=sys.stderr, flush=True)

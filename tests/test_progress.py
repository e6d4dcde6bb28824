"""What is shown of long work."""

import io
import sys

import pytest

from bertsmith import progress
from bertsmith.progress import SILENT, TerminalProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with SILENT.task("Working", 10, "steps") as task:
        task.advance(10)
        task.note("nothing")
    assert capfd.readouterr() == ("", "")


def test_lines_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with TerminalProgress().task("Working", 4000, "steps") as task:
        for _ in range(4):
            now[0] += 6.0
            task.note(f"loss {9 - now[0] / 6:.1f}")
            task.advance(1000)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Working: 2,000/4,000 steps, 12 s, eta 12 s  loss 7.0",
        "Working: 4,000/4,000 steps, 24 s, eta 0 s  loss 5.0",
        "Working: 4,000/4,000 steps, 24 s, eta 0 s  loss 5.0",
    ]


def test_without_a_total_there_is_no_eta(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress().task("Reading", None, "bytes") as task:
        task.advance(1234)
    assert capsys.readouterr().err == "Reading: 1,234 bytes, 0 s\n"


@pytest.mark.parametrize(("unit", "amount"), [("steps", "3/3 steps"), ("bytes", "3/3 bytes")])
def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, unit: str, amount: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    with TerminalProgress().task("Working", 3, unit) as task:
        task.advance(3)
        task.note("loss 7.0")
    assert "Working" in terminal.getvalue()
    assert amount in terminal.getvalue() and "loss 7.0" in terminal.getvalue()

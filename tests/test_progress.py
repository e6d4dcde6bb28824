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


def test_one_of_something_is_no_plural(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress().task("Training", None, "steps") as task:
        task.advance(1)
    assert capsys.readouterr().err == "Training: 1 step, 0 s\n"


def test_a_narrow_terminal_keeps_the_bar_beside_a_long_note(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "dumb")  # 80 columns
    with TerminalProgress().task("Pre-training", 100_000, "seconds") as task:
        task.advance(12_345)
        task.note("step 12,345  loss 7.123  mlm 12.3%  nsp 55.1%  12,345 tokens/s  53% of peak")
    line, note, *_ = terminal.getvalue().splitlines()
    assert line.startswith("Pre-training ━") and " 12345/100000 seconds " in line and " eta " in line
    assert note.startswith("  step 12,345  loss 7.123  mlm")


def test_a_long_name_leaves_room_for_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    with TerminalProgress().task(f"Checking {'corpora/' * 20}", 1000, "bytes") as task:
        task.advance(1000)
    line, *_ = terminal.getvalue().splitlines()
    assert line.startswith("Checking corpora") and "…" in line and " 1.0/1.0 kB " in line


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

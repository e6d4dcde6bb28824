"""A stop signal ends a command with its own exit code wherever it comes, and its end is not cut short."""

import os
import signal
import subprocess
import sys

import pytest

from bertsmith.errors import Interrupted
from bertsmith.signals import STOP_SIGNALS, interruptible

HEAD = """
import atexit, os, signal, sys
from bertsmith.signals import until_stopped
def stop():
    os.kill(os.getpid(), signal.{signal})
"""

PLACES = {
    "in plain code": "def work():\n    stop(); return 0",
    "in exec, as in the making of a dataclass": "def work():\n    exec('stop()'); return 0",
    "in the making of a class, which makes it another error": """
class Bad:
    def __set_name__(self, owner, name):
        stop()
def work():
    class Owner:
        bad = Bad()
    return 0
""",
    "in code that makes of it a failure": """
def work():
    try:
        stop()
    except BaseException:
        return 1
    return 0
""",
    "twice": """
def work():
    try:
        stop()
    finally:
        stop()
    return 0
""",
}


def code_of(script: str, number: signal.Signals) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", HEAD.format(signal=number.name) + script], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_ends_the_work_with_the_code_for_it(place: str, number: signal.Signals) -> None:
    assert code_of(PLACES[place] + "\nsys.exit(until_stopped(work, 75))", number) == (75, "")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_when_all_is_done_changes_nothing(number: signal.Signals) -> None:
    script = "atexit.register(stop)\nsys.exit(until_stopped(lambda: 0, 75))"
    assert code_of(script, number) == (0, "")
    assert code_of(script.replace("0,", "1,"), number) == (1, "")


def test_errors_of_its_own_are_let_through() -> None:
    code, err = code_of("until_stopped(lambda: 1 / 0, 75)", signal.SIGTERM)
    assert code == 1 and "ZeroDivisionError" in err


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_an_interruptible_body(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped here"), interruptible("stopped here"):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before

import pytest

from bertsmith.errors import UsageError
from bertsmith.training.schedule import BudgetClock, StepClock, learning_rate
from bertsmith.training.settings import seconds


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.325, 0.75), (0.55, 0.5), (0.991, 0.01), (1.0, 0.0), (1.2, 0.0)],
)
def test_learning_rate_rises_and_falls_linearly(fraction: float, expected: float) -> None:
    assert learning_rate(2.0, 0.1, fraction) == pytest.approx(2 * expected)


def test_without_warm_up_it_begins_at_the_peak() -> None:
    assert learning_rate(1e-4, 0.0, 0.0) == 1e-4


def test_clocks() -> None:
    assert StepClock(8).fraction(2, elapsed=1e9) == 0.25
    assert BudgetClock(60.0).fraction(10**9, elapsed=15.0) == 0.25
    assert BudgetClock(60.0).total_steps is None


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800)])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "30", "30 minutes", "-5m", "0s", "nanh", "infh", "1e999h", "h2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="such as 30m; not "):
        seconds(text)

import pytest

from bertsmith.training.schedule import BudgetClock, LinearSchedule, StepClock, fraction, make_schedule
from bertsmith.training.settings import Optimisation


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.325, 0.75), (0.55, 0.5), (0.991, 0.01), (1.0, 0.0), (1.2, 0.0)],
)
def test_learning_rate_rises_and_falls_linearly(fraction: float, expected: float) -> None:
    assert LinearSchedule(2.0, 0.1).rate(fraction) == pytest.approx(2 * expected)


def test_without_warm_up_it_begins_at_the_peak() -> None:
    schedule = make_schedule(Optimisation(warmup=0.0), 1e-4)
    assert (schedule.rate(0.0), schedule.rate(0.5)) == (1e-4, 5e-5)


def test_clocks() -> None:
    assert fraction(StepClock(8), 2, elapsed=1e9) == 0.25
    assert fraction(BudgetClock(60.0), 10**9, elapsed=15.0) == 0.25

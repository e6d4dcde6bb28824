"""How far a run is, and the learning rate that follows from it."""

from dataclasses import dataclass
from typing import Protocol

from bertsmith.training.settings import Optimisation


class Clock(Protocol):
    """Measures a run, in steps or in seconds."""

    @property
    def total(self) -> float:
        """Return the steps or seconds of the whole run."""

    @property
    def unit(self) -> str:
        """Return what the total counts."""

    def done(self, step: float, elapsed: float) -> float:
        """Return how much of the total is done after ``step`` steps in ``elapsed`` seconds."""


def fraction(clock: Clock, step: float, elapsed: float) -> float:
    """Return the share of the run, from 0 to 1, done after ``step`` steps in ``elapsed`` seconds."""
    return clock.done(step, elapsed) / clock.total


@dataclass(frozen=True, slots=True)
class StepClock:
    """A run of a fixed number of steps."""

    total: int
    unit: str = "steps"

    def done(self, step: float, elapsed: float) -> float:  # noqa: ARG002
        """Return the steps."""
        return step


@dataclass(frozen=True, slots=True)
class BudgetClock:
    """A run of a fixed time. How many steps that is depends on the machine, so such a run is not repeatable bit for bit."""

    total: float
    unit: str = "seconds"

    def done(self, step: float, elapsed: float) -> float:  # noqa: ARG002
        """Return the time."""
        return elapsed


class Schedule(Protocol):
    """The learning rate over a run."""

    def rate(self, fraction: float) -> float:
        """Return the learning rate when ``fraction`` of the run is done."""


@dataclass(frozen=True, slots=True)
class LinearSchedule:
    """Linear up to ``peak`` over the share ``warmup`` of the run, then linear down to 0."""

    peak: float
    warmup: float

    def rate(self, fraction: float) -> float:
        """Return the learning rate when ``fraction`` of the run is done."""
        if fraction < self.warmup:
            return self.peak * fraction / self.warmup
        return self.peak * max(0.0, (1 - fraction) / (1 - self.warmup))


def make_schedule(settings: Optimisation, peak: float) -> Schedule:
    """Return the schedule that the settings ask for, with its highest learning rate."""
    return LinearSchedule(peak, settings.warmup)

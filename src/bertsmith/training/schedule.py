"""How far a run is, and the learning rate that follows from it."""

from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Measures a run from 0 to 1."""

    @property
    def total_steps(self) -> int | None:
        """Return the steps of the run where they are known beforehand."""

    def fraction(self, step: float, elapsed: float) -> float:
        """Return the share of the run done after ``step`` steps in ``elapsed`` seconds."""


@dataclass(frozen=True, slots=True)
class StepClock:
    """A run of a fixed number of steps."""

    total_steps: int

    def fraction(self, step: float, elapsed: float) -> float:  # noqa: ARG002
        """Return the share of the steps."""
        return step / self.total_steps


@dataclass(frozen=True, slots=True)
class BudgetClock:
    """A run of a fixed time. How many steps that is depends on the machine, so such a run is not repeatable bit for bit."""

    seconds: float
    total_steps: int | None = None

    def fraction(self, step: float, elapsed: float) -> float:  # noqa: ARG002
        """Return the share of the time."""
        return elapsed / self.seconds


def learning_rate(peak: float, warmup: float, fraction: float) -> float:
    """Return the rate at ``fraction`` of the run: linear up to ``peak`` over ``warmup``, then linear down to 0."""
    if fraction < warmup:
        return peak * fraction / warmup
    return peak * max(0.0, (1 - fraction) / (1 - warmup))

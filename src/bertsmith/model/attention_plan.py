"""What every attention backend is: a plan for one batch that attends in each layer.

Dimensions: T tokens of the batch laid end to end, N heads, H head width, S tokens of a sequence.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Attended:
    """Attended tokens, and where wanted the attention probabilities of each sequence, each (N, S, S)."""

    context: Tensor
    probabilities: tuple[Tensor, ...] | None = None


@runtime_checkable
class AttentionPlan(Protocol):
    """A backend planned for one batch."""

    def attend(self, query_key_value: Float[Tensor, "T 3 N H"], dropout: float) -> Attended:
        """Return the context vectors (T, N, H)."""

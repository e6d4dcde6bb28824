"""What the heads of all tasks have in common.

Dimensions: T tokens, B sequences, C scores.
"""

from typing import Literal, Protocol, runtime_checkable

from torch import nn

from bertsmith.model.model_config import ModelConfig


class ScoringHead(nn.Module):
    """A head that scores sequences (B, C) or tokens (T, C), given the hidden states (T, D) and their batch.

    reads   the hidden states that it looks at; for "first tokens" no others of the last layer are computed
    scores  what each row of its scores is of
    """

    reads: Literal["first tokens", "all tokens"]
    scores: Literal["sequences", "tokens"]

    @property
    def output_layer(self) -> nn.Linear | None:
        """The linear layer whose outputs the scores are, or are decided from; None where there is none."""
        return None


@runtime_checkable
class TaskHead(Protocol):
    """Describes the head of a fine-tuned task; comparable, so that two models can be told apart by it."""

    def build(self, config: ModelConfig) -> ScoringHead:
        """Return the head, its weights not yet set."""

"""Heads of several tasks on one encoder, of which one answers at a time.

Dimensions: T tokens, D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch


@dataclass(frozen=True, slots=True)
class SeveralScores:
    """The scores of the tasks by name; what describes each one's head is a ``bertsmith.model.bert.TaskHead``."""

    heads: tuple[tuple[str, Any], ...]

    def build(self, config: ModelConfig) -> nn.Module:
        """Return the heads, their weights not yet set."""
        return SeveralHeads({name: head.build(config) for name, head in self.heads})


class SeveralHeads(nn.Module):
    """The heads by name; before a batch :meth:`use` says whose it is.

    A head that a step does not use has no gradient, so that the optimiser leaves its weights and its moments as they are.
    """

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.names = list(heads)
        # Not by their names, of which some, such as "type", are those of a module's own attributes.
        self.heads = nn.ModuleList(heads.values())
        self.used = self.names[0]

    def use(self, name: str) -> nn.Module:
        """Let the head of a task answer from now on, and return it."""
        self.used = name
        return self[name]

    def __getitem__(self, name: str) -> nn.Module:
        """Return the head of a task."""
        return self.heads[self.names.index(name)]

    @property
    def reads_first_token_only(self) -> bool:
        """Whether the head in use reads no token but each sequence's first."""
        return getattr(self[self.used], "reads_first_token_only", False)

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Tensor:
        """Return the scores of the head in use, of sequences (B, C) or of tokens (T, C)."""
        scores: Tensor = self[self.used](hidden_TD, batch)
        return scores

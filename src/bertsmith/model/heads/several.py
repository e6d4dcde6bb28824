"""Heads of several tasks on one encoder, of which one answers at a time.

Dimensions: T tokens, D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from bertsmith.model.heads.scoring_head import ScoringHead, TaskHead
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch


@dataclass(frozen=True, slots=True)
class SeveralScores:
    """The scores of the tasks by name."""

    heads: tuple[tuple[str, TaskHead], ...]

    def build(self, config: ModelConfig) -> ScoringHead:
        """Return the heads, their weights not yet set."""
        return SeveralHeads({name: head.build(config) for name, head in self.heads})


class SeveralHeads(ScoringHead):
    """The heads by name; before a batch :meth:`use` says whose it is.

    A head that a step does not use has no gradient, so that the optimiser leaves its weights and its moments as they are.
    """

    def __init__(self, heads: Mapping[str, ScoringHead]) -> None:
        super().__init__()
        self.names = list(heads)
        # Not by their names, of which some, such as "type", are those of a module's own attributes.
        self.heads = nn.ModuleList(heads.values())
        self.use(self.names[0])

    def use(self, name: str) -> ScoringHead:
        """Let the head of a task answer from now on, and return it."""
        self.used, head = name, self[name]
        self.reads, self.scores = head.reads, head.scores
        return head

    def __getitem__(self, name: str) -> ScoringHead:
        """Return the head of a task."""
        head = self.heads[self.names.index(name)]
        assert isinstance(head, ScoringHead)
        return head

    @property
    def output_layer(self) -> nn.Linear | None:
        """That of the head in use."""
        return self[self.used].output_layer

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Tensor:
        """Return the scores of the head in use, of sequences (B, C) or of tokens (T, C)."""
        scores: Tensor = self[self.used](hidden_TD, batch)
        return scores

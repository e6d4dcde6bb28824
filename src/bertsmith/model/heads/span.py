"""Where an answer begins and ends (Devlin et al. 2019, section 4.2).

Dimensions: T tokens, D width.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch


@dataclass(frozen=True, slots=True)
class SpanScores:
    """Two scores a token: the answer begins here, the answer ends here."""

    def build(self, config: ModelConfig) -> ScoringHead:
        """Return the head, its weights not yet set."""
        return SpanHead(config)


class SpanHead(ScoringHead):
    """A linear layer on every token."""

    reads = "all tokens"
    scores = "tokens"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.spans = nn.Linear(config.width, 2)

    @property
    def output_layer(self) -> nn.Linear:
        """The layer that scores tokens as the first and as the last of the answer."""
        return self.spans

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "T 2"]:  # noqa: ARG002
        """Return the scores of each token as the first and as the last of the answer."""
        scores_T2: Tensor = self.spans(hidden_TD)
        return scores_T2

"""Input embeddings: token + segment + position, normalised (Devlin et al. 2019, figure 2).

Dimensions: T tokens of the batch laid end to end, D width.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bertsmith.model.config import ModelConfig
from bertsmith.model.dropout import Dropout
from bertsmith.types import PackedBatch


class Embeddings(nn.Module):
    """The sum of three learned embeddings, layer-normalised, with dropout."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocabulary_size, config.width)
        self.position = nn.Embedding(config.max_positions, config.width)
        self.segment = nn.Embedding(config.n_segments, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = Dropout(config.dropout)

    def forward(self, batch: PackedBatch) -> Float[Tensor, "T D"]:
        """Return the embedded tokens of the batch."""
        embedded_TD = self.token(batch.token_ids) + self.segment(batch.segment_ids) + self.position(batch.position_ids)
        hidden_TD: Tensor = self.dropout(self.norm(embedded_TD))
        return hidden_TD

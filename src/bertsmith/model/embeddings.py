"""Input embeddings: token + segment + position, normalised (Devlin et al. 2019, figure 2).

Dimensions: T tokens of the batch laid end to end, D width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bertsmith.model.dropout import Dropout
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch


class Embeddings(nn.Module):
    """The sum of three learned embeddings, layer-normalised, with dropout."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token = _table(config.vocabulary_size, config.width)
        self.position = _table(config.max_positions, config.width)
        self.segment = _table(config.n_segments, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = Dropout(config.dropout)

    def forward(self, batch: PackedBatch, token_vectors_TD: Float[Tensor, "T D"] | None = None) -> Float[Tensor, "T D"]:
        """Return the embedded tokens of the batch; ``token_vectors_TD`` take the place of the tokens' own embeddings."""
        token_TD = self.token(batch.token_ids) if token_vectors_TD is None else token_vectors_TD
        embedded_TD = token_TD + self.segment(batch.segment_ids) + self.position(batch.position_ids)
        hidden_TD: Tensor = self.dropout(self.norm(embedded_TD))
        return hidden_TD


def _table(n_rows: int, width: int) -> nn.Embedding:
    """Return an embedding without values: those that PyTorch would draw take long, and are replaced in any case."""
    table: nn.Embedding = nn.Embedding.from_pretrained(torch.empty(n_rows, width), freeze=False)  # type: ignore[no-untyped-call]
    return table

"""One vector a sequence.

Dimensions: T tokens, B sequences, D width.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bertsmith.model.config import ModelConfig
from bertsmith.types import PackedBatch


class Pooler(nn.Module):
    """The ``[CLS]`` token through a dense layer and tanh, as the paper's next-sentence task uses it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "B D"]:
        """Return the pooled vector of each sequence."""
        pooled_BD: Tensor = self.dense(hidden_TD[batch.cu_seqlens[:-1].long()]).tanh()
        return pooled_BD

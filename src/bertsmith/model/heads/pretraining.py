"""The heads of the two pre-training tasks (Devlin et al. 2019, section 3.1).

Dimensions: M positions to predict, B sequences, D width, V vocabulary.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.model.heads.pooling import Pooler
from bertsmith.model.layer import ACTIVATIONS
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch


class MaskedTokenHead(nn.Module):
    """Which token stood here: a dense layer, then the inner product with every token embedding.

    ``decoder`` is the token embedding itself (tied by :class:`~bertsmith.model.bert.Bert`) unless a directory holds another.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.decoder: Tensor = nn.Parameter(torch.empty(config.vocabulary_size, config.width))
        self.bias = nn.Parameter(torch.zeros(config.vocabulary_size))

    def forward(self, hidden_MD: Float[Tensor, "M D"]) -> Float[Tensor, "M V"]:
        """Return a score for every vocabulary entry at each position."""
        transformed_MD = self.norm(self.activation(self.dense(hidden_MD)))
        return F.linear(transformed_MD, self.decoder.to(transformed_MD.dtype), self.bias.to(transformed_MD.dtype))


class NextSentenceHead(nn.Module):
    """Does sentence B follow sentence A: two scores, index 0 for yes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pooler = Pooler(config)
        self.classifier = nn.Linear(config.width, 2)

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "B 2"]:
        """Return the two scores of each sequence."""
        scores_B2: Tensor = self.classifier(self.pooler(hidden_TD, batch))
        return scores_B2

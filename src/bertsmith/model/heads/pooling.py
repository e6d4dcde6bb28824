"""One vector a sequence.

Dimensions: T tokens, B sequences, D width.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch

Pooling = Literal["cls", "mean", "max"]


def pool(hidden_TD: Float[Tensor, "T D"], cu_seqlens: Int[Tensor, " bounds"], pooling: Pooling) -> Float[Tensor, "B D"]:
    """Return one vector a sequence, in float32: of its first token, or the mean or the most of each figure over all tokens.

    ``[CLS]`` and ``[SEP]`` count as tokens (Reimers and Gurevych 2019, section 3).
    """
    starts_B = cu_seqlens[:-1].long().to(hidden_TD.device)
    if pooling == "cls":
        return hidden_TD[starts_B].float()
    lengths_B = cu_seqlens.diff().long().to(hidden_TD.device)
    owners_T = torch.repeat_interleave(lengths_B)
    pooled_BD = torch.zeros(len(lengths_B), hidden_TD.shape[1], device=hidden_TD.device)
    if pooling == "mean":
        return pooled_BD.index_add(0, owners_T, hidden_TD.float()) / lengths_B[:, None]
    owners_TD = owners_T[:, None].expand_as(hidden_TD)
    return pooled_BD.scatter_reduce(0, owners_TD, hidden_TD.float(), "amax", include_self=False)


@dataclass(frozen=True, slots=True)
class SentenceVectors:
    """A vector of a sequence, of length 1 where ``normalised``: a head without weights of its own."""

    pooling: Pooling = "mean"
    normalised: bool = False

    def build(self, config: ModelConfig) -> ScoringHead:  # noqa: ARG002
        """Return the head."""
        return VectorHead(self)


class VectorHead(ScoringHead):
    """The hidden states of a sequence as one vector."""

    scores = "sequences"

    def __init__(self, vectors: SentenceVectors) -> None:
        super().__init__()
        self.vectors = vectors
        self.reads = "first tokens" if vectors.pooling == "cls" else "all tokens"

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "B D"]:
        """Return the vector of each sequence."""
        pooled_BD = pool(hidden_TD, batch.cu_seqlens, self.vectors.pooling)
        return F.normalize(pooled_BD) if self.vectors.normalised else pooled_BD


class TokenPooling(nn.Module):
    """One vector a sequence, by :func:`pool`."""

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.pooling: Pooling = pooling

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "B D"]:
        """Return the pooled vector of each sequence."""
        return pool(hidden_TD, batch.cu_seqlens, self.pooling)


class AttentionPooling(nn.Module):
    """The mean over a sequence's tokens, each as much as a linear layer says (Lin et al. 2017, with one row of attention)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.score = nn.Linear(config.width, 1)

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "B D"]:
        """Return the pooled vector of each sequence."""
        scores_T = self.score(hidden_TD)[:, 0]
        lengths = batch.cu_seqlens.diff().tolist()
        weights_T = torch.cat([of_sequence.softmax(0) for of_sequence in scores_T.split(lengths)])
        owners_T = torch.repeat_interleave(batch.cu_seqlens.diff().long())
        pooled_BD = torch.zeros(len(lengths), hidden_TD.shape[1], device=hidden_TD.device)
        return pooled_BD.index_add(0, owners_T, hidden_TD * weights_T[:, None])


class Pooler(nn.Module):
    """The ``[CLS]`` token through a dense layer and tanh, as the paper's next-sentence task uses it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "B D"]:
        """Return the pooled vector of each sequence."""
        pooled_BD: Tensor = self.dense(hidden_TD[batch.cu_seqlens[:-1].long()]).tanh()
        return pooled_BD

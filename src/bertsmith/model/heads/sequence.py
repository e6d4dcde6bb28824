"""One judgement a sequence: its class, its labels or a number (Devlin et al. 2019, section 4.1), or how good a choice it is
(section 4.4).

Dimensions: T tokens, B sequences, D width, C classes.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from bertsmith.model.dropout import Dropout
from bertsmith.model.heads.pooling import AttentionPooling, Pooler, Pooling, TokenPooling
from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]
ScoredPooling = Pooling | Literal["attention"]


@dataclass(frozen=True, slots=True)
class SequenceScores:
    """A score for each label of a sequence; ``problem`` says what the scores are trained to mean.

    They are of what ``pooling`` makes of the tokens: "cls" is the paper's pooler on ``[CLS]``.
    """

    labels: tuple[str, ...]
    problem: Problem = "single_label_classification"
    pooling: ScoredPooling = "cls"

    def build(self, config: ModelConfig) -> ScoringHead:
        """Return the head, its weights not yet set."""
        if self.pooling == "cls":
            return SequenceHead(config, len(self.labels))
        return PooledHead(config, len(self.labels), self.pooling)


@dataclass(frozen=True, slots=True)
class ChoiceScores:
    """One score a sequence, to be compared with those of the other choices of the same question."""

    def build(self, config: ModelConfig) -> ScoringHead:
        """Return the head, its weights not yet set."""
        return SequenceHead(config, 1)


class SequenceHead(ScoringHead):
    """The pooled ``[CLS]`` token, with dropout, through a linear layer."""

    reads = "first tokens"
    scores = "sequences"

    def __init__(self, config: ModelConfig, n_scores: int) -> None:
        super().__init__()
        self.pooler = Pooler(config)
        self.dropout = Dropout(config.dropout)
        self.classifier = nn.Linear(config.width, n_scores)

    @property
    def output_layer(self) -> nn.Linear:
        """The layer that scores the labels."""
        return self.classifier

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "B C"]:
        """Return the scores of each sequence."""
        scores_BC: Tensor = self.classifier(self.dropout(self.pooler(hidden_TD, batch)))
        return scores_BC


class PooledHead(ScoringHead):
    """All tokens of a sequence as one vector, with dropout, through a linear layer."""

    reads = "all tokens"
    scores = "sequences"

    def __init__(self, config: ModelConfig, n_scores: int, pooling: ScoredPooling) -> None:
        super().__init__()
        self.pooling = AttentionPooling(config) if pooling == "attention" else TokenPooling(pooling)
        self.dropout = Dropout(config.dropout)
        # Not "classifier", which transformers would put behind a pooler of its own.
        self.linear = nn.Linear(config.width, n_scores)

    @property
    def output_layer(self) -> nn.Linear:
        """The layer that scores the labels."""
        return self.linear

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "B C"]:
        """Return the scores of each sequence."""
        scores_BC: Tensor = self.linear(self.dropout(self.pooling(hidden_TD, batch)))
        return scores_BC

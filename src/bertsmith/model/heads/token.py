"""A label a token (Devlin et al. 2019, section 4.3), alone or under a CRF, with or without a BiLSTM below
(Lample et al. 2016).

Dimensions: T tokens, D width, C classes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from bertsmith.model.dropout import Dropout
from bertsmith.model.heads.crf import ConditionalRandomField
from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch

Decoder = Literal["linear", "crf", "bilstm-crf"]
# For every label those that may follow it, as a string of 0 and 1, so that two can be compared.
Moves = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenScores:
    """A score for each label of a token.

    With ``decoder`` "crf" or "bilstm-crf", the labels of a sentence are judged together, and only moves between them that are
    legal are possible: ``moves`` has a row of 0 and 1 for each label, then one for the labels that a sentence may begin with
    and one for those that it may end with.
    """

    labels: tuple[str, ...]
    decoder: Decoder = "linear"
    moves: Moves = ()

    def build(self, config: ModelConfig) -> ScoringHead:
        """Return the head, its weights not yet set."""
        return TokenHead(config, self)


class TokenHead(ScoringHead):
    """Dropout and a linear layer on every token; ``crf`` judges the labels of a sentence together where there is one."""

    reads = "all tokens"
    scores = "tokens"

    def __init__(self, config: ModelConfig, scores: TokenScores) -> None:
        super().__init__()
        self.dropout = Dropout(config.dropout)
        self.lstm = _bilstm(config.width) if scores.decoder == "bilstm-crf" else None
        self.classifier = nn.Linear(config.width, len(scores.labels))
        self.crf = None
        if scores.decoder != "linear":
            *allowed, starts, ends = ([move == "1" for move in row] for row in scores.moves)
            # On the CPU, where the model as a whole may be built without memory: these are no parameters.
            with torch.device("cpu"):
                masks = torch.tensor(allowed), torch.tensor(starts), torch.tensor(ends)
            self.crf = ConditionalRandomField(*masks)

    @property
    def output_layer(self) -> nn.Linear:
        """The layer that scores the labels."""
        return self.classifier

    def forward(self, hidden_TD: Float[Tensor, "T D"], batch: PackedBatch) -> Float[Tensor, "T C"]:
        """Return the scores of each token's labels."""
        hidden_TD = self.dropout(hidden_TD)
        if self.lstm is not None:
            sequences = list(torch.split(hidden_TD, batch.cu_seqlens.diff().tolist()))
            recurrent, _ = self.lstm(pack_sequence(sequences, enforce_sorted=False))
            hidden_TD = self.dropout(torch.cat(unpack_sequence(recurrent)))
        scores_TC: Tensor = self.classifier(hidden_TD)
        return scores_TC


def _bilstm(width: int) -> nn.LSTM:
    return nn.LSTM(width, width // 2, bidirectional=True)

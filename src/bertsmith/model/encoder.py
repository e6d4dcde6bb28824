"""The Transformer encoder over packed tokens (Devlin et al. 2019, section 3).

Dimensions: T tokens of the batch laid end to end, R rows of them that are wanted, D width, L layers.
"""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn

from bertsmith.model.attention import plan_attention
from bertsmith.model.embeddings import Embeddings
from bertsmith.model.layer import Layer
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PackedBatch


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder makes of a batch.

    hidden     (T, D), or (R, D)             the last layer's output, at all tokens or at the rows that were wanted
    layers     L+1 tensors (T, D)            the embeddings' and every layer's output, where wanted
    attention  L tuples of B tensors (N, S, S)  attention probabilities, where wanted
    """

    hidden: Tensor
    layers: tuple[Tensor, ...] | None
    attention: tuple[tuple[Tensor, ...], ...] | None


class Encoder(nn.Module):
    """Embeddings and a stack of layers."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))

    def forward(
        self,
        batch: PackedBatch,
        want_layers: bool = False,
        want_attention: bool = False,
        rows_R: Int[Tensor, " R"] | None = None,
    ) -> Encoded:
        """Encode the batch, keeping every layer's output and attention only where wanted.

        With ``rows_R``, the last layer is computed no further than these rows need.
        """
        hidden_TD = self.embeddings(batch)
        dropout = self.config.attention_dropout if self.training else 0.0
        plan = plan_attention(batch, hidden_TD.dtype, dropout, want_attention)
        layers, attention = [hidden_TD], []
        for number, layer in enumerate(self.layers, 1):
            encoded = layer(hidden_TD, plan, rows_R if number == len(self.layers) else None)
            hidden_TD = encoded.context
            if want_layers:
                layers.append(hidden_TD)
            if want_attention:
                attention.append(encoded.probabilities)
        return Encoded(hidden_TD, tuple(layers) if want_layers else None, tuple(attention) if want_attention else None)

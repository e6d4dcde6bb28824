"""The Transformer encoder over packed tokens (Devlin et al. 2019, section 3).

Dimensions: T tokens of the batch laid end to end, D width, L layers.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from bertsmith.model.attention import plan_attention
from bertsmith.model.config import ModelConfig
from bertsmith.model.embeddings import Embeddings
from bertsmith.model.layer import Layer
from bertsmith.types import PackedBatch


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder makes of a batch.

    hidden     (T, D)                        the last layer's output
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

    def forward(self, batch: PackedBatch, want_layers: bool = False, want_attention: bool = False) -> Encoded:
        """Encode the batch, keeping every layer's output and attention only where wanted."""
        hidden_TD = self.embeddings(batch)
        dropout = self.config.attention_dropout if self.training else 0.0
        plan = plan_attention(batch, hidden_TD.dtype, dropout, want_attention)
        layers, attention = [hidden_TD], []
        for layer in self.layers:
            encoded = layer(hidden_TD, plan)
            hidden_TD = encoded.context
            if want_layers:
                layers.append(hidden_TD)
            if want_attention:
                attention.append(encoded.probabilities)
        return Encoded(hidden_TD, tuple(layers) if want_layers else None, tuple(attention) if want_attention else None)

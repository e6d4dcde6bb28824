"""The Transformer encoder over packed tokens (Devlin et al. 2019, section 3), and what others ask of an encoder.

Dimensions: T tokens of the batch laid end to end, R rows of them that are wanted, D width, L layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from bertsmith.model.attention import plan_attention
from bertsmith.model.attention_plan import AttentionPlan
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


class TextEncoder(Protocol):
    """A module that makes hidden states of packed tokens: a model's own, or one that an engine puts in its place.

    config      the model's shape; a layer may be narrower than it says
    embeddings  make the first layer's input of a batch
    layers      each can be run, trained and looked into by itself; empty where all layers are one piece of code
    """

    config: ModelConfig
    embeddings: Embeddings
    layers: Sequence[Layer]

    def forward(
        self,
        batch: PackedBatch,
        plans: Sequence[AttentionPlan] | None = None,
        *,
        token_vectors_TD: Float[Tensor, "T D"] | None = None,
        want_layers: bool = False,
        want_attention: bool = False,
        rows_R: Int[Tensor, " R"] | None = None,
    ) -> Encoded:
        """Encode the batch, keeping every layer's output and attention only where wanted.

        Args:
            batch: The tokens.
            plans: How each layer attends; as suits the batch and the machine unless given.
            token_vectors_TD: (T, D) in the place of the tokens' own embeddings.
            want_layers: Keep the output of the embeddings and of every layer.
            want_attention: Keep the attention probabilities, which plans that are handed in must give.
            rows_R: The rows at which the last layer is wanted, all unless given; it is computed no further than they need.
        """

    __call__: Callable[..., Any]  # as torch.nn.Module declares it


class Encoder(nn.Module):
    """Embeddings and a stack of layers."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        # A list of modules does not tell the type checker of which kind they are.
        self.layers = cast(Sequence[Layer], nn.ModuleList(Layer(config) for _ in range(config.n_layers)))

    def forward(
        self,
        batch: PackedBatch,
        plans: Sequence[AttentionPlan] | None = None,
        *,
        token_vectors_TD: Float[Tensor, "T D"] | None = None,
        want_layers: bool = False,
        want_attention: bool = False,
        rows_R: Int[Tensor, " R"] | None = None,
    ) -> Encoded:
        """Encode the batch as :class:`TextEncoder` says."""
        hidden_TD = self.embeddings(batch, token_vectors_TD)
        if plans is None:
            dropout = self.config.attention_dropout if self.training else 0.0
            plans = [plan_attention(batch, hidden_TD.dtype, dropout, want_attention)] * len(self.layers)
        layers, attention = [hidden_TD], []
        for number, (layer, plan) in enumerate(zip(self.layers, plans, strict=True), 1):
            encoded = layer(hidden_TD, plan, rows_R if number == len(self.layers) else None)
            hidden_TD = encoded.context
            if want_layers:
                layers.append(hidden_TD)
            if want_attention:
                attention.append(encoded.probabilities)
        return Encoded(hidden_TD, tuple(layers) if want_layers else None, tuple(attention) if want_attention else None)

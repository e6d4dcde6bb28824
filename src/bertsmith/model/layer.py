"""One Transformer layer, normalised after each residual sum as in the paper (Vaswani et al. 2017, section 3).

Dimensions: T tokens of the batch laid end to end, D width, N heads, H head width.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.model.attention import Attended, AttentionPlan
from bertsmith.model.config import ModelConfig
from bertsmith.model.dropout import Dropout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda values: F.gelu(values, approximate="tanh"),
    "relu": F.relu,
}


class SelfAttention(nn.Module):
    """Multi-head self-attention with its output projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.dropout_rate = config.attention_dropout

    def forward(self, hidden_TD: Float[Tensor, "T D"], plan: AttentionPlan) -> Attended:
        """Return the attended tokens (T, D), with the probabilities where the plan gives them."""
        query_key_value_T3NH = self.query_key_value(hidden_TD).view(len(hidden_TD), 3, self.n_heads, -1)
        attended = plan.attend(query_key_value_T3NH, self.dropout_rate if self.training else 0.0)
        return Attended(self.output(attended.context.flatten(1)), attended.probabilities)


class Layer(nn.Module):
    """Self-attention and a two-layer feed-forward, each with dropout, residual sum and normalisation."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.feed_forward_in = nn.Linear(config.width, config.feed_forward_width)
        self.feed_forward_out = nn.Linear(config.feed_forward_width, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = Dropout(config.dropout)

    def forward(self, hidden_TD: Float[Tensor, "T D"], plan: AttentionPlan) -> Attended:
        """Return the layer's output (T, D), with the attention probabilities where the plan gives them."""
        attended = self.attention(hidden_TD, plan)
        hidden_TD = self.attention_norm(hidden_TD + self.dropout(attended.context))
        transformed_TD = self.feed_forward_out(self.activation(self.feed_forward_in(hidden_TD)))
        return Attended(self.feed_forward_norm(hidden_TD + self.dropout(transformed_TD)), attended.probabilities)

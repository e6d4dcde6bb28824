"""One Transformer layer, normalised after each residual sum as in the paper (Vaswani et al. 2017, section 3).

Dimensions: T tokens of the batch laid end to end, R rows of them that are wanted, D width, F feed-forward width,
N heads, H head width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.model.attention_plan import Attended, AttentionPlan
from bertsmith.model.dropout import Dropout
from bertsmith.model.model_config import ModelConfig

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}


@contextmanager
def computed_again(values: Tensor, compute: Callable[[], Tensor]) -> Iterator[None]:
    """Let operations keep for their backward passes not ``values`` but what computes them, to the same bits, once more.

    An activation takes a hundredth of a step or less, and its values a fifth of the memory of a layer. Compiled code decides
    for itself what it keeps.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        yield
        return
    address = values.data_ptr()

    def pack(saved: Tensor) -> Tensor | Callable[[], Tensor]:
        return compute if saved.data_ptr() == address else saved

    def unpack(packed: Tensor | Callable[[], Tensor]) -> Tensor:
        return packed if isinstance(packed, Tensor) else compute()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


class SelfAttention(nn.Module):
    """Multi-head self-attention with its output projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.dropout_rate = config.attention_dropout

    def forward(
        self, hidden_TD: Float[Tensor, "T D"], plan: AttentionPlan, rows_R: Int[Tensor, " R"] | None = None
    ) -> Attended:
        """Return the attended tokens (R, D), with the probabilities where the plan gives them."""
        query_key_value_T3NH = self.query_key_value(hidden_TD).view(len(hidden_TD), 3, self.n_heads, -1)
        attended = plan.attend(query_key_value_T3NH, self.dropout_rate if self.training else 0.0)
        context_RD = attended.context.flatten(1)
        if rows_R is not None:
            context_RD = context_RD[rows_R]
        return Attended(self.output(context_RD), attended.probabilities)


class Layer(nn.Module):
    """Self-attention and a two-layer feed-forward, each with dropout, residual sum and normalisation."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.feed_forward_in = nn.Linear(config.width, config.feed_forward_width)
        self.feed_forward_out = nn.Linear(config.feed_forward_width, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.activation_name = config.activation
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = Dropout(config.dropout)

    def forward(
        self, hidden_TD: Float[Tensor, "T D"], plan: AttentionPlan, rows_R: Int[Tensor, " R"] | None = None
    ) -> Attended:
        """Return the layer's output at the rows wanted, (R, D), or at all; with the probabilities where the plan gives them."""
        attended = self.attention(hidden_TD, plan, rows_R)
        hidden_RD = hidden_TD if rows_R is None else hidden_TD[rows_R]
        hidden_RD = self.attention_norm(hidden_RD + self.dropout(attended.context))
        inner_RF = self.feed_forward_in(hidden_RD)
        activated_RF = self.activation(inner_RF)
        with computed_again(activated_RF, partial(self.activation, inner_RF.detach())):
            transformed_RD = self.feed_forward_out(activated_RF)
        return Attended(self.feed_forward_norm(hidden_RD + self.dropout(transformed_RD)), attended.probabilities)

"""The shape of a BERT and its presets."""

from typing import Literal

import pydantic

from bertsmith.config import Config


class ModelConfig(Config):
    """Everything that determines an encoder's shape (Devlin et al. 2019, section 3)."""

    vocabulary_size: int = pydantic.Field(default=30522, gt=0)
    """Entries of the vocabulary."""
    width: int = pydantic.Field(default=768, gt=0)
    """Width D of the hidden states."""
    n_layers: int = pydantic.Field(default=12, gt=0)
    """Transformer layers L."""
    n_heads: int = pydantic.Field(default=12, gt=0)
    """Attention heads N a layer; divides the width."""
    feed_forward_width: int = pydantic.Field(default=3072, gt=0)
    """Width of the feed-forward's inner layer, 4 D in the paper."""
    max_positions: int = pydantic.Field(default=512, gt=0)
    """The longest sequence, special tokens included."""
    n_segments: int = pydantic.Field(default=2, gt=0)
    """Segment embeddings: sentence A and sentence B."""
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    """The feed-forward's activation."""
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
    """Dropout on the embeddings and on each sub-layer's output."""
    attention_dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)
    """Dropout on the attention probabilities."""
    norm_epsilon: float = pydantic.Field(default=1e-12, gt=0)
    """Added to the variance in layer normalisation."""
    initializer_range: float = pydantic.Field(default=0.02, gt=0)
    """Standard deviation of the truncated normal that weights start from."""

    @pydantic.model_validator(mode="after")
    def _heads_divide_width(self) -> "ModelConfig":
        if self.width % self.n_heads:
            raise ValueError(f"width {self.width} is not divisible by n_heads {self.n_heads}")
        return self

    @property
    def head_width(self) -> int:
        """Width H of one attention head."""
        return self.width // self.n_heads


# Layers, width and heads: base and large from the paper, the smaller ones from Turc et al. 2019.
PRESETS: dict[str, tuple[int, int, int]] = {
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
    "large": (24, 1024, 16),
}


def preset(name: str, vocabulary_size: int) -> ModelConfig:
    """Return the named preset for a vocabulary; ``KeyError`` for a name that is not in :data:`PRESETS`."""
    n_layers, width, n_heads = PRESETS[name]
    return ModelConfig(
        vocabulary_size=vocabulary_size, width=width, n_layers=n_layers, n_heads=n_heads, feed_forward_width=4 * width
    )

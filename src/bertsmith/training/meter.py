"""How fast training is, in tokens and as a share of what the machine can multiply."""

from bertsmith.model.config import ModelConfig
from bertsmith.types import PretrainingBatch


def step_operations(config: ModelConfig, batch: PretrainingBatch) -> float:
    """Return the floating-point operations of the matrix products of one forward and backward pass over the batch.

    A product's backward pass costs twice its forward pass. Embeddings, norms and activations are not counted.
    """
    layer = 2 * (4 * config.width**2 + 2 * config.width * config.feed_forward_width)
    lengths = batch.inputs.cu_seqlens.diff().double()
    attention = 4 * config.width * float((lengths**2).sum())
    head = 2 * (config.width**2 + config.width * config.vocabulary_size) * len(batch.masked_positions)
    pooler = 2 * config.width**2 * batch.inputs.n_sequences if batch.next_sentence_labels is not None else 0
    return 3.0 * (config.n_layers * (layer * batch.inputs.n_tokens + attention) + head + pooler)


class Meter:
    """Sums tokens, operations and seconds between two records."""

    def __init__(self, machine_rate: float) -> None:
        self._machine_rate = machine_rate
        self._tokens = self._operations = self._seconds = 0.0

    def add(self, tokens: float, operations: float, seconds: float) -> None:
        """Count one step."""
        self._tokens += tokens
        self._operations += operations
        self._seconds += seconds

    def read(self) -> dict[str, float]:
        """Return tokens a second and the share of the machine's matrix-product rate, and begin anew."""
        speeds = {
            "tokens_per_second": self._tokens / self._seconds,
            "utilisation": self._operations / self._seconds / self._machine_rate,
        }
        self._tokens = self._operations = self._seconds = 0.0
        return speeds

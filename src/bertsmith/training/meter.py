"""How fast training is, in tokens and as a share of what the machine can multiply."""

from torch import Tensor

from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PretrainingBatch


def encoder_operations(config: ModelConfig, lengths: Tensor, n_rows: int | None = None) -> float:
    """Return the floating-point operations of the matrix products of one forward pass over sequences of these lengths.

    With ``n_rows``, what follows the last layer's attention is computed for so many tokens alone. Embeddings, norms and
    activations are not counted.
    """
    lengths = lengths.double()
    n_tokens = float(lengths.sum())
    each = 3 * config.width**2
    rest = config.width**2 + 2 * config.width * config.feed_forward_width
    attention = 2 * config.width * float((lengths**2).sum())
    n_rests = (config.n_layers - 1) * n_tokens + (n_tokens if n_rows is None else n_rows)
    return 2.0 * (config.n_layers * (each * n_tokens + attention) + n_rests * rest)


def step_operations(config: ModelConfig, batch: PretrainingBatch) -> float:
    """Return the floating-point operations of the matrix products of one forward and backward pass over the batch.

    A product's backward pass costs twice its forward pass. Of the encoder all is counted, as if nothing were left out.
    """
    encoder = encoder_operations(config, batch.inputs.cu_seqlens.diff())
    head = 2 * (config.width**2 + config.width * config.vocabulary_size) * len(batch.masked_positions)
    pooler = 2 * config.width**2 * batch.inputs.n_sequences if batch.next_sentence_labels is not None else 0
    return 3.0 * (encoder + head + pooler)


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

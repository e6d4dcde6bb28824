"""How fast training is, in tokens and as a share of what the machine can multiply."""

from collections.abc import Callable

from torch import Tensor

from bertsmith.model.bert import Bert
from bertsmith.model.encoder import TextEncoder
from bertsmith.types import PretrainingBatch


def encoder_operations(encoder: TextEncoder, lengths: Tensor, n_rows: int | None = None) -> float:
    """Return the floating-point operations of the matrix products of one forward pass over sequences of these lengths.

    With ``n_rows``, what follows the last layer's attention is computed for so many tokens alone. Embeddings, norms and
    activations are not counted.
    """
    lengths = lengths.double()
    n_tokens, n_scores = float(lengths.sum()), float((lengths**2).sum())
    total = 0.0
    for number, layer in enumerate(encoder.layers, 1):
        query_key_value, output = layer.attention.query_key_value, layer.attention.output
        rest = sum(linear.weight.numel() for linear in (output, layer.feed_forward_in, layer.feed_forward_out))
        n_rests = n_tokens if n_rows is None or number < len(encoder.layers) else n_rows
        total += query_key_value.weight.numel() * n_tokens + 2 * output.in_features * n_scores + rest * n_rests
    return 2.0 * total


def step_operations(model: Bert, batch: PretrainingBatch) -> float:
    """Return the floating-point operations of the matrix products of one forward and backward pass over the batch.

    A product's backward pass costs twice its forward pass. Of the encoder all is counted, as if nothing were left out.
    """
    config, encoder = model.config, encoder_operations(model.encoder, batch.inputs.cu_seqlens.diff())
    head = 2 * (config.width**2 + config.width * config.vocabulary_size) * len(batch.masked_positions)
    pooler = 2 * config.width**2 * batch.inputs.n_sequences if batch.next_sentence_labels is not None else 0
    return 3.0 * (encoder + head + pooler)


class Meter:
    """Sums tokens, operations and seconds between two records.

    ``measure_rate`` measures the machine's matrix products in operations a second: now, and again when training turns out to be
    faster, since other processes may have slowed the first measurement down.
    """

    def __init__(self, measure_rate: Callable[[], float]) -> None:
        self._measure_rate, self._machine_rate = measure_rate, measure_rate()
        self._tokens = self._operations = self._seconds = 0.0

    def add(self, tokens: float, operations: float, seconds: float) -> None:
        """Count one step."""
        self._tokens += tokens
        self._operations += operations
        self._seconds += seconds

    def read(self) -> dict[str, float]:
        """Return tokens a second and the share of the machine's matrix-product rate, and begin anew."""
        rate = self._operations / self._seconds
        if rate > self._machine_rate:
            self._machine_rate = max(self._machine_rate, self._measure_rate())
        speeds = {"tokens_per_second": self._tokens / self._seconds, "utilisation": rate / self._machine_rate}
        self._tokens = self._operations = self._seconds = 0.0
        return speeds

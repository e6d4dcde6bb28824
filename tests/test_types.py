"""Packed batches."""

import numpy as np
import pytest
import torch

from bertsmith.types import Encoding, PackedBatch, PretrainingBatch


def encoding(token_ids: list[int], second: int = 0) -> Encoding:
    """Encode nothing in particular; the last ``second`` tokens are sentence B."""
    n = len(token_ids)
    return Encoding(["x"] * n, token_ids, [0] * (n - second) + [1] * second, [(0, 0)] * n, [None] * n)


def test_sequences_lie_end_to_end() -> None:
    batch = PackedBatch.from_encodings([encoding([2, 7, 3]), encoding([2, 8, 3, 9, 3], second=2), encoding([2])])
    assert batch.token_ids.tolist() == [2, 7, 3, 2, 8, 3, 9, 3, 2]
    assert batch.segment_ids.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert batch.position_ids.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 0]
    assert batch.cu_seqlens.tolist() == [0, 3, 8, 9]
    assert (batch.max_seqlen, batch.n_tokens, batch.n_sequences) == (5, 9, 3)
    assert {batch.token_ids.dtype, batch.segment_ids.dtype, batch.position_ids.dtype} == {torch.int64}
    assert batch.cu_seqlens.dtype == torch.int32


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
def test_from_arrays_of_any_integers(dtype: type) -> None:
    batch = PackedBatch.from_arrays(np.array([5, 6, 7], dtype), np.zeros(3, np.int8), np.array([1, 2], dtype))
    assert batch.token_ids.tolist() == [5, 6, 7] and batch.token_ids.dtype == torch.int64
    assert batch.position_ids.tolist() == [0, 0, 1]


@pytest.mark.parametrize("labels", [None, torch.tensor([1])])
def test_moving_keeps_everything(labels: torch.Tensor | None) -> None:
    inputs = PackedBatch.from_encodings([encoding([2, 7, 3])])
    batch = PretrainingBatch(inputs, torch.tensor([1]), torch.tensor([9]), labels).to("meta")
    assert batch.inputs.token_ids.is_meta and batch.inputs.cu_seqlens.is_meta and batch.masked_positions.is_meta
    assert batch.inputs.max_seqlen == 3 and batch.inputs.n_tokens == 3
    assert (batch.next_sentence_labels is None) == (labels is None)


def test_pinning_reaches_every_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    inputs = PackedBatch.from_encodings([encoding([2, 7, 3])])
    pinned = PretrainingBatch(inputs, torch.tensor([1]), torch.tensor([9]), torch.tensor([0])).pin_memory()
    assert pinned.inputs.token_ids.tolist() == [3, 8, 4] and pinned.inputs.cu_seqlens.tolist() == [1, 4]
    assert pinned.next_sentence_labels is not None
    assert [tensor.item() for tensor in (pinned.masked_positions, pinned.masked_token_ids, pinned.next_sentence_labels)] == [
        2,
        10,
        1,
    ]

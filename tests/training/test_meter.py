import pytest
import torch

from bertsmith.model.bert import PRETRAINING, Bert, uninitialised
from bertsmith.model.layer import Layer
from bertsmith.model.model_config import ModelConfig
from bertsmith.training.meter import Meter, encoder_operations, step_operations
from bertsmith.types import PackedBatch, PretrainingBatch

CONFIG = ModelConfig(vocabulary_size=100, width=8, n_layers=3, n_heads=2, feed_forward_width=32)


@pytest.fixture
def model() -> Bert:
    return uninitialised(CONFIG, PRETRAINING)


@pytest.mark.parametrize("has_pairs", [True, False])
def test_operations_of_a_step_by_hand(model: Bert, has_pairs: bool) -> None:
    inputs = PackedBatch(
        token_ids=torch.zeros(7, dtype=torch.int64),
        segment_ids=torch.zeros(7, dtype=torch.int64),
        position_ids=torch.zeros(7, dtype=torch.int64),
        cu_seqlens=torch.tensor([0, 3, 7], dtype=torch.int32),
        max_seqlen=4,
    )
    batch = PretrainingBatch(inputs, torch.tensor([1, 5]), torch.tensor([9, 9]), torch.tensor([0, 1]) if has_pairs else None)

    def product(rows: int, inner: int, columns: int) -> int:
        return 2 * rows * inner * columns

    projections = product(7, 8, 24) + product(7, 8, 8) + product(7, 8, 32) + product(7, 32, 8)
    attention = sum(2 * product(length, 8, length) for length in (3, 4))  # scores and contexts, all heads together
    head = product(2, 8, 8) + product(2, 8, 100)
    pooler = product(2, 8, 8) if has_pairs else 0
    assert step_operations(model, batch) == 3 * (3 * (projections + attention) + head + pooler)


def test_operations_where_the_last_layer_is_needed_at_few_rows(model: Bert) -> None:
    whole, part = (encoder_operations(model.encoder, torch.tensor([3, 4]), n_rows) for n_rows in (None, 2))
    assert whole - part == 2 * (7 - 2) * (8 * 8 + 2 * 8 * 32)
    assert encoder_operations(model.encoder, torch.tensor([3, 4]), 7) == whole


def test_operations_are_those_of_each_layers_own_widths(model: Bert) -> None:
    whole = encoder_operations(model.encoder, torch.tensor([3, 4]))
    model.encoder.layers[1] = Layer(CONFIG.model_copy(update={"feed_forward_width": 5}))
    assert whole - encoder_operations(model.encoder, torch.tensor([3, 4])) == 2 * 7 * 2 * 8 * (32 - 5)


def test_meter_reads_the_time_since_the_last_reading() -> None:
    meter = Meter(lambda: 1000.0)
    meter.add(tokens=60, operations=500, seconds=0.5)
    meter.add(tokens=40, operations=250, seconds=1.5)
    assert meter.read() == {"tokens_per_second": 50.0, "utilisation": 0.375}
    meter.add(tokens=10, operations=100, seconds=1.0)
    assert meter.read() == {"tokens_per_second": 10.0, "utilisation": 0.1}


def test_a_rate_that_was_measured_too_low_is_measured_again() -> None:
    measured = iter([100.0, 1000.0])
    meter = Meter(lambda: next(measured))
    meter.add(tokens=1, operations=50, seconds=1.0)
    assert meter.read()["utilisation"] == 0.5
    meter.add(tokens=1, operations=500, seconds=1.0)
    assert meter.read()["utilisation"] == 0.5

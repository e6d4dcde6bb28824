"""The encoder in bertsmith's own code against the model's."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from bertsmith.engine import avx512
from bertsmith.engine.avx512 import Avx512Encoder
from bertsmith.engine.engine import Engine
from bertsmith.model.attention import EagerAttention
from bertsmith.model.bert import Bert, Heads, uninitialised
from bertsmith.model.encoder import Encoder, TextEncoder
from bertsmith.model.layer import Layer
from bertsmith.model.model_config import ModelConfig

CPU = torch.device("cpu")
VOCABULARY_SIZE = 31
# Within a tile of rows and beyond it, within a panel of tokens and beyond it, odd and even; many, so that threads share them.
LENGTHS = [1, 2, 11, 12, 13, 31, 32, 33, 70, 129, *range(3, 30)]
PRECISIONS = {"float32": 1e-5, "bf16": 2e-2, "int8": 6e-2}
SHAPE = ModelConfig(
    vocabulary_size=VOCABULARY_SIZE,
    width=96,
    n_layers=3,
    n_heads=3,
    feed_forward_width=160,
    max_positions=140,
    norm_epsilon=1e-5,
)


def _encoder(**changes: object) -> TextEncoder:
    return _model(**changes).encoder


@torch.no_grad()
def _model(**changes: object) -> Bert:
    model = uninitialised(SHAPE.model_copy(update=changes), Heads())
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.normal_(std=0.2, generator=generator)
    return model.eval()


pytestmark = pytest.mark.skipif(not avx512.fits(_encoder()), reason="there is no code for this processor")


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS.items())
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"activation": "gelu_tanh"},
        {"activation": "relu"},
        {"n_heads": 1, "n_layers": 1},
        {"width": 768, "n_heads": 12, "feed_forward_width": 3072, "n_layers": 1},
    ],
    ids=str,
)
@torch.no_grad()
def test_every_layer_is_the_models(random_batch, precision, tolerance, changes):
    encoder, batch = _encoder(**changes), random_batch(LENGTHS, VOCABULARY_SIZE, 0)
    expected = encoder(batch, want_layers=True)
    found = Avx512Encoder(encoder, precision)(batch, want_layers=True)
    assert len(found.layers) == len(expected.layers)
    for layer, own in zip(expected.layers, found.layers, strict=True):
        assert _relative(own, layer) < tolerance
    assert torch.equal(Avx512Encoder(encoder, precision)(batch).hidden, found.hidden)


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS.items())
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu"])
@torch.no_grad()
def test_far_below_zero_activations_are_nothing(random_batch, precision, tolerance, activation):
    encoder, batch = _encoder(activation=activation), random_batch([5, 40], VOCABULARY_SIZE, 0)
    encoder.layers[0].feed_forward_in.bias[::2] = -1e20
    assert _relative(Avx512Encoder(encoder, precision)(batch).hidden, encoder(batch).hidden) < tolerance


@pytest.mark.parametrize(("precision", "tolerance"), PRECISIONS.items())
@torch.no_grad()
def test_of_the_last_layer_only_the_rows_wanted(random_batch, precision, tolerance):
    encoder, batch = _encoder(), random_batch(LENGTHS, VOCABULARY_SIZE, 0)
    own = Avx512Encoder(encoder, precision)
    whole = own(batch).hidden
    for rows in (torch.tensor([5, 0, 5, batch.n_tokens - 1]), torch.arange(batch.n_tokens).repeat(2), torch.arange(0)):
        assert torch.equal(own(batch, rows_R=rows).hidden, whole[rows])
    assert torch.equal(own(batch, rows_R=torch.tensor([-1, 3], dtype=torch.int32)).hidden, whole[[-1, 3]])
    with pytest.raises(IndexError):
        own(batch, rows_R=torch.tensor([batch.n_tokens]))
    rows = batch.cu_seqlens[:-1].long()
    assert _relative(own(batch, rows_R=rows).hidden, encoder(batch, rows_R=rows).hidden) < tolerance


@pytest.mark.parametrize("precision", PRECISIONS)
@torch.no_grad()
def test_a_sequence_is_the_same_to_the_last_bit_whatever_lies_beside_it(random_batch, precision):
    own, batch = Avx512Encoder(_encoder(), precision), random_batch(LENGTHS, VOCABULARY_SIZE, 0)
    together = torch.split(own(batch).hidden, LENGTHS)
    token_ids, segment_ids = (torch.split(one, LENGTHS) for one in (batch.token_ids, batch.segment_ids))
    for number in (0, 4, 9, 20):
        alone = type(batch).from_arrays(
            token_ids[number].numpy(), segment_ids[number].numpy(), torch.tensor([LENGTHS[number]]).numpy()
        )
        assert torch.equal(own(alone).hidden, together[number])


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@torch.no_grad()
def test_any_number_of_threads_gives_the_same(random_batch, n_threads):
    own, batch, before = Avx512Encoder(_encoder(), "int8"), random_batch(LENGTHS, VOCABULARY_SIZE, 0), torch.get_num_threads()
    expected = own(batch).hidden
    torch.set_num_threads(n_threads)
    try:
        assert torch.equal(own(batch).hidden, expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_threads_may_ask_at_once(random_batch, precision):
    batches = [random_batch([3, length, 40], VOCABULARY_SIZE, length) for length in range(1, 25)]
    expected = [Engine(_model(), CPU, precision)(batch).hidden for batch in batches]
    with ThreadPoolExecutor(2) as threads:
        for found, own in zip(threads.map(Engine(_model(), CPU, precision), batches), expected, strict=True):
            assert torch.equal(found.hidden, own)


@pytest.mark.parametrize("what", [torch.nan, torch.inf])
@pytest.mark.parametrize("precision", PRECISIONS)
@torch.no_grad()
def test_what_is_no_number_stays_in_its_sequence_and_is_not_hidden(random_batch, precision, what):
    encoder, batch = _encoder(), random_batch([5, 40, 7], VOCABULARY_SIZE, 0)
    clean = torch.split(Avx512Encoder(encoder, precision)(batch).hidden, [5, 40, 7])
    encoder.embeddings.position.weight[39] = what  # only the second sequence has a token there
    first, second, third = torch.split(Avx512Encoder(encoder, precision)(batch).hidden, [5, 40, 7])
    assert second.isnan().all()
    assert torch.equal(first, clean[0]) and torch.equal(third, clean[2])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_models_own_layers_need_not_stay_in_memory(random_batch, precision):
    model = _model()
    weight, engine = weakref.ref(model.encoder.layers[0].feed_forward_in.weight), Engine(model, CPU, precision)
    del model
    engine(random_batch([5], VOCABULARY_SIZE, 0))
    gc.collect()
    assert weight() is None


def test_the_engine_takes_it_where_widths_are_whole_panels_and_the_same_in_all_layers():
    assert isinstance(Engine(_model(), CPU, "bf16").model.encoder, Avx512Encoder)
    assert isinstance(Engine(_model(feed_forward_width=100), CPU, "bf16").model.encoder, Encoder)
    for changes in ({"n_heads": 1}, {"feed_forward_width": 64}):
        model = _model()
        model.encoder.layers[1] = Layer(SHAPE.model_copy(update=changes))
        assert isinstance(Engine(model, CPU, "bf16").model.encoder, Encoder)


@torch.no_grad()
def test_token_vectors_take_the_place_of_the_tokens_own(random_batch):
    own, batch = Avx512Encoder(_encoder(), "float32"), random_batch([5, 40], VOCABULARY_SIZE, 0)
    others = random_batch([5, 40], VOCABULARY_SIZE, 1)
    found = own(batch, token_vectors_TD=own.embeddings.token(others.token_ids)).hidden
    assert torch.equal(found, own(others).hidden) and not torch.equal(found, own(batch).hidden)


def test_it_refuses_attention_that_is_not_its_own(random_batch):
    own, batch = Avx512Encoder(_encoder(), "float32"), random_batch([5], VOCABULARY_SIZE, 0)
    for asked in ({"plans": [EagerAttention(batch)] * 3}, {"want_attention": True}):
        with pytest.raises(ValueError, match="takes no attention plans and shows no attention"):
            own(batch, **asked)


def test_not_where_the_processor_has_tiles_or_lacks_instructions(monkeypatch):
    for flags in ({"avx512_bf16", "avx512_vnni", "amx_tile"}, {"avx512_vnni"}, set()):
        monkeypatch.setattr(avx512, "cpu_flags", lambda flags=flags: frozenset(flags))
        assert not avx512.fits(_encoder())


def test_not_where_the_package_was_built_without_it(monkeypatch):
    monkeypatch.setattr(avx512, "_library", lambda: None)
    assert not avx512.fits(_encoder())

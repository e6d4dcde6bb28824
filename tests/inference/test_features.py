"""Vectors of tokens, words and texts, against the model read slowly, one window at a time."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bertsmith.engine.engine import Engine
from bertsmith.errors import DivergedError, InputError, UsageError
from bertsmith.inference import features as module
from bertsmith.inference.features import FeaturePipeline, TextFeatures
from bertsmith.inference.pipelines import VectorPipeline
from bertsmith.model.bert import Heads
from bertsmith.model.heads.pooling import SentenceVectors
from bertsmith.model.mixing import Layers
from bertsmith.types import PackedBatch

CPU = torch.device("cpu")
TEXTS = ["a b", "", "hello world", "x" * 29 + " y", "a bird sings, " * 9, "", "q " * 200, "z"]


@pytest.fixture
def engine(random_model):
    return Engine(random_model(Heads()), CPU, "float32")


def _slowly(engine, tokenizer, text, max_length, stride):
    """Every layer (L+1, S, D): each token as in the window where its poorer side is richest, the first of equal ones."""
    encoding = tokenizer.encode(text)
    inner, room = encoding.token_ids[1:-1], max_length - 2
    step = min(stride, room)
    starts = list(itertools.takewhile(lambda start: start == 0 or start + room - step < len(inner), itertools.count(0, step)))
    windows = []
    for start in starts:
        token_ids = [tokenizer.cls_id, *inner[start : start + room], tokenizer.sep_id]
        batch = PackedBatch.from_arrays(np.array(token_ids), np.zeros(len(token_ids)), np.array([len(token_ids)]))
        with torch.no_grad():
            windows.append(torch.stack(engine.model(batch, want_layers=True).layers).numpy())
    rows = [windows[0][:, 0]]
    for place in range(len(inner)):
        having = [n for n, start in enumerate(starts) if start <= place < start + room]
        best = max(having, key=lambda n: (min(place - starts[n], min(starts[n] + room, len(inner)) - 1 - place), -n))
        rows.append(windows[best][:, place - starts[best] + 1])
    return np.stack([*rows, windows[-1][:, -1]], axis=1)


@pytest.mark.parametrize(("max_length", "stride"), [(None, None), (32, 30), (12, 3), (12, 99), (3, 1)])
def test_windows_against_a_slow_reference(engine, tiny_tokenizer, max_length, stride):
    engine.token_budget = 64
    pipe = FeaturePipeline(engine, tiny_tokenizer, Layers((0, 1, 2, 3)), max_length, stride)
    found = list(pipe.stream(iter(TEXTS)))
    assert [one.text for one in found] == TEXTS
    for one in found:
        encoding = tiny_tokenizer.encode(one.text)
        assert (one.tokens, one.offsets, one.word_ids) == (encoding.tokens, encoding.offsets, encoding.word_ids)
        assert one.layers_LSD.dtype == np.float32
        expected = _slowly(engine, tiny_tokenizer, one.text, max_length or 32, stride or (max_length or 32) // 2)
        np.testing.assert_allclose(one.layers_LSD, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("token_budget", "tokens_at_once"), [(32, 1 << 14), (1 << 16, 128)])
def test_any_number_of_texts_in_bounded_memory(engine, tiny_tokenizer, monkeypatch, token_budget, tokens_at_once):
    monkeypatch.setattr(module, "_CHARACTERS_AHEAD", 100)
    monkeypatch.setattr(module, "_TOKENS_AT_ONCE", tokens_at_once)
    engine.token_budget, asked = token_budget, 0

    def endless() -> Iterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield "a few words"

    found = FeaturePipeline(engine, tiny_tokenizer, Layers((3,))).stream(endless())
    assert len(list(itertools.islice(found, 500))) == 500
    assert asked < 550


def test_precisions(random_model, tiny_tokenizer):
    exact, rough = (
        FeaturePipeline(Engine(random_model(Heads()), CPU, precision), tiny_tokenizer, Layers((0, 2)))(TEXTS)
        for precision in ("float32", "bf16")
    )
    for one, other in zip(exact, rough, strict=True):
        assert other.layers_LSD.dtype == np.float32
        assert np.linalg.norm(one.layers_LSD - other.layers_LSD) < 2e-2 * np.linalg.norm(one.layers_LSD)


def test_the_mean_of_a_text_is_its_vector(random_model, tiny_tokenizer):
    engine = Engine(random_model(Heads(task=SentenceVectors("mean"))), CPU, "float32")
    short = [text for text in TEXTS if len(text) < 30]
    found = FeaturePipeline(engine, tiny_tokenizer, Layers((3,)))(short)
    expected = VectorPipeline(engine, tiny_tokenizer)(short)
    np.testing.assert_allclose(np.concatenate([one.pooled("mean") for one in found]), expected, rtol=0, atol=1e-6)


def _features(word_ids, offsets):
    vectors = np.random.default_rng(0).normal(size=(2, len(word_ids), 3)).astype(np.float32)
    return TextFeatures("", [""] * len(word_ids), offsets, word_ids, vectors)


def test_words_and_pools():
    one = _features([None, 0, 0, 0, 1, 2, 2, None], [(0, 0), (0, 2), (2, 3), (3, 5), (6, 7), (7, 9), (9, 11), (0, 0)])
    spans, firsts = one.words("first")
    assert spans == [(0, 5), (6, 7), (7, 11)]
    vectors = one.layers_LSD
    np.testing.assert_array_equal(firsts, vectors[:, [1, 4, 5]])
    np.testing.assert_array_equal(one.words("last")[1], vectors[:, [3, 4, 6]])
    means = np.stack([vectors[:, 1:4].mean(1), vectors[:, 4], vectors[:, 5:7].mean(1)], axis=1)
    np.testing.assert_allclose(one.words("mean")[1], means, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(one.pooled("cls"), vectors[:, 0])
    np.testing.assert_array_equal(one.pooled("max"), vectors.max(1))


@pytest.mark.parametrize("which", ["first", "last", "mean"])
def test_a_text_without_words(which):
    spans, vectors = _features([None, None], [(0, 0), (0, 0)]).words(which)
    assert spans == [] and vectors.shape == (2, 0, 3)


def test_words_are_where_they_stand(engine, tiny_tokenizer):
    text = "  Naïve-café's \x00 a我北b\n[SEP]e\u0301tat "
    (one,) = FeaturePipeline(engine, tiny_tokenizer, Layers((3,)))([text])
    spans, vectors = one.words("mean")
    words = ["Naïve", "-", "café", "'", "s", "a", "我", "北", "b", "[SEP]", "e\u0301tat"]
    assert [text[start:end] for start, end in spans] == words
    assert vectors.shape == (1, len(words), 24)


def test_vectors_that_are_no_numbers(random_model, tiny_tokenizer):
    model = random_model(Heads())
    with torch.no_grad():
        model.encoder.layers[1].feed_forward_norm.bias[0] = torch.nan
    with pytest.raises(DivergedError, match="the model's vectors are NaN or infinite"):
        FeaturePipeline(Engine(model, CPU, "float32"), tiny_tokenizer, Layers((3,)))(["a text"])


def test_what_is_refused(engine, tiny_tokenizer):
    for length in (2, 33):
        with pytest.raises(UsageError, match=f"max_length {length} is not between 3 and the 32 positions"):
            FeaturePipeline(engine, tiny_tokenizer, Layers((3,)), max_length=length)
    with pytest.raises(UsageError, match="stride 0 is less than 1"):
        FeaturePipeline(engine, tiny_tokenizer, Layers((3,)), stride=0)
    with pytest.raises(InputError, match="not one text"):
        FeaturePipeline(engine, tiny_tokenizer, Layers((3,)))("a text")

"""Vectors of words where they occur: the right rows, averaged, each text read once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bertsmith.engine.engine import Engine
from bertsmith.inference.features import FeaturePipeline, Layers
from bertsmith.model.bert import Bert
from bertsmith.text.occurrences import Occurrence
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.words.word_vectors import word_vectors


@pytest.fixture
def pipeline(toy_model: Callable[..., Bert], toy_tokenizer: Tokenizer) -> FeaturePipeline:
    return FeaturePipeline(Engine(toy_model(), torch.device("cpu"), "float32"), toy_tokenizer, Layers((0, 2)))


def in_text(word: str, text: str) -> Occurrence:
    start = text.lower().index(word)
    return Occurrence(word, text, start, start + len(word), "")


def test_a_word_of_several_pieces_is_their_mean(pipeline: FeaturePipeline) -> None:
    text = "The cats sees 北京."
    (features,) = pipeline([text])
    assert features.tokens == ["[CLS]", "the", "cat", "##s", "sees", "北", "京", ".", "[SEP]"]
    asked = [in_text(word, text) for word in ("the", "cats", "北京")]
    found = {one.word: vector_LD for one, vector_LD in word_vectors(pipeline, asked)}
    for word, rows in {"the": [1], "cats": [2, 3], "北京": [5, 6]}.items():
        assert found[word].shape == (2, 32)
        np.testing.assert_allclose(found[word], features.layers_LSD[:, rows].mean(axis=1), atol=1e-6)


def test_order_is_kept_and_a_text_is_read_once(pipeline: FeaturePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    stream = pipeline.stream

    def counted(texts: Any) -> Any:
        return stream(read.append(text) or text for text in texts)

    monkeypatch.setattr(pipeline, "stream", counted)
    asked = [in_text(word, text) for text in ("the cat sees a dog", "a dog", "the cat") for word in text.split()[-2:]]
    assert [one for one, _ in word_vectors(pipeline, asked)] == asked
    assert read == ["the cat sees a dog", "a dog", "the cat"]


def test_a_word_far_behind_in_a_long_text_is_found(pipeline: FeaturePipeline) -> None:
    text = "the dog sees a bird. " * 40 + "the cat"
    ((_, vector_LD),) = word_vectors(pipeline, [in_text("cat", text)])
    (features,) = pipeline([text])
    np.testing.assert_array_equal(vector_LD, features.layers_LSD[:, -2])


def test_a_word_that_the_tokenizer_deletes_is_left_out(pipeline: FeaturePipeline) -> None:
    text = "the \ufffd cat"
    assert [one.word for one, _ in word_vectors(pipeline, [in_text("\ufffd", text), in_text("cat", text)])] == ["cat"]

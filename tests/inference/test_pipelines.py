"""Pipelines: from a directory to predictions."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from bertsmith.artifacts.directory import save_model
from bertsmith.errors import ArtifactError
from bertsmith.inference import pipelines
from bertsmith.inference.pipelines import pipeline
from bertsmith.model.bert import Heads, initialise, uninitialised
from bertsmith.model.config import ModelConfig
from bertsmith.text.tokenizer import Tokenizer


def test_any_number_of_texts_in_order(toy_directory: Path) -> None:
    pipe = pipeline(str(toy_directory / "model"))
    texts = [f"the {'cat ' * (n % 7)}[MASK]" for n in range(75)]
    assert [filled.text for filled in pipe(texts, top=1)] == texts
    assert pipe([]) == []
    single = pipe([texts[40]], top=2)[0]
    assert [c.token for c in pipe(texts, top=2)[40].blanks[0]] == [c.token for c in single.blanks[0]]


def test_a_stream_has_no_end(toy_directory: Path) -> None:
    asked = 0

    def endless() -> Iterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield "the [MASK]"

    assert len(list(islice(pipeline(toy_directory / "model").stream(endless()), 40))) == 40
    assert asked <= 2 * pipelines._TEXTS_AT_ONCE


def test_a_model_that_predicts_nothing(toy_tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = uninitialised(
        ModelConfig(vocabulary_size=toy_tokenizer.vocabulary_size, width=8, n_layers=1, n_heads=1), Heads(pooler=True)
    )
    initialise(model, 0)
    save_model(model, toy_tokenizer, tmp_path / "model", "")
    with pytest.raises(ArtifactError, match="a model without a masked-token head; there is nothing for a pipeline to predict"):
        pipeline(tmp_path / "model")

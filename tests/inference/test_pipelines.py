"""Pipelines: from a directory to predictions."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.engine.engine import make_engine
from bertsmith.errors import ArtifactError, InputError, UsageError
from bertsmith.inference.pipelines import FillPipeline, VectorPipeline, pipeline
from bertsmith.machine import has_int8
from bertsmith.model.bert import Bert, Heads, initialise, uninitialised
from bertsmith.model.model_config import ModelConfig
from bertsmith.tasks.fill import BlankReader
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
    assert asked <= 40 + 2 * BlankReader.look_ahead


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
def test_blanks_are_filled_by_the_engine(
    toy_model: Callable[..., Bert], toy_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture, precision: Any
) -> None:
    if precision == "int8" and not has_int8(torch.device("cpu")):
        pytest.skip("no instructions for int8 here")
    caplog.set_level("INFO")
    model = toy_model(initializer_range=0.5).eval()
    pipe = FillPipeline(make_engine(model, precision=precision), toy_tokenizer)
    pipe.engine.token_budget = 20  # several batches
    texts = ["[MASK] [MASK] sees", *(f"the {'cat ' * (n % 7)}[MASK]" for n in range(40))]
    found = pipe(texts, top=3)
    assert [len(filled.blanks) for filled in found] == [2] + [1] * 40
    assert [message.startswith("int8: hidden states have a cosine of") for message in caplog.messages] == [True] * (
        precision == "int8"
    )
    for text, filled in zip(texts, found, strict=True):
        batch = toy_tokenizer.pack([text])
        with torch.no_grad():
            probabilities_TV = model(batch).token_logits.softmax(-1)
        rows = torch.nonzero(batch.token_ids == toy_tokenizer.mask_id).flatten().tolist()
        for row, candidates in zip(rows, filled.blanks, strict=True):
            exact = [float(probabilities_TV[row, toy_tokenizer.id(one.token)]) for one in candidates]
            tolerance = {"float32": 1e-5, "bf16": 0.05, "int8": 0.2}[precision]
            assert [one.probability for one in candidates] == pytest.approx(exact, abs=tolerance)


def test_a_model_without_a_masked_token_head_fills_no_blanks(toy_directory: Path) -> None:
    model = load_model(toy_directory / "model", Heads(pooler=True))
    with pytest.raises(ArtifactError, match="no masked-token head"):
        FillPipeline(make_engine(model), Tokenizer.load(toy_directory / "model"))


def test_what_is_an_input_and_how_it_is_recorded(toy_directory: Path) -> None:
    fills, vectors = FillPipeline.load(toy_directory / "model"), VectorPipeline.load(toy_directory / "model")
    for pipe in (fills, vectors):
        pipe.check("the [MASK]")
        with pytest.raises(InputError, match="a text is needed here, not 3"):
            pipe.check(3)
    with pytest.raises(InputError, match="no blank to fill in 'the cat'"):
        fills.check("the cat")
    (filled,) = fills(["the [MASK]"], top=1)
    (candidate,) = filled.blanks[0]
    assert fills.record("the [MASK]", filled) == {
        "text": "the [MASK]",
        "blanks": (({"token": candidate.token, "probability": candidate.probability},),),
    }
    (vector,) = vectors(["the cat"])
    assert vectors.record("the cat", vector) == {"text": "the cat", "vector": vector.tolist()}


def _saved(tokenizer: Tokenizer, heads: Heads, path: Path) -> Bert:
    model = uninitialised(ModelConfig(vocabulary_size=tokenizer.vocabulary_size, width=8, n_layers=1, n_heads=1), heads)
    initialise(model, 0)
    save_model(model, tokenizer, path, "")
    return model.eval()


def test_a_model_that_predicts_nothing(toy_tokenizer: Tokenizer, tmp_path: Path) -> None:
    _saved(toy_tokenizer, Heads(next_sentence=True), tmp_path / "model")
    with pytest.raises(ArtifactError, match="a next-sentence head alone, for which there is no pipeline"):
        pipeline(tmp_path / "model")


TEXTS = ["the cat sees the moon", "", *(f"the {'cat ' * (n % 7)}sees" for n in range(60)), "a bird"]


@pytest.mark.parametrize("heads", [Heads(), Heads(pooler=True)])
def test_an_encoder_alone_gives_the_mean_of_its_hidden_states(
    toy_tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heads: Heads
) -> None:
    model = _saved(toy_tokenizer, heads, tmp_path / "model")
    monkeypatch.setattr(VectorPipeline, "look_ahead", 16)
    pipe = pipeline(tmp_path / "model")
    assert isinstance(pipe, VectorPipeline)
    pipe.engine.token_budget = 20
    with torch.no_grad():
        expected = torch.stack([model(toy_tokenizer.pack([text])).hidden.mean(dim=0) for text in TEXTS])
    found = pipe(iter(TEXTS))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(np.stack(list(pipe.stream(TEXTS))), found)
    assert pipe([]).shape == (0, 8)
    with pytest.raises(InputError, match="not one text"):
        pipe("a text")


def test_texts_longer_than_the_model_reads(toy_tokenizer: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _saved(toy_tokenizer, Heads(), tmp_path / "model")
    short, long = "the " * 510, "the " * 600
    whole = pipeline(tmp_path / "model")([short, long])
    np.testing.assert_allclose(whole[0], whole[1], rtol=0, atol=1e-6)
    assert caplog.messages == ["texts of more than 512 tokens are cut to what the model reads"]
    caplog.clear()
    cut = pipeline(tmp_path / "model", max_length=5)(["the cat sees the moon", "the cat sees a bird"])
    np.testing.assert_allclose(cut[0], cut[1], rtol=0, atol=1e-6)
    assert not caplog.messages
    for length in (2, 513):
        with pytest.raises(UsageError, match=f"max_length {length} is not between 3 and the 512 positions"):
            pipeline(tmp_path / "model", max_length=length)

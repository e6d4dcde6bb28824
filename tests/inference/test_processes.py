"""Pipelines in other places: pickled, copied, in a process that was spawned, and in one that was forked."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertsmith import threads
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.engine import avx512
from bertsmith.engine.engine import make_engine
from bertsmith.errors import MismatchError, UsageError
from bertsmith.inference.features import FeaturePipeline
from bertsmith.inference.pipeline import Pipeline
from bertsmith.inference.pipelines import FillPipeline, TaskPipeline, VectorPipeline
from bertsmith.machine import has_int8
from bertsmith.model.bert import Bert, Heads
from bertsmith.model.mixing import Layers
from bertsmith.retrieval.passages import VectorFinder
from bertsmith.retrieval.search import TextIndex, build_index, digest
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.bm25 import WordIndex
from bertsmith.text.tokenizer import Tokenizer

TEXTS = ["the cat sees [MASK]", "a bird [MASK] the moon", "[MASK]"]
PRECISIONS = ["float32", "bf16", "int8"]


@pytest.fixture(params=["fill", "classify", "tag", "vectors", "features"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> str:
    if request.param == "int8" and not has_int8(torch.device("cpu")):
        pytest.skip("no instructions for int8 here")
    return request.param


@pytest.fixture
def pipe(toy_directory: Path, tmp_path: Path, kind: str, precision: Any) -> Pipeline[Any, Any]:
    directory = toy_directory / "model"
    match kind:
        case "fill":
            return FillPipeline.load(directory, precision=precision)
        case "vectors":
            return VectorPipeline.load(directory, precision=precision)
        case "features":
            return FeaturePipeline.load(directory, "all", precision=precision)
    tags = Tag(labels=("O", "B-X", "I-X"), decoder="crf", scheme="iob2", units="words", max_length=32)
    task: Task = tags if kind == "tag" else Classify(labels=("no", "yes"), max_length=32)
    model = load_model(directory, Heads(task=task.head()))
    save_model(model, Tokenizer.load(directory), tmp_path / "task", "", task_values(task))
    return TaskPipeline.load(tmp_path / "task", precision=precision)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if hasattr(one[0], "layers_LSD"):
        return all(same(first.layers_LSD, second.layers_LSD) for first, second in zip(one, other, strict=True))
    return one == other


def test_a_copy_says_the_same(pipe: Pipeline[Any, Any]) -> None:
    for again in (pickle.loads(pickle.dumps(pipe)), copy.deepcopy(pipe)):
        assert again.engine is not pipe.engine
        assert same(again(TEXTS), pipe(TEXTS))
    for again in (pickle.loads(pickle.dumps(pipe)), copy.deepcopy(pipe)):  # after use
        assert same(again(TEXTS), pipe(TEXTS))


@pytest.mark.parametrize("avx512_too", [True, False])
def test_layers_of_either_kind(
    toy_model: Callable[..., Bert], toy_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, precision: Any, avx512_too: bool
) -> None:
    if not avx512_too:
        monkeypatch.setattr(avx512, "fits", lambda _config: False)
    model = toy_model(width=64, n_heads=2, feed_forward_width=128, activation="gelu_tanh").eval()
    pipe = FeaturePipeline(make_engine(model, precision=precision), toy_tokenizer, Layers((0, 1, 2)))
    stored = pickle.dumps(pipe)
    # Nothing twice: weights of two bytes or one, and the embeddings in four; in int8 the model to compare with too.
    n_bytes = sum(parameter.nbytes for parameter in model.parameters())
    assert len(stored) < n_bytes * (2.5 if precision == "int8" else 1.3) + 200_000
    assert same(pickle.loads(stored)(TEXTS), pipe(TEXTS))


def test_models_and_tokenizers(toy_directory: Path) -> None:
    model, tokenizer = load_model(toy_directory / "model"), Tokenizer.load(toy_directory / "model")
    batch = tokenizer.pack(TEXTS)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert again.is_tied
        assert torch.equal(again(batch).token_logits, model(batch).token_logits)
    for other in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert other.digest == tokenizer.digest and other.encode_many(TEXTS) == tokenizer.encode_many(TEXTS)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_process_of_another_start(toy_directory: Path, method: str) -> None:
    pipe = FillPipeline.load(toy_directory / "model")
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(pipe, (TEXTS,)) == pipe(TEXTS)


def test_what_finds_texts(toy_directory: Path, tmp_path: Path) -> None:
    path, pipe = toy_directory / "model", VectorPipeline.load(toy_directory / "model")
    (tmp_path / "notes.txt").write_text("the cat\na song\nsome bread\n", encoding="utf-8")
    model = digest(path, pipe)
    build_index(pipe, model, tmp_path / "notes.txt", tmp_path / "index")
    index = TextIndex.open(tmp_path / "index", model, tmp_path / "notes.txt")
    words, vectors = WordIndex(["the cat", "a song"]), VectorFinder(pipe, ["the cat", "a song"])
    for copied in (lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy):
        assert copied(index).search(pipe(["a cat"]), 2) == index.search(pipe(["a cat"]), 2)
        assert copied(words).search("cat", 1) == [0]
        assert copied(vectors).search("a song", 1) == [1]


def test_a_processor_without_the_code(
    toy_model: Callable[..., Bert], toy_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = FillPipeline(make_engine(toy_model(width=64, n_heads=2, feed_forward_width=128).eval()), toy_tokenizer)
    if not isinstance(pipe.engine.model.encoder, avx512.Avx512Encoder):
        pytest.skip("this processor has none of the code")
    stored = pickle.dumps(pipe)
    monkeypatch.setattr(avx512, "suits_processor", lambda: False)
    with pytest.raises(MismatchError, match="open the model directory here instead"):
        pickle.loads(stored)


FORKED = """
import os, sys
import bertsmith

model, batch = bertsmith.load(sys.argv[1]), bertsmith.Tokenizer.load(sys.argv[1]).pack(["the [MASK]"])
if sys.argv[2] == "model":
    model(batch)
else:
    pipe = bertsmith.pipeline(sys.argv[1])
    pipe(["the [MASK]"])
if os.fork() == 0:
    for again in (lambda: model(batch), lambda: bertsmith.pipeline(sys.argv[1])):
        try:
            again()
        except bertsmith.errors.UsageError as error:
            print("refused:", error)
    sys.stdout.flush()
    os._exit(0)
os.wait()
print("parent:", model(batch).hidden.ndim)
"""


@pytest.mark.parametrize("used", ["model", "pipeline"])
def test_a_process_that_was_forked_refuses_at_once(toy_directory: Path, used: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(toy_directory / "model"), used]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    *refused, parent = done.stdout.splitlines()
    assert len(refused) == 2 and all(line.startswith("refused: this process was forked from one") for line in refused)
    assert parent == "parent: 2"


def test_the_same_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_used_in", 1)
    with pytest.raises(UsageError, match="spawn"):
        threads.note_use()
    monkeypatch.setattr(threads, "_used_in", None)
    threads.note_use()
    threads.note_use()

"""The index of a file's lines: what is found, that it is exact, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.errors import ArtifactError, DamagedError, DivergedError, InputError, MismatchError
from bertsmith.files import read_sealed, write_manifest
from bertsmith.inference.pipelines import VectorPipeline
from bertsmith.model.bert import Heads
from bertsmith.neighbours import unit
from bertsmith.retrieval import search
from bertsmith.retrieval.search import KIND, TextIndex, build_index, digest
from bertsmith.text.tokenizer import Tokenizer

LINES = [f"{'abcdefghij'[number % 10]} {'klmnopqrst'[number // 10]} 北" for number in range(100)]


@pytest.fixture
def model(random_model: Callable[[Heads], Any], tiny_tokenizer: Tokenizer, tmp_path: Path) -> Path:
    save_model(random_model(Heads()), tiny_tokenizer, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def pipe(model: Path) -> VectorPipeline:
    return VectorPipeline.load(model)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "lines.txt").write_text("\n" + "\n\n".join(LINES) + "\n", encoding="utf-8")
    return tmp_path / "lines.txt"


@pytest.fixture
def index(model: Path, pipe: VectorPipeline, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(search, "_LINES_AT_ONCE", 32)
    build_index(pipe, digest(model, pipe), file, tmp_path / "index")
    return tmp_path / "index"


def test_the_nearest_lines_are_those_of_a_full_comparison(model: Path, pipe: VectorPipeline, file: Path, index: Path) -> None:
    queries = ["a k", LINES[42], "z z z"]
    expected = unit(pipe(queries)) @ unit(pipe(LINES)).T
    found = TextIndex.open(index, digest(model, pipe), file).search(pipe(queries), 7)
    for hits, cosines in zip(found, expected, strict=True):
        order = np.argsort(-cosines, kind="stable")[:7]
        np.testing.assert_allclose([hit.similarity for hit in hits], cosines[order], atol=1e-5)
        assert [hit.line for hit in hits] == [2 * (LINES.index(hit.text) + 1) for hit in hits]
    assert (found[1][0].text, found[1][0].line) == (LINES[42], 86)
    assert found[1][0].similarity == pytest.approx(1, abs=1e-5)


def test_fewer_lines_than_asked_for(model: Path, pipe: VectorPipeline, file: Path, index: Path) -> None:
    (hits,) = TextIndex.open(index, digest(model, pipe), file).search(pipe(["a"]), 500)
    assert sorted(hit.text for hit in hits) == sorted(LINES)


def test_the_digest_is_of_all_that_makes_the_vectors(model: Path, pipe: VectorPipeline) -> None:
    assert digest(model, pipe) == digest(model, VectorPipeline.load(model))
    assert digest(model, pipe) != digest(model, VectorPipeline.load(model, max_length=9))
    before = digest(model, pipe)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    (model / "manifest.json").unlink()
    assert digest(model, VectorPipeline.load(model)) != before


def test_an_index_of_another_model_or_file(model: Path, pipe: VectorPipeline, file: Path, index: Path) -> None:
    with pytest.raises(MismatchError, match=r"index was made with another model .* remove .*index to have it made anew"):
        TextIndex.open(index, digest(model, VectorPipeline.load(model, max_length=9)), file)
    with pytest.raises(InputError, match=r"none\.txt is no file; give a file of text, one a line"):
        TextIndex.open(index, digest(model, pipe), file.with_name("none.txt"))
    file.write_text("another\n")
    with pytest.raises(MismatchError, match=r"index was made of another file than .*lines\.txt is now"):
        TextIndex.open(index, digest(model, pipe), file)
    with pytest.raises(ArtifactError, match="is a model directory; a text-index directory is needed here"):
        TextIndex.open(model, digest(model, pipe), file)


def test_a_damaged_index(model: Path, pipe: VectorPipeline, file: Path, index: Path) -> None:
    vectors = index / "vectors.float32"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-4])
    with pytest.raises(DamagedError, match="it is truncated or altered"):
        TextIndex.open(index, digest(model, pipe), file)
    vectors.write_bytes(whole)
    facts = {name: value for name, value in read_sealed(index / "manifest.json").items() if name != "files"}

    def assert_refused(**changes: int) -> None:
        write_manifest(index, KIND, {**facts, **changes})
        with pytest.raises(DamagedError, match="its manifest and its arrays do not fit together"):
            TextIndex.open(index, digest(model, pipe), file)

    assert_refused(lines=10**9)
    (index / "texts.txt").write_bytes(b"")
    assert_refused()
    (index / "texts.txt").unlink()
    assert_refused()
    vectors.write_bytes(b"")
    (index / "places.int64").write_bytes(bytes(16))
    assert_refused(lines=0)


def test_an_index_of_vectors_that_are_no_numbers(model: Path, pipe: VectorPipeline, file: Path, index: Path) -> None:
    vectors = index / "vectors.float32"
    facts = {name: value for name, value in read_sealed(index / "manifest.json").items() if name != "files"}
    vectors.write_bytes(np.full(vectors.stat().st_size // 4, np.nan, np.float32).tobytes())
    write_manifest(index, KIND, facts)
    assert TextIndex.open(index, digest(model, pipe), file).search(pipe(["a"]), 3) == [[]]


def test_a_model_that_says_nan_is_refused(model: Path, file: Path, tmp_path: Path) -> None:
    broken = load_model(model)
    broken.encoder.layers[0].attention.output.weight.data.fill_(np.nan)
    save_model(broken, Tokenizer.load(model), tmp_path / "broken")
    with pytest.raises(DivergedError, match="NaN"):
        build_index(VectorPipeline.load(tmp_path / "broken"), "digest", file, tmp_path / "index")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("content", "message"), [(b"\n \n", "holds no text to search"), (b"a\n\xff\n", "bad.txt:2: invalid UTF-8 at byte 0")]
)
def test_what_is_no_text_leaves_nothing_behind(pipe: VectorPipeline, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        build_index(pipe, "digest", tmp_path / "bad.txt", tmp_path / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.txt", "model"]


def test_vectors_of_another_width(model: Path, pipe: VectorPipeline, file: Path, index: Path) -> None:
    with pytest.raises(MismatchError, match="the index holds vectors of 24 figures, and the model's have 25"):
        TextIndex.open(index, digest(model, pipe), file).search(np.ones((1, 25), np.float32), 1)

"""Weights in one file or several, under the names that tools give them, or a word about what is there instead."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bertsmith.artifacts.convert import convert
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.artifacts.keymap import canonical_names
from bertsmith.artifacts.weights import INDEX, WEIGHTS, weights_digest
from bertsmith.errors import ArtifactError, DamagedError
from bertsmith.files import MANIFEST, sha256
from bertsmith.model.bert import PRETRAINING, Bert, Heads


@pytest.fixture
def directory(tmp_path, random_model, tiny_tokenizer) -> Path:
    """A model directory as another tool leaves it."""
    path = tmp_path / "model"
    save_model(random_model(PRETRAINING), tiny_tokenizer, path)
    (path / MANIFEST).unlink()
    return path


def _shard(directory: Path, n: int = 3) -> dict[str, str]:
    """Split the weights into shards with an index; return where each tensor is."""
    tensors = safetensors.torch.load_file(directory / WEIGHTS)
    (directory / WEIGHTS).unlink()
    placed = {}
    for number in range(n):
        name = f"model-{number + 1:05}-of-{n:05}.safetensors"
        shard = {key: tensors[key] for key in sorted(tensors)[number::n]}
        safetensors.torch.save_file(shard, directory / name)
        placed |= dict.fromkeys(shard, name)
    (directory / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return placed


def _assert_equal(found: Bert, expected: Bert) -> None:
    assert found.heads == expected.heads
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in expected.state_dict().items())


def test_shards_are_one_model(directory, random_model):
    _shard(directory)
    _assert_equal(load_model(directory), random_model(PRETRAINING))
    convert(directory, directory.parent / "whole")
    _assert_equal(load_model(directory.parent / "whole"), random_model(PRETRAINING))
    assert INDEX in (directory.parent / "whole" / "README.md").read_text()


def test_the_digest_is_of_all_weights(directory):
    assert weights_digest(directory) == sha256(directory / WEIGHTS)
    placed = _shard(directory)
    before = weights_digest(directory)
    assert weights_digest(directory) == before
    file = directory / sorted(placed.values())[-1]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert weights_digest(directory) != before


def test_shards_as_transformers_writes_them(tmp_path, tiny_tokenizer):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=31, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40
    )
    theirs = transformers.BertForMaskedLM(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / INDEX).exists()
    ours, batch = load_model(tmp_path), tiny_tokenizer.pack(["a b c"])
    with torch.no_grad():
        expected = theirs(input_ids=batch.token_ids[None]).logits[0]
        torch.testing.assert_close(ours(batch).token_logits, expected, rtol=0, atol=1e-5)


def _pickle_shards(directory: Path) -> None:
    tensors = safetensors.torch.load_file(directory / WEIGHTS)
    (directory / WEIGHTS).unlink()
    placed = {}
    for number in range(2):
        shard = {key: tensors[key] for key in sorted(tensors)[number::2]}
        torch.save(shard, directory / f"pytorch_model-{number}.bin")
        placed |= dict.fromkeys(shard, f"pytorch_model-{number}.bin")
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": placed}))


def test_pickled_shards_are_converted(directory, random_model):
    _pickle_shards(directory)
    with pytest.raises(ArtifactError, match="run: bertsmith convert"):
        load_model(directory)
    convert(directory, directory.parent / "new")
    _assert_equal(load_model(directory.parent / "new"), random_model(PRETRAINING))


def _change_index(**placed: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        values = json.loads((directory / INDEX).read_text())
        values["weight_map"] |= placed
        (directory / INDEX).write_text(json.dumps(values))

    return change


def _write_index(content: str) -> Callable[[Path], None]:
    return lambda directory: (directory / INDEX).write_text(content) and None


def _twice(directory: Path) -> None:
    first, second = sorted(directory.glob("model-*"))[:2]
    shutil.copy(first, second)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a file elsewhere": (_change_index(x="../other.safetensors"), "does not list files beside it"),
    "an absolute path": (_change_index(x="/etc/passwd"), "does not list files beside it"),
    "a long name": (_change_index(x="a" * 5000), "does not list files beside it"),
    "a name that ends early": (_change_index(x="a\0b"), "does not list files beside it"),
    "no name": (_change_index(x=3), "does not list files beside it"),
    "a missing file": (_change_index(x="gone.safetensors"), r"lists gone\.safetensors, which the directory lacks"),
    "no map": (_write_index("{}"), "does not list files beside it"),
    "no object": (_write_index("[]"), "where a JSON object is expected"),
    "no JSON": (_write_index("{"), "is not valid JSON"),
    "a tensor twice": (_twice, "is in two shards"),
    "a truncated shard": (
        lambda directory: sorted(directory.glob("model-*"))[0].write_bytes(b"12345678") and None,
        "cannot be read as safetensors",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_shards_that_are_not_whole(directory, change, message):
    _shard(directory)
    change(directory)
    with pytest.raises(ArtifactError, match=message):
        load_model(directory)


FOREIGN = {
    "pytorch_model.bin": "as a pickle .*run: bertsmith convert",
    "pytorch_model.bin.index.json": "as pickles .*run: bertsmith convert",
    "model-00001-of-00002.safetensors": "without the index that lists them",
    "adapter_model.safetensors": "is an adapter .*merge_and_unload",
    "adapter_config.json": "is an adapter",
    "pytorch_adapter.bin": "is an adapter",
    "tf_model.h5": "for TensorFlow .*from_tf=True",
    "bert_model.ckpt.index": "a checkpoint of TensorFlow",
    "last.ckpt": "a checkpoint of a training tool",
    "flax_model.msgpack": "for Flax .*from_flax=True",
    "model-q4.gguf": "holds model-q4.gguf, an export",
    "model.onnx": "holds model.onnx, an export",
    "openvino_model.xml": "an export",
    "rust_model.ot": "an export",
    "saved_model.pb": "an export",
    "model.fp16.safetensors": "rename it to model.safetensors",
    "weights.pt": "a file of PyTorch's own",
    "weights.bin": "rename it to pytorch_model.bin",
    "notes.txt": "is not a model directory: it has no model.safetensors",
}


@pytest.mark.parametrize(("name", "message"), FOREIGN.items())
def test_weights_of_other_kinds_are_named_for_what_they_are(directory, name, message):
    (directory / WEIGHTS).unlink()
    (directory / name).write_bytes(b"")
    with pytest.raises(ArtifactError, match=message) as caught:
        load_model(directory)
    assert str(directory) in str(caught.value)
    if "convert" not in message:
        with pytest.raises(ArtifactError, match=message):
            convert(directory, directory.parent / "new")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_codes_of_rounded_weights_are_no_weights(directory, dtype):
    tensors = safetensors.torch.load_file(directory / WEIGHTS)
    name = "bert.encoder.layer.1.output.dense.weight"
    safetensors.torch.save_file(tensors | {name: torch.ones(24, 40).to(dtype)}, directory / WEIGHTS)
    with pytest.raises(ArtifactError, match=rf"{name} holds \w+ numbers, codes of rounded weights"):
        load_model(directory)


def test_numbers_of_other_lengths_are_weights(directory):
    tensors = safetensors.torch.load_file(directory / WEIGHTS)
    mixed = {
        name: tensor.to([torch.float16, torch.float64][number % 2]) for number, (name, tensor) in enumerate(tensors.items())
    }
    safetensors.torch.save_file(mixed, directory / WEIGHTS)
    found = load_model(directory)
    assert {tensor.dtype for tensor in found.state_dict().values()} == {torch.float32}
    word = found.encoder.embeddings.token.weight
    assert torch.equal(word, mixed["bert.embeddings.word_embeddings.weight"].float())


def test_several_models_in_one_file_are_refused():
    names = ["teacher.embeddings.word_embeddings.weight", "student.bert.embeddings.word_embeddings.weight"]
    with pytest.raises(ArtifactError, match=r"of several models, student\., teacher\."):
        canonical_names(names)


def test_the_model_without_a_prefix_is_meant_where_there_is_one():
    for plain in ("embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"):
        found = canonical_names([plain, "teacher.bert.embeddings.word_embeddings.weight"])
        assert found["bert.embeddings.word_embeddings.weight"] == plain


def test_a_file_that_is_no_file(directory):
    (directory / WEIGHTS).unlink()
    (directory / WEIGHTS).mkdir()
    with pytest.raises(DamagedError, match="cannot be read as safetensors"):
        load_model(directory, Heads())

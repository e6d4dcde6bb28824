"""Pickled weights: read without running anything, in both of PyTorch's formats; whatever else they ask for is refused."""

import collections
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bertsmith.artifacts import convert as convert_module
from bertsmith.artifacts import pickles
from bertsmith.artifacts.convert import convert
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.errors import ArtifactError, DamagedError, MismatchError, StorageError
from bertsmith.files import MANIFEST
from bertsmith.model.bert import PRETRAINING
from bertsmith.text.tokenizer import Tokenizer

FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "stream"])
_STREAM_START = b"".join(
    pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "type_sizes": {}})
)


@pytest.fixture
def directory(tmp_path, random_model, tiny_tokenizer) -> Path:
    """A model directory as another tool leaves it, with safetensors."""
    path = tmp_path / "source"
    save_model(random_model(PRETRAINING), tiny_tokenizer, path, "")
    for name in (MANIFEST, "README.md", "tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink()
    return path


@pytest.fixture
def tensors(directory) -> dict[str, torch.Tensor]:
    """Its weights."""
    return safetensors.torch.load_file(directory / "model.safetensors")


@pytest.fixture
def source(directory, tensors) -> Path:  # noqa: ARG001 (reads them first)
    """The directory as tools of 2019 left it, still without its weights: config.json and vocab.txt."""
    (directory / "model.safetensors").unlink()
    return directory


def _save(content: object, source: Path, is_zip: bool) -> Path:
    path = source / "pytorch_model.bin"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    return path


def _save_pickle(pickled: bytes, source: Path) -> None:
    """Write a stream whose third pickle, the one with the tensors, is given, and which has no storages."""
    (source / "pytorch_model.bin").write_bytes(_STREAM_START + pickled + pickle.dumps([], protocol=2))


def _extract(source: Path) -> dict[str, torch.Tensor]:
    convert_module._extract(source / "pytorch_model.bin", source / "extracted")
    return safetensors.torch.load_file(source / "extracted")


def _assert_nothing_written(source: Path) -> None:
    assert [path.name for path in source.parent.iterdir() if path.is_dir()] == [source.name]


class Call:
    """Pickled as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.function, self.arguments


@FORMATS
def test_a_pickle_becomes_a_model_directory(source, tensors, random_model, tiny_tokenizer, caplog, is_zip):
    weights = _save(collections.OrderedDict(tensors), source, is_zip)
    before = weights.read_bytes()
    convert(source, source.parent / "new" / "model")
    model, expected = load_model(source.parent / "new" / "model"), random_model(PRETRAINING)
    assert model.heads == PRETRAINING
    for name, parameter in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], parameter), name
    assert Tokenizer.load(source.parent / "new" / "model").digest == tiny_tokenizer.digest
    assert weights.read_bytes() == before
    assert not caplog.records
    assert sorted(path.name for path in (source.parent / "new").iterdir()) == ["model"]


@FORMATS
def test_the_state_dict_of_a_module_with_its_metadata(source, is_zip):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    _save(module.state_dict(keep_vars=True), source, is_zip)
    extracted = _extract(source)
    assert extracted.keys() == module.state_dict().keys()
    for name, tensor in module.state_dict().items():
        assert torch.equal(extracted[name], tensor)


@FORMATS
def test_every_kind_of_tensor(source, is_zip):
    base = torch.arange(24, dtype=torch.float32)
    tensors = {
        "transposed": base.view(4, 6).T,
        "slice": base.view(2, 3, 4)[:, 1:, ::2],
        "permuted": base.view(2, 3, 4).permute(2, 0, 1),
        "shared": base,
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "expanded": torch.arange(6).expand(1, -1),
        "row of zeros": torch.zeros(3, 0),
        **{str(dtype): (base * 3 - 20).to(dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64)},
        **{str(dtype): base.to(dtype) for dtype in (torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)},
        "parameter": torch.nn.Parameter(base.view(2, 12)),
    }
    _save(tensors, source, is_zip)
    extracted = _extract(source)
    assert extracted.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert extracted[name].dtype == tensor.dtype, name
        assert torch.equal(extracted[name], tensor), name


@FORMATS
@pytest.mark.parametrize("depth", ["value", "whole file"])
def test_a_call_of_the_system_is_refused_and_does_not_happen(source, tensors, is_zip, depth):
    trace = source.parent / "executed"
    call = Call(os.system, f"touch {trace}")
    weights = _save({**tensors, "bert.x": call} if depth == "value" else call, source, is_zip)
    with pytest.raises(ArtifactError, match=rf"cannot convert {weights}: the file wants to run (posix|nt)\.system"):
        convert(source, source.parent / "new")
    assert not trace.exists()
    _assert_nothing_written(source)
    torch.load(weights, weights_only=False)
    assert trace.exists(), "the payload does not work, so this test shows nothing"


@pytest.mark.parametrize(
    ("pickled", "name"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"\x80\x04\x8c\x05torch\x8c\x07os.path\x93.", "torch.os.path"),
        (
            b"\x80\x04\x8c\x0ctorch._utils\x8c\x1e_rebuild_tensor_v2.__globals__\x93.",
            "torch._utils._rebuild_tensor_v2.__globals__",
        ),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"),
        (b"\x80\x02c_codecs\nencode\n.", "_codecs.encode"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_name_but_those_of_tensors_is_refused(source, pickled, name):
    _save_pickle(pickled, source)
    with pytest.raises(ArtifactError, match=f"wants to run {name.replace('.', '[.]')},"):
        convert(source, source.parent / "new")
    _assert_nothing_written(source)


def test_a_payload_in_front_of_the_weights_is_refused(source):
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(Call(os.getcwd)) + _STREAM_START)
    with pytest.raises(ArtifactError, match="getcwd"):
        convert(source, source.parent / "new")


@FORMATS
@pytest.mark.parametrize(
    "arguments",
    [
        (4, (3,), (1,)),
        (0, (2, 2), (5, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (-2, -3), (1, 1)),
        (0, (2**40,), (0,)),
        (0, (7,), (0,)),
        (0, (2, 2), (1,)),
        (0.0, (2,), (1,)),
        (True, (2,), (1,)),
        (0, 2, 1),
        (0,),
    ],
    ids=str,
)
def test_tensors_outside_their_storage_are_damage(source, is_zip, arguments):
    storage = torch.storage.TypedStorage(wrap_storage=torch.arange(6.0).untyped_storage(), dtype=torch.float32, _internal=True)
    _save({"x": Call(torch._utils._rebuild_tensor_v2, storage, *arguments)}, source, is_zip)
    with pytest.raises(DamagedError, match=r"pytorch_model\.bin: it is truncated, altered or no file of PyTorch's"):
        convert(source, source.parent / "new")
    _assert_nothing_written(source)


@FORMATS
@pytest.mark.parametrize(
    "content", [{"epoch": 3}, {"model": {"x": torch.ones(1)}}, {0: torch.ones(1)}, [torch.ones(1)]], ids=str
)
def test_more_than_a_dictionary_of_tensors_is_refused(source, is_zip, content):
    _save(content, source, is_zip)
    with pytest.raises(ArtifactError, match="the file holds"):
        convert(source, source.parent / "new")


@FORMATS
def test_truncation_anywhere_is_damage(source, tensors, is_zip):
    weights = _save(tensors, source, is_zip)
    content = weights.read_bytes()
    for n_bytes in (0, 1, 20, 300, len(content) // 2, len(content) - 1):
        weights.write_bytes(content[:n_bytes])
        with pytest.raises(DamagedError, match=r"pytorch_model\.bin: it is truncated"):
            convert(source, source.parent / "new")
    _assert_nothing_written(source)


def test_altered_values_in_an_archive_are_damage(source, tensors):
    weights = _save(tensors, source, True)
    content = bytearray(weights.read_bytes())
    value = tensors["cls.predictions.bias"].numpy().tobytes()
    content[content.index(value)] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamagedError, match="CRC"):
        convert(source, source.parent / "new")


def test_a_file_of_another_kind_is_damage(source):
    for content in (b"hello\n", b"version https://git-lfs.github.com/spec/v1\n", pickle.dumps(4, protocol=2)):
        (source / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(DamagedError, match="no file of PyTorch's"):
            convert(source, source.parent / "new")


def test_a_compressed_archive_is_refused(source, tensors):
    weights = _save(tensors, source, True)
    with zipfile.ZipFile(weights) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(weights, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(ArtifactError, match="compressed"):
        convert(source, source.parent / "new")


def _hash_bomb() -> bytes:
    """A key of nested pairs, each holding the one before it twice: its hash takes 2**60 steps."""
    return b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s."


def test_endless_computing_is_ended(source, monkeypatch):
    _save_pickle(_hash_bomb(), source)
    monkeypatch.setattr(convert_module, "_CPU_SECONDS", 1)
    with pytest.raises(ArtifactError, match="more than 1 seconds of computing"):
        convert(source, source.parent / "new")
    monkeypatch.setattr(convert_module, "_CPU_SECONDS", 300)
    monkeypatch.setattr(convert_module, "_WALL_SECONDS", 0.2)
    with pytest.raises(ArtifactError, match="took longer than"):
        convert(source, source.parent / "new")
    _assert_nothing_written(source)


@pytest.mark.skipif(sys.platform != "linux", reason="only there a process may limit its address space")
def test_endless_memory_is_refused(source):
    memo_of_16_gigabytes = b"\x80\x02)r" + struct.pack("<I", 2**30) + b"."
    _save_pickle(memo_of_16_gigabytes, source)
    with pytest.raises(ArtifactError, match="more memory than its size explains"):
        convert(source, source.parent / "new")


def test_a_killed_reader_is_reported(source, tensors, monkeypatch):
    program = source.parent / "dies.py"
    program.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    _save(tensors, source, True)
    monkeypatch.setattr(pickles, "__file__", str(program))
    with pytest.raises(ArtifactError, match="was ended by SIGKILL"):
        convert(source, source.parent / "new")
    _assert_nothing_written(source)


def test_a_refusing_disk_is_no_damage(source, tensors, monkeypatch):
    program = source.parent / "small_files.py"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    program.write_text(limit + Path(pickles.__file__).read_text())
    _save(tensors, source, True)
    monkeypatch.setattr(pickles, "__file__", str(program))
    with pytest.raises(StorageError, match="File too large"):
        convert(source, source.parent / "new")


def test_the_reader_gives_up_its_rights():
    program = """
import resource, pickles
pickles._limit_resources(1000, 7)
for name in ("CPU", "NOFILE", "NPROC", "CORE"):
    print(name, resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0])
"""
    folder = Path(pickles.__file__).parent
    ran = subprocess.run([sys.executable, "-S", "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:-1] == ["CPU 7", "NOFILE 16", "NPROC 0", "CORE 0"]


def test_a_directory_in_an_old_spelling_is_rewritten_in_todays(directory, tensors, caplog):
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(old | {"bert.embeddings.position_ids": torch.arange(32)}, directory / "model.safetensors")
    (directory / "pytorch_model.bin").write_bytes(b"not read where there are safetensors")
    convert(directory, directory.parent / "new")
    new = safetensors.torch.load_file(directory.parent / "new" / "model.safetensors")
    assert new.keys() == tensors.keys()
    assert all(torch.equal(new[name], tensors[name]) for name in new)
    assert not caplog.records


def test_unmatched_keys_are_reported(source, tensors, caplog):
    weights = _save({**tensors, "classifier.weight": torch.ones(2, 24)}, source, True)
    convert(source, source.parent / "new")
    assert caplog.messages == [f"{weights}: not used by this model: classifier.weight"]


def test_missing_weights_are_named_by_the_file_they_are_missing_from(source, tensors):
    del tensors["bert.embeddings.LayerNorm.bias"]
    weights = _save(tensors, source, True)
    with pytest.raises(ArtifactError, match=rf"{weights} lacks bert\.embeddings\.LayerNorm\.bias"):
        convert(source, source.parent / "new")
    _assert_nothing_written(source)


def test_the_card_is_kept_and_names_the_origin(source, tensors):
    weights = _save(tensors, source, True)
    convert(source, source.parent / "without")
    assert (source.parent / "without" / "README.md").read_text().startswith("# without\n")
    (source / "README.md").write_text("---\nlicense: mit\n---\n\n# Theirs\n")
    convert(source, source.parent / "with")
    card = (source.parent / "with" / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n---\n\n# Theirs\n")
    assert "from `pytorch_model.bin` with SHA-256" in card
    assert weights.exists()


def test_what_else_can_be_wrong_with_the_directory(source, tensors):
    new = source.parent / "new"
    with pytest.raises(ArtifactError, match="is not a directory"):
        convert(source / "nowhere", new)
    with pytest.raises(ArtifactError, match=r"is not a model directory: it has no model\.safetensors"):
        convert(source, new)
    _save(tensors, source, True)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(ArtifactError, match="'gpt2'"):
        convert(source, new)
    (source / "config.json").write_text(json.dumps(config))
    vocabulary = (source / "vocab.txt").read_text()
    (source / "vocab.txt").write_text(vocabulary + "more\n")
    with pytest.raises(MismatchError, match="the tokenizer has 32 tokens and the model 31"):
        convert(source, new)
    (source / "vocab.txt").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer|vocab\.txt"):
        convert(source, new)
    _assert_nothing_written(source)


def test_an_existing_destination_is_left_alone(source, tensors):
    _save(tensors, source, True)
    (source.parent / "new").mkdir()
    (source.parent / "new" / "mine").write_text("mine")
    with pytest.raises(ArtifactError, match="exists already"):
        convert(source, source.parent / "new")
    assert [path.name for path in (source.parent / "new").iterdir()] == ["mine"]

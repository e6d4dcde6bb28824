"""Model directories whose files say anything at all: each opens, or is refused by one error."""

import copy
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bertsmith.artifacts.convert import convert
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.cli.info_command import describe
from bertsmith.errors import ArtifactError, BertsmithError
from bertsmith.files import MANIFEST
from bertsmith.inference.pipelines import pipeline
from bertsmith.model.bert import PRETRAINING, Heads
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import task_values
from bertsmith.text.tokenizer import Tokenizer

KINDS = {
    "classify": Classify(labels=("x", "y"), max_length=16),
    "tag": Tag(labels=("O", "B-X", "I-X"), decoder="crf", max_length=16, units="words"),
    "embed": Embed(max_length=16),
    "fill": None,
}
WILD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**63, 10**400, 1.5, 1e308, float("nan"), float("inf")),
    *("", "a", "\0", "a\0b", "\ud800", "a" * 5000, "../x", "/etc/passwd"),
    *([], {}, [[]], [{}], {"": ""}, {"a": None}, ["a"], [None], {"0": None}, {"0": "a"}, {"\ud800": 1}, {"\0": 1}),
]
CHANGES = 50


@pytest.fixture(scope="module")
def directories(tmp_path_factory, random_model, tiny_tokenizer) -> Path:
    """A model directory of each kind, as another tool leaves it."""
    root = tmp_path_factory.mktemp("directories")
    for name, task in KINDS.items():
        heads = PRETRAINING if task is None else Heads(task=task.head())
        values = None if task is None else task_values(task)
        save_model(random_model(heads), tiny_tokenizer, root / name, "", values)
        (root / name / MANIFEST).unlink()
    return root


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container in a value with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(min(3, len(value))) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _changed(value: Any, draw: random.Random) -> Any:
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places or draw.random() < 0.05:
        return draw.choice(WILD)
    container, key = draw.choice(places)
    match draw.randrange(6):
        case 0 if isinstance(container, dict):
            del container[key]
        case 1 if isinstance(container, dict):
            container[draw.choice(["x", "a" * 5000, "\0", "\ud800", "../x"])] = container.pop(key)
        case _:
            container[key] = draw.choice(WILD)
    return value


def _use(path: Path) -> None:
    """Open a directory in every way, and read a text."""
    for use in (load_model, lambda path: Tokenizer.load(path).encode("a [MASK] b"), describe):
        try:
            use(path)
        except BertsmithError as error:
            assert str(error)
    pipeline(path)(["a b [MASK]"])


@pytest.mark.parametrize("name", KINDS)
def test_a_directory_with_changed_files_opens_or_is_refused(directories, tmp_path, name):
    draw = random.Random(name)
    originals = {file: json.loads(file.read_text()) for file in sorted((directories / name).rglob("*.json"))}
    work = tmp_path / "work"
    shutil.copytree(directories / name, work)
    refused = 0
    for _ in range(CHANGES):
        file = draw.choice(list(originals))
        changed = work / file.relative_to(directories / name)
        changed.write_text(json.dumps(_changed(originals[file], draw)))
        try:
            _use(work)
        except BertsmithError as error:
            refused += 1
            assert str(error)
        shutil.copy(file, changed)
    _use(work)
    assert 0.2 * CHANGES < refused < CHANGES


FILES = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "task.json",
    "modules.json",
]


@pytest.mark.parametrize("name", [*FILES, "added_tokens.json", "1_Pooling/config.json", MANIFEST])
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(directories, tmp_path, name):
    shutil.copytree(directories / ("classify" if name == "task.json" else "embed"), tmp_path / "work")
    (tmp_path / "work" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "work" / name)
    with pytest.raises(ArtifactError, match=f"{name} is neither a file nor a directory"):
        _use(tmp_path / "work")
        Tokenizer.load(tmp_path / "work")
    with pytest.raises(ArtifactError, match="neither a file nor a directory"):
        Tokenizer.load(tmp_path / "work" / name)


@pytest.mark.parametrize("path", ["a" * 5000, f"{'a' * 3000}/b", "a\0b", "\ud800", "a/" * 3000])
def test_places_that_cannot_be(path):
    for use in (load_model, pipeline, Tokenizer.load, describe, lambda path: convert(path, Path("new"))):
        with pytest.raises(ArtifactError) as caught:
            use(Path(path))
        assert len(str(caught.value)) < 6500

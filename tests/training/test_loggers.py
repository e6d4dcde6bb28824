"""Where the figures of a run go."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bertsmith.errors import UsageError
from bertsmith.training.loggers import recorder
from bertsmith.training.parallel import Ranks
from bertsmith.training.run_directory import RunDirectory
from bertsmith.training.settings import RecordSettings

RECORDS = [
    ("train", {"step": 3, "task": "ner", "loss": 0.5}),
    ("dev", {"step": 4, "f1": 1, "sentences": []}),
]


@pytest.fixture
def scalars(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What TensorBoard is given, with None at its end."""
    given: list[Any] = []

    class Writer:
        def __init__(self, directory: str) -> None:
            given.append(directory)

        def add_scalar(self, *scalar: Any) -> None:
            given.append(scalar)

        def close(self) -> None:
            given.append(None)

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    return given


def recorded(path: Path, tensorboard: bool, ranks: Ranks) -> list[dict[str, Any]]:
    """Record something and return the lines of the file."""
    directory = RunDirectory(path)
    with recorder(directory, RecordSettings(tensorboard=tensorboard), ranks) as record:
        for kind, values in RECORDS:
            record(kind, values)
    return [json.loads(line) for line in directory.metrics.read_text().splitlines()] if directory.metrics.exists() else []


def test_records_go_to_the_file_alone_unless_asked_for(tmp_path: Path, scalars: list[Any]) -> None:
    assert recorded(tmp_path, False, Ranks()) == [{"kind": kind, **values} for kind, values in RECORDS]
    assert scalars == []


def test_tensorboard_gets_the_numbers_by_kind_and_task(tmp_path: Path, scalars: list[Any]) -> None:
    assert len(recorded(tmp_path, True, Ranks())) == 2
    assert scalars == [str(tmp_path / "tensorboard"), ("train/ner/loss", 0.5, 3), ("dev/f1", 1, 4), None]


def test_only_the_first_rank_writes(tmp_path: Path, scalars: list[Any]) -> None:
    assert recorded(tmp_path, True, Ranks(rank=1, world=2)) == []
    assert scalars == []


def test_tensorboard_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with (
        pytest.raises(UsageError, match=r"pip install 'bertsmith\[tensorboard\]'"),
        recorder(RunDirectory(tmp_path), RecordSettings(tensorboard=True), Ranks()),
    ):
        pass

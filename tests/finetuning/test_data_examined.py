"""What a run says of its data before training, and shows in its report."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import InputError, Interrupted
from bertsmith.finetuning.grid import FinetuneConfig, config_of
from bertsmith.finetuning.multi import MultiConfig
from bertsmith.finetuning.run import finetune
from bertsmith.tasks.saved import TASKS


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def values(toy_directory: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "model": str(toy_directory / "model"),
        "out": str(tmp_path / "run"),
        "batch_size": [8],
        "epochs": [1],
        "machine": {"device": "cpu", "precision": "float32"},
        "record": {"log_every": 1, "save_every": 1},
    }


@pytest.fixture
def config(values: dict[str, Any], tmp_path: Path, toy_data: Callable[..., dict[str, str]]) -> FinetuneConfig:
    data = toy_data("classify", tmp_path, 24, 12)
    files = {"train": data["train"], "dev": data["dev"], "task": {"max_length": 32}}
    made: FinetuneConfig = config_of(TASKS["classify"]).from_values({**values, **files}, "test")
    return made


def said(caplog: pytest.LogCaptureFixture, level: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == level]


def test_it_is_said_before_training_and_shown(config: FinetuneConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    finetune(config)
    (lines,) = [message.splitlines() for message in said(caplog, "INFO") if message.startswith("data: ")]
    assert lines[0] == "data: train 24 rows; dev 12 rows"
    assert [line.partition(":")[0] for line in lines] == ["data", "labels", "baseline", "tokens", "same texts"]
    warnings = said(caplog, "WARNING")
    assert any(
        message.startswith("dev has 12 answers to score: accuracy of 80% is known to ± 23 points") for message in warnings
    )
    assert any(message.startswith("training takes 3 steps") for message in warnings)
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert page.index("<h2>Trials</h2>") < page.index("<h2>Data</h2>") < page.index("<h2>Curves</h2>")
    assert "Lengths in training" in page
    assert "training takes 3 steps" in page


def test_the_steps_are_those_of_the_shortest_trial(config: FinetuneConfig, caplog: pytest.LogCaptureFixture) -> None:
    finetune(config.model_copy(update={"epochs": (1.0, 2.0), "batch_size": (8, 12)}))
    assert any(message.startswith("training takes 2 steps") for message in said(caplog, "WARNING"))


def test_strict_writes_nothing(config: FinetuneConfig) -> None:
    with pytest.raises(InputError, match="training takes 3 steps"):
        finetune(config.model_copy(update={"strict": True}))
    assert not config.out.exists()


def test_a_resumed_run_says_and_shows_the_same(
    config: FinetuneConfig, at: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    def stop() -> None:
        raise Interrupted("stopped")

    caplog.set_level("INFO")
    with pytest.raises(Interrupted):
        finetune(config, at(2, stop))
    finetune(config.model_copy(update={"strict": False}))
    first, second = [message for message in said(caplog, "INFO") if message.startswith("data: ")]
    assert first == second
    assert "<h2>Data</h2>" in (config.out / "report.html").read_text(encoding="utf-8")


def test_each_of_several_tasks_is_looked_at(
    values: dict[str, Any], tmp_path: Path, toy_data: Callable[..., dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tasks = {}
    for name, kind in (("mood", "classify"), ("names", "tag")):
        (tmp_path / name).mkdir()
        data = toy_data(kind, tmp_path / name, 24, 12)
        tasks[name] = {"kind": kind, "max_length": 32, "train": data["train"], "dev": data["dev"]}
    config = MultiConfig.from_values({**values, "tasks": tasks}, "test")
    finetune(config)
    assert any(message.startswith("mood: data: train 24 rows") for message in said(caplog, "INFO"))
    assert {message for message in said(caplog, "WARNING") if "training takes" in message} == {
        f"{name}: training takes 3 steps, too few to learn much in; raise --epochs 20 times or lower --batch-size"
        for name in tasks
    }
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert "<h2>Data of mood</h2>" in page
    assert "<h2>Data of names</h2>" in page

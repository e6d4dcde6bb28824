"""What ``bertsmith bench`` measures: every figure there, and what is counted by hand."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch

from bertsmith import measure
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.engine.engine import Precision
from bertsmith.errors import BertsmithError
from bertsmith.measure import Job, measure_here
from bertsmith.model.bert import Bert, Heads
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

JOB = Job(Path(), "cpu", "float32", (20,), threads=None, training=False, seconds=0.01)


@pytest.fixture
def job(toy_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(measure, "_product_rate", lambda _precision, _device: 1e12)
    monkeypatch.setattr(measure, "keep_pages", lambda: None)
    return replace(JOB, model=toy_directory / "model")


@pytest.mark.parametrize("precision", measure.precisions(torch.device("cpu"), training=False))
def test_answers(job: Job, precision: Precision) -> None:
    figures = measure_here(replace(job, precision=precision, lengths=(20, 7)))
    assert figures.tokens_per_second > 0 and 0 < figures.share < 1
    assert figures.latency is not None and figures.latency_95 is not None
    assert 0 < figures.latency <= figures.latency_95
    assert figures.peak_memory > 50 << 20


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "task", [Classify(labels=("no", "yes")), Tag(labels=("O", "B-A", "I-A"), scheme="iob2", decoder="bilstm-crf")], ids=str
)
def test_a_model_of_a_task(
    job: Job, random_model: Callable[[Heads], Bert], tiny_tokenizer: Tokenizer, tmp_path: Path, task: Task, training: bool
) -> None:
    save_model(random_model(Heads(task=task.head())), tiny_tokenizer, tmp_path / "model", task=task_values(task))
    figures = measure_here(replace(job, model=tmp_path / "model", training=training, lengths=(9, 12)))
    assert figures.tokens_per_second > 0 and (figures.latency is None) == training


def test_operations_are_those_of_the_rows_that_the_head_reads(random_model: Callable[[Heads], Bert]) -> None:
    operations = []
    for heads in (Heads(), Heads(task=Classify(labels=("no", "yes")).head())):
        model = random_model(heads)
        operations.append(measure._answer(lambda batch: batch.token_ids, model, [9, 12]).operations)
    rest = model.config.width**2 + 2 * model.config.width * model.config.feed_forward_width
    assert operations[0] - operations[1] == 2 * (21 - 2) * rest


def test_pretraining_steps_of_a_model_without_a_task(job: Job) -> None:
    figures = measure_here(replace(job, training=True))
    assert figures.tokens_per_second > 0 and figures.latency is None


def test_batches_are_full_and_hold_every_length(job: Job) -> None:
    model = load_model(job.model)
    (batch,) = measure._packed((20,), 100)
    assert batch == [20] * 5
    assert sorted(chain.from_iterable(measure._packed((3, 50, 60, 9), 64))) == [3, 9, 50, 60]
    assert list(measure._packed((90,), 64)) == [[90]]
    made = measure._pretraining_batch([20] * 10, model)
    assert len(made.masked_positions) == pytest.approx(0.15 * 200, abs=2)


def test_precisions_are_those_that_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("has_bf16", "has_int8"):
        monkeypatch.setattr(measure, name, lambda _device: True)
    assert measure.precisions(torch.device("cpu"), training=False) == ["float32", "bf16", "int8"]
    assert measure.precisions(torch.device("cpu"), training=True) == ["float32", "bf16"]
    monkeypatch.setattr(measure, "has_bf16", lambda _device: False)
    assert measure.precisions(torch.device("cpu"), training=False) == ["float32", "int8"]


def test_a_process_of_its_own(toy_directory: Path) -> None:
    job = replace(JOB, model=toy_directory / "model")
    assert measure.measure(job).tokens_per_second > 0
    with pytest.raises(BertsmithError):
        measure.measure(replace(job, model=toy_directory / "text.txt"))

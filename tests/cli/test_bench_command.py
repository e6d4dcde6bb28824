"""``bertsmith bench``: what is measured, and how it is shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from bertsmith import measure
from bertsmith.measure import Figures, Job


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that are asked for, none of which is done."""
    asked: list[Job] = []

    def note(job: Job) -> Figures:
        asked.append(job)
        latency = (None, None) if job.training else (0.0123, 0.0456)
        return Figures(1234.5, 0.5, *latency, 500_000_000)

    monkeypatch.setattr(measure, "measure", note)
    monkeypatch.setattr(measure, "precisions", lambda _device, _training: ["float32", "bf16"])
    return asked


def test_usual_lengths_as_far_as_the_model_reads(run_command: Any, toy_directory: Path, jobs: list[Job]) -> None:
    code, out, _ = run_command("bench", toy_directory / "model", "--json")
    assert code == 0
    assert [(job.lengths, job.precision) for job in jobs] == [((32,), "float32"), ((32,), "bf16")]
    assert json.loads(out)[1] == {
        "input": "32 tokens",
        "precision": "bf16",
        "tokens_per_second": 1234.5,
        "share": 0.5,
        "latency": 0.0123,
        "latency_95": 0.0456,
        "peak_memory": 500_000_000,
    }


def test_lengths_of_ones_own_file(run_command: Any, toy_directory: Path, jobs: list[Job], tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("the cat sees a letter.\n\na bird\n" + "the dog " * 100 + "\n")
    code, out, _ = run_command(
        "bench", toy_directory / "model", "--file", tmp_path / "texts.txt", "--precision", "float32", "--threads", 3
    )
    assert code == 0
    assert [(job.lengths, job.threads) for job in jobs] == [((8, 4, 64), 3)]
    assert "texts.txt, 25 tokens a text" in out and "1,234" in out and "50%" in out and "12.3" in out and "45.6" in out


def test_training_has_no_latency(run_command: Any, toy_directory: Path, jobs: list[Job]) -> None:
    code, out, _ = run_command("bench", toy_directory / "model", "--train", "--lengths", 16)
    assert code == 0 and all(job.training for job in jobs)
    assert "1,234" in out and "ms" not in out


def test_texts_beyond_what_the_model_reads(run_command: Any, toy_directory: Path, jobs: list[Job]) -> None:
    code, _, err = run_command("bench", toy_directory / "model", "--lengths", 16, 65)
    assert (code, jobs) == (2, []) and "reads at most 64 tokens" in err


def test_no_training_in_int8(run_command: Any, toy_directory: Path, jobs: list[Job]) -> None:
    code, _, err = run_command("bench", toy_directory / "model", "--train", "--precision", "int8")
    assert (code, jobs) == (2, []) and "--precision int8 is for answers" in err


def test_no_model(run_command: Any, tmp_path: Path, jobs: list[Job]) -> None:
    code, _, err = run_command("bench", tmp_path)
    assert (code, jobs) == (1, []) and err.startswith("error: ")

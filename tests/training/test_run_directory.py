"""The directory of a run: what it was begun with, what is compared when it goes on, and its metrics."""

import json
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import DamagedError
from bertsmith.files import DIGESTS
from bertsmith.pretraining.options import PretrainConfig
from bertsmith.training.parallel import Ranks
from bertsmith.training.run_directory import RunDirectory

ENVIRONMENT = {"torch": "2.13.0", "threads": 2, "cores": 2, "corpus_sha256": "0"}


@pytest.fixture
def begin(tmp_path: Path) -> Any:
    """Begin a run, or go on with it, in an environment."""
    config = PretrainConfig.from_values({"corpus": "c", "out": str(tmp_path / "run"), "steps": 3}, "test")

    def begin(**changes: Any) -> RunDirectory:
        directory = RunDirectory(config.out)
        with directory.begun(config, {**ENVIRONMENT, **changes}, Ranks()):
            return directory

    return begin


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"cores": 64}, None),
        ({"threads": 1}, "the run goes on elsewhere than it was begun, so its bytes may differ: threads 2 → 1"),
        ({"torch": "2.14.0", "threads": 8}, "its bytes may differ: torch 2.13.0 → 2.14.0, threads 2 → 8"),
    ],
)
def test_another_machine_is_said(
    begin: Any, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], said: str | None
) -> None:
    begin()
    begin(**changes)
    assert (said in caplog.text) if said else not caplog.records


@pytest.mark.parametrize("name", ["config.toml", "environment.json", DIGESTS])
def test_what_a_run_was_begun_with_is_compared(begin: Any, name: str) -> None:
    path = begin().path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=DIGESTS):
        begin()


def test_a_run_of_an_earlier_version_has_no_digests(begin: Any) -> None:
    (begin().path / DIGESTS).unlink()
    begin()


def test_metrics_are_cut_to_what_they_were(begin: Any) -> None:
    directory = begin()
    nothing = directory.metrics_so_far()
    directory.record("train", {"step": 1, "loss": 1.0})
    first, content = directory.metrics_so_far(), directory.metrics.read_bytes()
    directory.record("train", {"step": 2, "loss": 0.5})
    with directory.metrics.open("a") as file:
        file.write('{"kind": "tra')
    directory.keep_metrics(first)
    assert directory.metrics.read_bytes() == content
    directory.metrics.write_bytes(content.replace(b"1.0", b"1.5"))
    with pytest.raises(DamagedError, match=r"metrics\.jsonl is not what it was at the last checkpoint"):
        directory.keep_metrics(first)
    directory.keep_metrics(nothing)
    assert directory.metrics.read_bytes() == b""


@pytest.mark.parametrize("line", ['{"kind": "train", "step": "2"}', '{"kind": "train", "step": [2]}', "[" * 10_000, "{}", "3"])
def test_lines_that_are_no_records_are_dropped_where_no_digest_is_told(begin: Any, line: str) -> None:
    directory = begin()
    directory.record("train", {"step": 1})
    with directory.metrics.open("a") as file:
        file.write(f"{line}\n")
    directory.record("train", {"step": 2})
    directory.keep_metrics_until(1)
    assert [json.loads(one)["step"] for one in directory.metrics.read_text().splitlines()] == [1]

"""Pre-training killed at bad moments, told to stop, started twice and out of disk."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bertsmith.errors import BusyError, StorageError
from bertsmith.pretraining.options import PretrainConfig
from bertsmith.pretraining.run import pretrain

Run = Callable[..., PretrainConfig]
FOREVER = 1_000_000


@contextmanager
def running(config: PretrainConfig) -> Iterator[subprocess.Popen[str]]:
    """Run ``bertsmith pretrain`` in a process of its own."""
    file = config.out.with_suffix(".toml")
    file.write_text(config.to_toml(), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "bertsmith", "pretrain", "--config", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], directory: Path, pattern: str) -> None:
    """Wait until there is a file of this name."""
    end = time.monotonic() + 60
    while not (directory.is_dir() and any(re.fullmatch(pattern, path.name) for path in directory.iterdir())):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, which stands in for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def weights(run: Path) -> bytes:
    return (run / "final" / "model.safetensors").read_bytes()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_killed_while_saving_and_resumed_is_byte_identical(toy_run: Run, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": "tiny", "steps": 8, "record": {"save_every": 1}, "loader_workers": 2}
    whole = toy_run(out=str(tmp_path / "whole"), **settings)
    killed = toy_run(out=str(tmp_path / "killed"), **settings)
    for step in (2, 5):
        with running(killed) as process:
            wait_for(process, killed.out / "checkpoints", rf"\.step-{step}\..*\.partial|step-{step}")
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not (killed.out / "final").exists()
    pretrain(killed)
    pretrain(whole)
    assert weights(killed.out) == weights(whole.out)
    assert not list(killed.out.rglob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_exit_code_75_and_a_second_run_is_refused_meanwhile(toy_run: Run, number: signal.Signals) -> None:
    config = toy_run(steps=FOREVER, record={"save_every": 5})
    with running(config) as process:
        wait_for(process, config.out / "checkpoints", r"step-\d+")
        with pytest.raises(BusyError):
            pretrain(config)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (75, "")
    last = re.fullmatch(r"stopped after step (\d+); the same command resumes from there", err.splitlines()[-1])
    assert last and "Traceback" not in err
    assert f"step-{last[1]}" in names(config.out / "checkpoints")


def test_a_full_disk_while_saving_keeps_what_was_saved(toy_run: Run, tmp_path: Path, run_command: Any) -> None:
    """The optimiser's state is the largest file, so it alone is beyond the limit."""
    whole = toy_run(out=str(tmp_path / "whole"))
    pretrain(whole)
    largest = (whole.out / "checkpoints" / "step-12" / "optimiser.safetensors").stat().st_size
    config = toy_run(steps=12)
    (tmp_path / "run.toml").write_text(config.to_toml())
    with limited_files(largest - 1):
        code, out, err = run_command("pretrain", "--config", tmp_path / "run.toml")
    assert (code, out) == (1, "")
    reason = "the file would be larger than this system allows"
    assert err.splitlines()[-1] == f"error: cannot write {config.out / 'checkpoints' / 'step-4'}: {reason}"
    assert names(config.out / "checkpoints") == []
    assert pretrain(config).is_dir()
    assert weights(config.out) == weights(whole.out)


def test_a_disk_that_fills_up_between_checkpoints_keeps_them(toy_run: Run, tmp_path: Path, at: Any) -> None:
    """The line of metrics that does not fit is written in part."""
    whole, config = toy_run(out=str(tmp_path / "whole")), toy_run()
    pretrain(whole)
    metrics = config.out / "metrics.jsonl"
    with limited_files(resource.RLIM_INFINITY), pytest.raises(StorageError, match=rf"^cannot write {metrics}: "):
        no_more = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (metrics.stat().st_size + 10, resource.RLIM_INFINITY))  # noqa: E731
        pretrain(config, at(10, no_more))
    assert not metrics.read_text().endswith("\n")
    assert names(config.out / "checkpoints") == ["step-4", "step-8"]
    pretrain(config)
    assert weights(config.out) == weights(whole.out)
    assert len(metrics.read_text().splitlines()) == len((whole.out / "metrics.jsonl").read_text().splitlines())

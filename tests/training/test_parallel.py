"""Two processes that train together see and learn what one alone does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import UsageError
from bertsmith.pretraining.options import PretrainConfig
from bertsmith.pretraining.run import pretrain

Run = Callable[..., PretrainConfig]


def torchrun(config: PretrainConfig) -> subprocess.CompletedProcess[str]:
    file = config.out.with_suffix(".toml")
    file.write_text(config.to_toml(), encoding="utf-8")
    command = "-m torch.distributed.run --standalone --nproc-per-node 2 -m bertsmith pretrain --config"
    return subprocess.run(
        [sys.executable, *command.split(), str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_two_ranks_make_the_steps_of_one(
    toy_run: Run, tmp_path: Path, records: Callable[[Path], list[dict[str, Any]]], crash_at: Any, crash: type[BaseException]
) -> None:
    """With dropout, and taken up where one process left off: neither depends on how many there are."""
    settings: dict[str, Any] = {"optimisation": {"accumulation": 4, "batch_tokens": 128, "dropout": 0.2}, "loader_workers": 1}
    alone, together = toy_run(out=str(tmp_path / "alone"), **settings), toy_run(out=str(tmp_path / "together"), **settings)
    pretrain(alone)
    with pytest.raises(crash):
        pretrain(together, crash_at(5))
    done = torchrun(together)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{together.out / 'final'}\n"
    pairs = list(zip(records(alone.out), records(together.out), strict=True))
    assert len(pairs) > 12
    for one, two in pairs:
        assert one.keys() == two.keys()
        assert (one["kind"], one["step"], one.get("tokens")) == (two["kind"], two["step"], two.get("tokens"))
        numbers = {name: value for name, value in one.items() if isinstance(value, float)}
        assert {name: two[name] for name in numbers} == pytest.approx(numbers, rel=1e-5, abs=1e-5)


def test_what_cannot_be_shared_is_refused(toy_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="--accumulation 3 cannot be shared among 2 processes") as caught:
        pretrain(toy_run(optimisation={"accumulation": 3}))
    assert caught.value.exit_code == 2


def test_a_refusal_of_the_first_rank_ends_the_others_without_a_traceback(toy_run: Run) -> None:
    config = toy_run(optimisation={"accumulation": 2})
    config.out.mkdir()
    (config.out / "thesis.tex").write_text("years of work")
    done = torchrun(config)
    assert done.returncode == 1
    assert f"error: {config.out} exists and is not a run (it holds thesis.tex)" in done.stderr
    assert "error: another process of this run has ended" in done.stderr or "stopped" in done.stderr
    assert "[rank" not in done.stderr  # what PyTorch puts before the lines of a traceback

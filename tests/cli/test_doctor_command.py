"""``bertsmith doctor`` says what the commands would do, by the functions that the commands use."""

import json
import os
from typing import Any

import pytest
import torch

from bertsmith import diagnosis, machine
from bertsmith.engine import avx512

RATES = {"float32": 2e11, "bf16": 1e12, "int8": None, "memory_bandwidth": 2e10}


@pytest.fixture
def report(run_command: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what doctor says as JSON of a machine with given processor features, cores and rates."""

    def make(flags: set[str], cores: machine.Cores, rates: dict[str, float | None] = RATES) -> dict[str, Any]:
        monkeypatch.setattr(diagnosis, "_rates", lambda _device: rates)
        for module in (machine, avx512):
            monkeypatch.setattr(module, "cpu_flags", lambda: frozenset(flags))
        monkeypatch.setattr(machine, "cores", lambda: cores)
        code, out, err = run_command("doctor", "--json")
        assert (code, err) == (0, "")
        said: dict[str, Any] = json.loads(out)
        return said

    return make


THREADS = torch.get_num_threads()
CORES = machine.Cores(logical=THREADS, physical=THREADS, allowed=THREADS, quota=None)


def test_with_bf16_instructions(report: Any) -> None:
    said = report({"avx2", "avx512f", "avx512_bf16"}, CORES)
    assert said["machine"]["instruction_sets"] == ["AVX2", "AVX-512", "AVX512-BF16"]
    chosen = {name: (choice["precision"], choice["attention"]) for name, choice in said["commands"].items()}
    assert chosen["pretrain"] == chosen["finetune"] == chosen["predict"] == ("bf16", "BlockAttention")
    assert "AVX512-BF16" in said["commands"]["predict"]["why"]["precision"]
    assert said["commands"]["pretrain"]["batch_tokens"] == 8192
    assert said["commands"]["pretrain"]["threads"] == THREADS
    assert not any("bf16" in sentence or "OMP_NUM_THREADS" in sentence for sentence in said["faster"])


def test_without_bf16_instructions(report: Any) -> None:
    said = report({"avx2"}, CORES)
    assert {choice["precision"] for choice in said["commands"].values()} == {"float32"}
    assert said["commands"]["predict"]["attention"] == "GroupedAttention"
    assert "no bf16 instructions" in said["commands"]["predict"]["why"]["precision"]
    assert any("for lack of bf16 instructions" in sentence for sentence in said["faster"])


def test_built_without_its_own_code(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avx512, "_library", lambda: None)
    said = report({"avx512_bf16", "avx512_vnni"}, CORES)
    assert said["commands"]["predict"]["attention"] == "BlockAttention"
    assert any("install a C++ compiler" in sentence for sentence in said["faster"])


def test_bf16_that_is_not_worth_it(report: Any) -> None:
    said = report({"avx512_bf16"}, CORES, {**RATES, "bf16": 2e11})
    assert any("--precision float32" in sentence for sentence in said["faster"])


def test_threads_and_cores_that_are_not_used(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", str(THREADS))
    said = report({"bf16"}, machine.Cores(logical=64, physical=32, allowed=16, quota=None))
    assert said["machine"]["cores"]["usable"] == 16
    assert any(f"unset OMP_NUM_THREADS, which is {THREADS}" in sentence for sentence in said["faster"])
    assert any("all but 16 of 64 processors" in sentence for sentence in said["faster"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    said = report({"bf16"}, machine.Cores(logical=8, physical=8, allowed=8, quota=1.5))
    assert any("runs 8 threads where 2 can be at work: set OMP_NUM_THREADS=2" in sentence for sentence in said["faster"])


def test_to_read(run_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_rates", lambda _device: RATES)
    code, out, _ = run_command("doctor")
    assert code == 0
    assert "bf16 products         1,000 GFLOP/s" in out and "int8 products         no instructions for them" in out
    assert all(f" {command} " in out for command in ("pretrain", "finetune", "predict", "fill"))


def test_rates_are_measured() -> None:
    rates = diagnosis._rates(torch.device("cpu"))
    assert rates["float32"] is not None and rates["float32"] > 1e8
    assert rates["memory_bandwidth"] is not None and rates["memory_bandwidth"] > 1e8

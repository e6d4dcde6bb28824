"""Compiled training: the same losses, and nothing compiled anew for batches of other lengths."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.pretraining.options import PretrainConfig
from bertsmith.pretraining.run import pretrain

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")

# Counts what is compiled: training and measuring, in a process without the shape checks of the tests.
SCRIPT = """
import sys
from pathlib import Path
import torch
from bertsmith.pretraining.options import PretrainConfig
from bertsmith.pretraining.run import pretrain
pretrain(PretrainConfig.from_toml(Path(sys.argv[1])))
print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""


def test_compiled_losses_are_those_of_the_uncompiled_run(
    toy_run: Callable[..., PretrainConfig], tmp_path: Path, records: Any
) -> None:
    settings: dict[str, Any] = {"optimisation": {"dropout": 0.0, "batch_tokens": 256}}
    plain, compiled = (
        toy_run(out=str(tmp_path / "plain"), **settings),
        toy_run(out=str(tmp_path / "compiled"), machine={"compile": True}, **settings),
    )
    pretrain(plain)
    (tmp_path / "compiled.toml").write_text(compiled.to_toml())
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "compiled.toml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for one, two in zip(records(plain.out), records(compiled.out), strict=True):
        numbers = {name: value for name, value in one.items() if isinstance(value, float)}
        assert {name: two[name] for name in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-4)
    # Layer and head, each for training and for measuring, and once more for a single row.
    assert int(done.stdout) <= 10

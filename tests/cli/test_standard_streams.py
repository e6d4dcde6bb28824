"""Standard streams that are closed, full, broken or of a small encoding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = f"'{sys.executable}' -m bertsmith"


@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        ("info {model} >/dev/full", 1, "", "error: the disk is full; free some space and run the same command again\n"),
        ("info {model} >&-", 0, "", ""),
        ("info {model} 2>&- <&-", 0, "kind: model", ""),
        ("frob 2>/dev/full", 2, "", ""),
        ("frob 2>&-", 2, "", ""),
        ("info {model}/北京 2>&1", 1, "error: {model}/\\u5317\\u4eac", ""),
        ("frob 2> >(exit 0); echo $?", 0, "2", ""),
        ("corpus {model}/vocab.txt --tokenizer {model} --out /dev/null 2>&1", 1, "error: ", ""),
    ],
)
def test_streams(toy_directory: Path, line: str, code: int, out: str, err: str) -> None:
    model = str(toy_directory / "model")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} {line.format(model=model)}"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (code, err)
    assert done.stdout.startswith(out.format(model=model))
    assert bool(done.stdout) == bool(out)
    assert Path("/dev/null").is_char_device()

"""``bertsmith pretrain`` as users meet it: the way from text to a filled blank, and refusals in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.pretraining.options import PretrainConfig


def test_from_text_to_filled_blanks(run_command: Any, toy_directory: Path, tmp_path: Path) -> None:
    """Every stage on what the one before printed."""

    def step(*arguments: object) -> str:
        code, out, err = run_command(*arguments)
        assert code == 0, err
        return str(out).strip()

    text = toy_directory / "text.txt"
    vocabulary = step("vocab", text, "--size", "100", "--out", tmp_path / "vocabulary")
    corpus = step("corpus", text, "--tokenizer", vocabulary, "--workers", "1", "--out", tmp_path / "corpus")
    shape = ["--model", "tiny", "--max-length", "32", "--batch-tokens", "256"]
    lengths = ["--steps", "3", "--held-out", "0.05", "--evaluation-tokens", "500"]
    final = step("pretrain", "--corpus", corpus, "--out", tmp_path / "run", *shape, *lengths)
    assert final == str(tmp_path / "run" / "final")
    assert json.loads(step("info", final, "--json"))["vocabulary_size"] == 100
    assert len(json.loads(step("fill", final, "the cat [MASK].", "--json"))["blanks"][0]) == 5
    code, out, err = run_command("pretrain", "--config", tmp_path / "run" / "config.toml")
    assert (code, out) == (0, f"{final}\n")
    assert err.splitlines()[-1] == f"warning: {tmp_path / 'run'} is finished already; begin a new run with another --out"


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--model", "tinny"], 1, "--model tinny: neither a preset"),
        (["--epochs", "2"], 2, "(--steps and --epochs given)"),
        (["--steps", "None"], 2, "(none of them given)"),
        (["--steps", "None", "--budget", "5"], 2, "not '5'"),
        (["--batch-tokens", "40"], 2, "micro-batches of 40 tokens do not work with sequences of up to 48"),
        (["--max-length", "513"], 1, "--max-length 513 is beyond the 64 positions"),
        (["--corpus", "/nowhere"], 1, "/nowhere is not a directory; a corpus directory is needed here"),
        (["--probes", "no blank"], 2, "a probe has exactly one [MASK]"),
        (["--steps", "-5"], 2, "--steps -5: input should be greater than 0"),
    ],
)
def test_refused(
    run_command: Any, toy_run: Callable[..., PretrainConfig], tmp_path: Path, flags: list[str], code: int, message: str
) -> None:
    config = toy_run(optimisation={"batch_tokens": 1024})
    (tmp_path / "run.toml").write_text(config.to_toml())
    found, out, err = run_command("pretrain", "--config", tmp_path / "run.toml", *flags)
    assert (found, out) == (code, "")
    said = err[err.index("error: ") :]
    assert message in said and "Traceback" not in err
    assert not config.out.exists()

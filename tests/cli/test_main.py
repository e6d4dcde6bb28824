"""Exit codes, hints, and that help is quick because nothing heavy is imported for it."""

import shlex
import subprocess
import sys
from typing import Any

import pytest

import bertsmith
from bertsmith.cli.verbs import EXAMPLES, VERBS


def test_help_lists_every_verb(run_command: Any) -> None:
    for flag in ("--help", "-h"):
        code, out, err = run_command(flag)
        assert (code, err) == (0, "")
        assert all(f"  {verb} " in out for verb in VERBS)


def test_version(run_command: Any) -> None:
    for flag in ("--version", "-V"):
        assert run_command(flag) == (0, f"bertsmith {bertsmith.__version__}\n", "")


def test_without_a_verb_it_is_help_and_exit_code_2(run_command: Any) -> None:
    code, out, _ = run_command()
    assert code == 2 and out.startswith("usage: bertsmith VERB")


def test_an_unknown_verb(run_command: Any) -> None:
    assert run_command("pretrian") == (2, "", "error: 'pretrian' is not a verb of bertsmith; did you mean 'pretrain'?\n")
    code, _, err = run_command("xyzzy")
    assert code == 2 and f"the verbs are {', '.join(VERBS)}" in err


def test_an_argument_of_another_encoding(run_command: Any) -> None:
    code, _, err = run_command("similar", "model", "sch\udcf6n", "b")
    assert (code, err) == (2, r"error: the argument 'sch\udcf6n' is not UTF-8; write it so, or rename the file" + "\n")


KINDS = ("finetune classify", "finetune tag", "compare features", "compare words")


@pytest.mark.parametrize("verb", [*(verb for verb in VERBS if verb not in ("finetune", "compare")), *KINDS])
def test_every_verb_explains_its_flags(run_command: Any, verb: str) -> None:
    code, out, err = run_command(*verb.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: bertsmith {verb}")
    assert f"Example: bertsmith {verb}" in out and "--config FILE" in out
    code, short, _ = run_command(*verb.split(), "-h")
    assert code == 0 and len(short) < len(out) and f"bertsmith {verb} --help explains all flags" in short


@pytest.mark.parametrize("verb", EXAMPLES)
def test_examples_are_read(run_command: Any, verb: str) -> None:
    if verb == "finetune multi":
        pytest.skip("its file must be there")
    arguments = [argument for argument in shlex.split(EXAMPLES[verb])[1:] if argument not in (">", "predictions.jsonl")]
    code, out, err = run_command(*arguments, "--dry-run")
    assert (code, err) == (0, "") and (out or verb in ("doctor", "demo"))


def test_quiet_and_verbose(run_command: Any, toy_directory: Any, tmp_path: Any) -> None:
    build = ("vocab", toy_directory / "text.txt", "--size", "150")
    code, _, err = run_command(*build, "--out", tmp_path / "loud")
    assert code == 0 and err
    assert run_command("-q", *build, "--out", tmp_path / "quiet") == (0, f"{tmp_path / 'quiet'}\n", "")
    assert run_command(*build, "--quiet", "--out", tmp_path / "silent") == (0, f"{tmp_path / 'silent'}\n", "")
    code, _, err = run_command("-v", "info", tmp_path / "nothing")
    assert code == 1 and "Traceback" in err and "\nerror: " in err
    assert run_command("fill", "--", "-q")[0] == 1  # behind -- it is a model


def test_arguments_have_names(run_command: Any) -> None:
    assert run_command("rank", "--help")[1].startswith("usage: bertsmith rank MODEL QUERY FILE [FLAGS]\n")
    code, _, err = run_command("rank", "model", "the cat")
    assert code == 2 and "FILE" in err


def imported(*arguments: str) -> set[str]:
    """Return the modules that a command has imported when it is done."""
    script = f"""
import sys
from bertsmith.cli.main import run
try:
    run({list(arguments)!r})
except SystemExit:
    pass
print(*sys.modules, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def test_help_imports_neither_torch_nor_numpy() -> None:
    assert not {"torch", "numpy", "tokenizers", "pydantic", "rich"} & imported("--help")


@pytest.mark.parametrize("arguments", [("pretrain", "--help"), ("pretrain", "--corpus", "c", "--out", "o", "--dry-run")])
def test_flags_are_read_without_torch(arguments: tuple[str, ...]) -> None:
    assert not {"torch", "tokenizers", "safetensors"} & imported(*arguments)


def test_a_reader_that_leaves_early_is_no_error(toy_directory: Any) -> None:
    texts = [f"the cat [MASK] {n}" for n in range(3000)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bertsmith", "fill", str(toy_directory / "model")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin and process.stdout and process.stderr
    with process:
        process.stdin.write("\n".join(texts[:40]).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"the cat [MASK] 0\n"
        process.stdout.close()
        process.stdin.write("\n".join(texts).encode())
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0

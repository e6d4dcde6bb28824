"""``-`` in the place of a file: standard input gives what the file does."""

import json
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

RunCommand = Callable[..., tuple[int, str, str]]


@pytest.fixture
def both(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[int, str]]]:
    """Run a command on a file, and on standard input that holds the same."""

    def run(file: Path, *arguments: object) -> list[tuple[int, str]]:
        found = []
        for name in (str(file), "-"):
            monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(file.read_bytes())))
            code, out, _ = run_command(*(name if argument is None else argument for argument in arguments))
            found.append((code, out))
        return found

    return run


def test_search(both: Any, toy_directory: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("the cat\nsome bread\nthe moon\n", encoding="utf-8")
    (code, out), from_input = both(lines, "search", toy_directory / "model", None, "a cat", "--json")
    assert code == 0 and (code, out) == from_input and json.loads(out)["hits"]


def test_senses(both: Any, toy_directory: Path) -> None:
    found = both(toy_directory / "text.txt", "senses", toy_directory / "model", None, "--word", "moon", "--senses", "2")
    assert found[0][0] == 0 and found[0] == found[1]


def test_vocabulary_and_corpus(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, toy_directory: Path, tmp_path: Path
) -> None:
    for name, flags, file in (
        ("vocab", ["--size", "150"], "vocab.txt"),
        ("corpus", ["--tokenizer", toy_directory / "tokenizer", "--workers", "1"], "tokens.npy"),
    ):
        written = []
        for place, source in (("file", str(toy_directory / "text.txt")), ("input", "-")):
            monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO((toy_directory / "text.txt").read_bytes())))
            out = tmp_path / f"{name}-{place}"
            assert run_command(name, source, *flags, "--out", out)[0] == 0
            written.append((out / file).read_bytes())
        assert written[0] == written[1]


@pytest.mark.parametrize(
    "arguments", [("search", "model", "-"), ("answer", "model", "--documents", "-")], ids=["search", "answer"]
)
def test_it_cannot_hold_two_things(run_command: RunCommand, arguments: tuple[str, ...]) -> None:
    code, _, err = run_command(*arguments)
    assert code == 2 and err.startswith("error: standard input cannot hold the ")

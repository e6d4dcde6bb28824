"""``bertsmith fill``: texts as arguments and from standard input, to read and for machines."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertsmith
from bertsmith.artifacts.directory import save_model
from bertsmith.model.bert import Bert
from bertsmith.text.tokenizer import Tokenizer


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    return lambda typed: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="ascii"))


def test_a_text_to_read(run_command: Any, toy_directory: Path) -> None:
    code, out, err = run_command("fill", toy_directory / "model", "the cat [MASK] the moon.", "--top", "3")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "the cat [MASK] the moon." and len(lines) == 4
    (filled,) = bertsmith.pipeline(toy_directory / "model")(["the cat [MASK] the moon."], top=3)
    assert [line.split() for line in lines[1:]] == [[f"{c.probability:.2%}", c.token] for c in filled.blanks[0]]


def test_several_blanks_and_chinese_for_machines(run_command: Any, toy_directory: Path) -> None:
    texts = ["the [MASK] sees [MASK] again", "北[MASK]"]
    code, out, _ = run_command("fill", toy_directory / "model", *texts, "--json", "--top", "2")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [one["text"] for one in found] == texts
    assert [[len(blank) for blank in one["blanks"]] for one in found] == [[2, 2], [2]]
    assert found[0]["blanks"][0][0].keys() == {"token", "probability"}
    assert "北[MASK]" in out


def test_several_blanks_to_read_are_numbered(run_command: Any, toy_directory: Path) -> None:
    _, out, _ = run_command("fill", toy_directory / "model", "[MASK] [MASK]", "--top", "1")
    assert [line.strip() for line in out.splitlines()][1::2] == ["blank 1", "blank 2"]


def test_lines_from_standard_input(run_command: Any, toy_directory: Path, type_in: Any) -> None:
    lines = [f"the [MASK] {n} 京" for n in range(70)]
    type_in("\n\n".join(lines).encode() + b"\n  \n")
    code, out, _ = run_command("fill", toy_directory / "model", "--json", "--top", "1")
    assert code == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the cat", "no blank to fill in 'the cat': write [MASK] where a word is missing"),
        ("[MASK]" + " the" * 99, "has 102 tokens; this model reads at most 64"),
    ],
)
def test_texts_that_cannot_be_filled(run_command: Any, toy_directory: Path, text: str, message: str) -> None:
    code, out, err = run_command("fill", toy_directory / "model", "a [MASK]", text)
    assert (code, out) == (1, "")
    assert err.startswith("error: text 2: ") and message in err and err.count("\n") == 1


def test_a_line_that_cannot_be_filled(run_command: Any, toy_directory: Path, type_in: Any) -> None:
    type_in(b"a [MASK]\n\n  \nthe cat\n")
    code, _, err = run_command("fill", toy_directory / "model")
    assert (code, err) == (
        1,
        "error: standard input:4: no blank to fill in 'the cat': write [MASK] where a word is missing\n",
    )


@pytest.mark.parametrize("typed", [b"", b"\n  \n"])
def test_standard_input_without_texts(run_command: Any, toy_directory: Path, type_in: Any, typed: bytes) -> None:
    type_in(typed)
    code, _, err = run_command("fill", toy_directory / "model")
    assert (code, err) == (1, "error: standard input holds no text; write one a line\n")


def test_standard_input_that_is_not_utf8(run_command: Any, toy_directory: Path, type_in: Any) -> None:
    type_in("a [MASK]\nschön [MASK]\n".encode("latin-1"))
    code, _, err = run_command("fill", toy_directory / "model")
    assert (code, err) == (1, "error: standard input:2: invalid UTF-8 at byte 3 of the line (0xf6); convert it to UTF-8\n")


def test_directories_that_are_no_models(run_command: Any, toy_directory: Path) -> None:
    for path, message in (("/nowhere", "is not a directory"), (toy_directory / "corpus", "is a corpus directory")):
        code, _, err = run_command("fill", path, "a [MASK]")
        assert code == 1 and message in err and err.count("\n") == 1


def test_a_damaged_model(run_command: Any, toy_model: Callable[..., Bert], toy_tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(toy_model(), toy_tokenizer, tmp_path / "model", "")
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[9000] ^= 1
    weights.write_bytes(content)
    code, _, err = run_command("fill", tmp_path / "model", "a [MASK]")
    assert (code, err) == (1, f"error: {weights} is altered: its SHA-256 is not the one in manifest.json\n")

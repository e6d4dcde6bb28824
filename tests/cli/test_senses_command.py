"""``bertsmith senses``: to read, for machines, as a plot; and what a user may get wrong."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(run_command: Run, toy_directory: Path) -> Run:
    return lambda *arguments: run_command("senses", toy_directory / "model", toy_directory / "text.txt", *arguments)


def test_senses_to_read(run: Run) -> None:
    code, out, _ = run("--word", "Moon", "--senses", "2", "--context", "line")
    first, *lines = out.splitlines()
    assert code == 0 and first.startswith("Moon: ") and "2 senses (silhouette " in first
    numbered = [line for line in lines if line[:1].isdigit()]
    assert [line.split()[0] for line in numbered] == ["1", "2"]
    shares = [int(line.split()[1].rstrip("%")) for line in numbered]
    assert sum(shares) in (99, 100, 101) and shares[0] >= shares[1]
    typical = [line for line in lines if line.startswith("   ")]
    assert 2 <= len(typical) <= 6 and all("the **moon** " in line for line in typical)


def test_every_occurrence_for_machines(run: Run, toy_directory: Path) -> None:
    text = (toy_directory / "text.txt").read_text(encoding="utf-8")
    code, out, _ = run("--word", "the red house", "--json", "--context", "line", "--layers", "sum-last-2")
    found = json.loads(out)
    assert code == 0
    assert (found["word"], found["layers"]) == ("the red house", "sum-last-2")
    assert found["found"] == found["read"] == text.count("the red house") == len(found["occurrences"])
    assert {one["text"][one["start"] : one["end"]] for one in found["occurrences"]} == {"the red house"}
    assert {one["sense"] for one in found["occurrences"]} == set(range(len(found["senses"])))
    for number, sense in enumerate(found["senses"]):
        assert all(found["occurrences"][place]["sense"] == number for place in sense["typical"])
    assert sum(sense["share"] for sense in found["senses"]) == pytest.approx(1)


def test_an_even_sample_is_the_same_again(run: Run) -> None:
    first, second = (json.loads(run("--word", "the", "--json", "--max-occurrences", "50")[1]) for _ in range(2))
    assert first == second and first["read"] == 50 and first["found"] > 500


def test_the_plot(run: Run, tmp_path: Path) -> None:
    code, _, _ = run(
        "--word", "moon", "--senses", "3", "--plot", tmp_path / "moon.svg", "--layers", "-2", "--max-occurrences", "40"
    )
    svg = ElementTree.fromstring((tmp_path / "moon.svg").read_text(encoding="utf-8"))
    marks = [path for path in svg.iter("{http://www.w3.org/2000/svg}path") if path.get("class", "").startswith("mark")]
    assert code == 0 and len(marks) == 40 + 3


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--word", "moons"), 1, "'moons' is not in {text}; words written nearly so are moon"),
        (("--word", "qqq"), 1, "'qqq' is not in {text}"),
        (("--word", " "), 2, "' ' is not a word"),
        (("--word", "moon", "--layers", "3"), 2, "the model has no layer 3"),
        (("--word", "moon", "--layers", "all"), 2, "--layers all gives several vectors a word"),
        (("--word", "moon", "--senses", "0"), 2, "senses"),
        (("--word", "moon", "--senses", "9", "--max-occurrences", "4"), 1, "too few for 9 senses"),
        (("--word", "moon", "--plot", "."), 2, "--plot . is a directory; name a file"),
    ],
)
def test_mistakes(run: Run, toy_directory: Path, arguments: Any, exit_code: int, message: str) -> None:
    code, out, err = run(*arguments)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out, len(errors)) == (exit_code, "", 1)
    assert message.format(text=toy_directory / "text.txt") in errors[0]


def test_files_without_text(run_command: Run, toy_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    code, _, err = run_command("senses", toy_directory / "model", tmp_path / "empty.txt", "--word", "moon")
    assert code == 1 and f"error: no text in {tmp_path / 'empty.txt'}" in err


def test_word_similarity_is_a_comparison(run_command: Run, toy_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("cat dog 9\nking moon 2\nriver song 1\n", encoding="utf-8")
    pairs = ("--model", toy_directory / "model", "--pairs", tmp_path / "pairs.txt", "--out", tmp_path / "out")
    code, out, _ = run_command("compare", "words", *pairs, "--text", toy_directory / "text.txt")
    assert code == 0 and out == (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert out.startswith("| layer | pairs, alone | pairs, in text |")


def test_without_scikit_learn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bertsmith.words.senses", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    code, _, err = run("--word", "moon")
    assert code == 2 and "pip install 'bertsmith[senses]'" in err and err.count("\n") == 1


def test_control_characters_in_a_text(run_command: Run, toy_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the \x1b[31mcat sees the moon\n" * 3, encoding="utf-8")
    code, out, _ = run_command(
        "senses", toy_directory / "model", tmp_path / "a.txt", "--word", "moon", "--plot", tmp_path / "moon.svg"
    )
    assert code == 0 and "the ␛[31mcat sees the **moon**" in out
    ElementTree.fromstring((tmp_path / "moon.svg").read_text(encoding="utf-8"))

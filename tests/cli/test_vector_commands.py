"""``bertsmith similar`` and ``bertsmith search``: what they print and what they refuse."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bertsmith.inference.pipelines import VectorPipeline
from bertsmith.neighbours import unit

Run = Callable[..., tuple[int, str, str]]
TEXTS = ["the cat sees the moon", "a bird finds the river", "the king"]


@pytest.fixture
def model(toy_directory: Path) -> Path:
    return toy_directory / "model"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "lines.txt").write_text("\n".join([*TEXTS, "", "my teacher paints"]) + "\n")
    return tmp_path / "lines.txt"


def test_two_texts_and_more(run_command: Run, model: Path) -> None:
    vectors = unit(VectorPipeline.load(model)(TEXTS))
    expected = vectors @ vectors.T
    code, out, _ = run_command("similar", model, *TEXTS[:2])
    assert (code, out) == (0, f"{expected[0, 1]:.4f}\n")
    code, out, _ = run_command("similar", model, *TEXTS)
    rows = out.splitlines()
    assert [float(one) for one in rows[1].split()[:3]] == pytest.approx(expected[1].tolist(), abs=1e-4)
    assert [row[-len(text) :] for row, text in zip(rows, TEXTS, strict=True)] == TEXTS
    _, out, _ = run_command("similar", model, *TEXTS, "--json")
    assert json.loads(out)["texts"] == TEXTS
    assert json.loads(out)["cosines"][2] == pytest.approx(expected[2].tolist(), abs=1e-5)


@pytest.mark.parametrize(("texts", "message"), [(["one"], "two texts are needed"), (["one", " "], "a text is empty")])
def test_nothing_to_compare(run_command: Run, model: Path, texts: list[str], message: str) -> None:
    code, _, err = run_command("similar", model, *texts)
    assert code == 2 and message in err


def test_a_search_with_an_index_that_is_kept(run_command: Run, model: Path, file: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    index.mkdir()  # empty, as good as none
    code, first, _ = run_command("search", model, file, "the king", "--index", index, "--top", "2")
    assert code == 0 and len(first.splitlines()) == 2
    similarity, line, text = first.splitlines()[0].split(maxsplit=2)
    assert (float(similarity), line, text) == (pytest.approx(1, abs=0.01), "3", "the king")
    before = (index / "vectors.float32").stat().st_mtime_ns
    code, again, _ = run_command("search", model, file, "the king", "--index", index, "--top", "2")
    assert (again, (index / "vectors.float32").stat().st_mtime_ns) == (first, before)
    code, out, _ = run_command("search", model, file, "the king", "--json")
    assert json.loads(out)["hits"][0]["text"] == "the king" and len(json.loads(out)["hits"]) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "lines.txt"]


def test_an_index_that_does_not_fit(run_command: Run, model: Path, file: Path, tmp_path: Path) -> None:
    run_command("search", model, file, "a", "--index", tmp_path / "index")
    file.write_text("something else\n")
    code, out, err = run_command("search", model, file, "a", "--index", tmp_path / "index")
    assert (code, out) == (1, "") and "was made of another file" in err


class Input(io.StringIO):
    """Standard input of a test."""

    def __init__(self, text: str, is_terminal: bool) -> None:
        super().__init__(text)
        self.buffer, self._is_terminal = io.BytesIO(text.encode()), is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def test_queries_from_standard_input(run_command: Run, model: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input("the king\n\na bird\n", is_terminal=False))
    code, out, _ = run_command("search", model, file, "--top", "1")
    found = [json.loads(line) for line in out.splitlines()]
    assert (code, [one["query"] for one in found]) == (0, ["the king", "a bird"])
    assert found[0]["hits"][0] == {"text": "the king", "line": 3, "similarity": pytest.approx(1, abs=0.01)}
    monkeypatch.setattr(sys, "stdin", Input("\n", is_terminal=False))
    code, _, err = run_command("search", model, file)
    assert code == 1 and "standard input holds no query" in err


def test_a_dialogue(run_command: Run, model: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input("the king\n\na bird\n", is_terminal=True))
    code, out, _ = run_command("search", model, file, "--top", "1")
    assert code == 0 and out.count("search: ") == 4 and "the king" in out and "a bird finds the river" in out


def test_an_empty_query(run_command: Run, model: Path, file: Path) -> None:
    code, _, err = run_command("search", model, file, " ")
    assert code == 2 and "a query is empty; say what to search for" in err


def test_control_characters_in_a_text(run_command: Run, model: Path, file: Path) -> None:
    text = "the \x1b[31mking\x07"
    file.write_text(f"{text}\n")
    _, out, _ = run_command("search", model, file, "the king")
    assert out.endswith("  the ␛[31mking␇\n")
    _, out, _ = run_command("search", model, file, "the king", "--json")
    assert json.loads(out)["hits"][0]["text"] == text
    _, out, _ = run_command("similar", model, "a", "b", text)
    assert out.endswith("  the ␛[31mking␇\n")

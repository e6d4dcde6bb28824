"""``bertsmith rank``, and predictions and scores of rankers."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

import bertsmith
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.model.bert import Heads
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.saved import task_values
from bertsmith.text.tokenizer import Tokenizer

CANDIDATES = ["the cat sees a song", "the moon", "some bread", "a letter again", "the king", "the river"]
QUERY = "the cat"
EXACT = ("--device", "cpu", "--precision", "float32")


@pytest.fixture
def model(toy_directory: Path, tmp_path: Path) -> Path:
    """The toy model with the head of a ranker, untrained."""
    task = Rank(max_length=32)
    untrained = load_model(toy_directory / "model", Heads(task=task.head()))
    save_model(untrained, Tokenizer.load(toy_directory / "model"), tmp_path / "model", "", task_values(task))
    return tmp_path / "model"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    (tmp_path / "candidates.txt").write_text("".join(f"{text}\n\n" for text in CANDIDATES), encoding="utf-8")
    return tmp_path / "candidates.txt"


def expected(model: Path) -> list[tuple[str, float]]:
    (ranking,) = bertsmith.pipeline(model)([(QUERY, CANDIDATES)])
    return [(one.text, one.score) for one in ranking.candidates]


def test_the_best_candidates_first(run_command: Any, model: Path, lines: Path) -> None:
    code, out, err = run_command("rank", model, QUERY, lines, "--json", *EXACT)
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0, err
    assert [one["text"] for one in found] == [text for text, _ in expected(model)]
    assert [one["score"] for one in found] == pytest.approx([score for _, score in expected(model)], abs=1e-6)
    assert {one["text"]: one["source"] for one in found}["some bread"] == f"{lines}:5"
    code, out, _ = run_command("rank", model, QUERY, lines, "--top", "2", *EXACT)
    shown = [line.split("  ")[-1] for line in out.splitlines()]
    assert code == 0 and shown == [text for text, _ in expected(model)[:2]]


def test_other_formats(run_command: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Line ends within a text are kept, but not in lines to read.
    texts = [text.replace(" again", "\nagain") for text in CANDIDATES]
    rows = "".join(json.dumps({"name": number, "passage": text}) + "\n" for number, text in enumerate(texts))
    (tmp_path / "a.jsonl").write_text(rows, encoding="utf-8")
    code, out, _ = run_command("rank", model, QUERY, tmp_path / "a.jsonl", "--field", "passage", "--json", *EXACT)
    found = [json.loads(line)["text"] for line in out.splitlines()]
    assert code == 0 and found == [text.replace(" again", "\nagain") for text, _ in expected(model)]
    code, out, _ = run_command("rank", model, QUERY, tmp_path / "a.jsonl", "--field", "passage", *EXACT)
    assert code == 0 and len(out.splitlines()) == len(CANDIDATES)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(CANDIDATES).encode()), encoding="utf-8"))
    code, out, _ = run_command("rank", model, QUERY, "-", "--json", *EXACT)
    assert code == 0 and [json.loads(line)["text"] for line in out.splitlines()] == [text for text, _ in expected(model)]


def test_any_number_of_candidates(run_command: Any, model: Path, tmp_path: Path) -> None:
    many = [f"{first} {second}" for first in CANDIDATES for second in CANDIDATES] * 60
    (tmp_path / "many.txt").write_text("\n".join(many), encoding="utf-8")
    code, out, _ = run_command("rank", model, QUERY, tmp_path / "many.txt", "--top", "61", "--json", *EXACT)
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(found) == 61
    (ranking,) = bertsmith.pipeline(model)([(QUERY, many[:36])])
    assert {one["text"] for one in found[:60]} == {ranking.candidates[0].text}
    assert found[60]["text"] == ranking.candidates[1].text
    # Equally good ones as they stand in the file.
    numbers = [int(one["source"].rpartition(":")[2]) for one in found[:60]]
    assert numbers == sorted(numbers)


REFUSED: list[Any] = [
    (" ", "a.txt", "the moon\n", [], 2, "the query is empty"),
    (QUERY, "a.txt", "", [], 1, "a.txt holds no rows"),
    (QUERY, "a.csv", "a,b\nx,y\n", [], 1, "a.csv has no column 'text'; its columns are 'a', 'b'; choose one with --field"),
    (QUERY, "a.csv", "a,b\nx,y\n", ["--field", "c"], 1, "a.csv has no column 'c'; its columns are 'a', 'b'; choose one"),
    (QUERY, "a.jsonl", '{"a": 1}\n', [], 1, "a.jsonl:1: the column 'a' holds 1 where text is expected"),
    (QUERY, "a.pdf", "the moon\n", [], 1, "a.pdf has no extension that says how to read it"),
    (QUERY, "a.txt", "the moon\n", ["--top", "0"], 2, "greater than 0"),
]


@pytest.mark.parametrize(("query", "name", "content", "flags", "code", "message"), REFUSED)
def test_refused(
    run_command: Any,
    model: Path,
    tmp_path: Path,
    query: str,
    name: str,
    content: str,
    flags: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found, out, err = run_command("rank", model, query, tmp_path / name, *flags)
    assert (found, out) == (code, "") and message in err and "Traceback" not in err


def test_models_refused(run_command: Any, toy_directory: Path, tmp_path: Path, lines: Path) -> None:
    code, _, err = run_command("rank", toy_directory / "model", QUERY, lines)
    assert code == 1 and "bertsmith finetune" in err
    task = Regress(max_length=32)
    save_model(
        load_model(toy_directory / "model", Heads(task=task.head())),
        *(Tokenizer.load(toy_directory / "model"), tmp_path / "regress", "", task_values(task)),
    )
    code, _, err = run_command("rank", tmp_path / "regress", QUERY, lines)
    assert code == 1 and "is a model of the task 'regress'; one of 'rank' is needed here" in err


ROWS = """question_id	question	answer	label
q1	the cat	sees	1
q1	the cat	likes	0
q2	the moon	a song	0
q2	the moon	sees	0
"""


def test_predictions_and_scores(run_command: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(ROWS, encoding="utf-8")
    code, out, err = run_command("predict", model, tmp_path / "a.tsv", *EXACT)
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [one["id"] for one in found] == ["q1", "q2"], err
    for one in found:
        scores = [candidate["score"] for candidate in one["candidates"]]
        assert len(scores) == 2 and scores == sorted(scores, reverse=True)
    code, out, _ = run_command("predict", model, tmp_path / "a.tsv", "--submission", *EXACT)
    rows = [line.split(" ") for line in out.splitlines()]
    assert code == 0 and [(row[0], row[1], row[3], row[5]) for row in rows] == [
        (query, "Q0", rank, "bertsmith") for query in ("q1", "q2") for rank in ("1", "2")
    ]
    code, out, err = run_command("evaluate", model, tmp_path / "a.tsv", "--json", "--rounds", "100", *EXACT)
    reciprocal = 1.0 if found[0]["candidates"][0]["text"] == "sees" else 0.5
    assert code == 0 and json.loads(out)["scores"]["mrr"]["value"] == reciprocal
    assert "1 of 2 queries have no relevant candidate: they are left out of the scores" in err


def test_control_characters_in_a_candidate(run_command: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the \x1b[31mmoon\x07\n", encoding="utf-8")
    _, out, _ = run_command("rank", model, QUERY, tmp_path / "a.txt")
    assert out.endswith("  the ␛[31mmoon␇\n")
    _, out, _ = run_command("rank", model, QUERY, tmp_path / "a.txt", "--json")
    assert json.loads(out)["text"] == "the \x1b[31mmoon\x07"

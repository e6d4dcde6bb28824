"""``bertsmith data``: what it says of files, as text, as JSON and as a page."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.tsv"
    rows = "".join(f"the cat sees {number}\t{'pos' if number % 2 else 'neg'}\n" for number in range(400))
    path.write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    return path


def test_sound_files_pass_strict(run_command: Command, train: Path, toy_directory: Path) -> None:
    code, out, err = run_command("data", train, "--model", toy_directory / "model", "--max-length", "32", "--strict")
    # Numbers are no words of the toy tokenizer.
    assert (code, out) == (1, "")
    assert "[UNK]" in err
    code, out, err = run_command("data", train, "--strict")
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["data: train 400 rows", "labels: 2 ('neg' 50.0%, 'pos' 50.0%)"]


def test_warnings_are_printed_and_refused_when_strict(run_command: Command, train: Path, tmp_path: Path) -> None:
    page = tmp_path / "data.html"
    code, out, _ = run_command("data", train, "--dev", train, "--out", page)
    assert code == 0
    assert "warning: 400 of 400 dev rows (100.0%) have texts that are in training too" in out
    assert page.exists()
    page.unlink()
    code, out, err = run_command("data", train, "--dev", train, "--out", page, "--strict")
    assert (code, out) == (1, "")
    assert "400 of 400 dev rows" in err
    assert not page.exists()


def test_json_has_every_figure(run_command: Command, train: Path, toy_directory: Path) -> None:
    code, out, _ = run_command("data", train, "--model", toy_directory / "model", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["kind"], found["splits"]["train"]["n_rows"]) == ("classify", 400)
    assert found["tokens"]["n_sequences"] == 400
    assert [warning["check"] for warning in found["warnings"]] == ["unknown tokens"]


TAGGED = "the B-WHO\ncat I-WHO\nsees O\n\nsome O\nbread O\n\n"
RANKED = "question\tanswer\tlabel\nthe cat\tsees\t1\nthe cat\tlikes\t0\nthe moon\ta song\t0\nthe moon\tsees\t1\n"


@pytest.mark.parametrize(
    ("task", "name", "content", "line"),
    [
        ("tag", "a.conll", TAGGED, "labels: 1 ('WHO' 100.0%)"),
        ("rank", "a.tsv", RANKED, "labels: 2 ('relevant' 50.0%, 'not relevant' 50.0%)"),
        ("regress", "a.tsv", "text\tlabel\na\t1\nb\t2.5\n", "numbers: 1 to 2.5, mean 1.75 ± 0.75, 2 different ones"),
        ("multilabel", "a.csv", 'text,label\na,"x,y"\nb,x\n', "labels: 2 ('x' 66.7%, 'y' 33.3%)"),
    ],
)
def test_of_other_tasks(run_command: Command, tmp_path: Path, task: str, name: str, content: str, line: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    code, out, _ = run_command("data", tmp_path / name, "--task", task)
    assert code == 0
    assert line in out.splitlines()


def test_columns_are_named_and_refused_as_elsewhere(run_command: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("said,kind\na,x\nb,y\n", encoding="utf-8")
    assert run_command("data", path, "--text", "said", "--label", "kind")[0] == 0
    code, _, err = run_command("data", path, "--word-column", "1")
    assert code == 2
    assert err.startswith("error: --word-column is not a flag of bertsmith data")
    path.write_text("text,label\n", encoding="utf-8")
    assert run_command("data", path)[0] == 1


@pytest.mark.parametrize(
    ("task", "said"),
    [("tagg", "--task tagg is no task; did you mean 'tag'?"), ("", "--task  is no task; the tasks are classify, multilabel, ")],
)
def test_tasks_that_there_are_not_are_refused(run_command: Command, train: Path, task: str, said: str) -> None:
    code, _, err = run_command("data", train, "--task", task)
    assert code == 2
    assert err.startswith(f"error: {said}")


def test_the_flags_are_those_of_the_task(run_command: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,x;y\nb,x\n", encoding="utf-8")
    code, out, _ = run_command("data", path, "--task=multilabel", "--separator", ";")
    assert code == 0
    assert "labels: 2 ('x' 66.7%, 'y' 33.3%)" in out
    code, out, _ = run_command("data", "--task", "tag", "--help")
    assert code == 0
    assert "--word-column" in out
    (tmp_path / "data.toml").write_text(f'train = "{path}"\nkind = "multilabel"\n', encoding="utf-8")
    code, _, err = run_command("data", "--config", tmp_path / "data.toml")
    assert code == 2
    assert "name it on the command line: --task multilabel" in err


def test_labels_that_training_lacks_are_refused(run_command: Command, train: Path, tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text("text\tlabel\na\tneutral\n", encoding="utf-8")
    code, _, err = run_command("data", train, "--dev", tmp_path / "dev.tsv")
    assert code == 1
    assert "the label 'neutral' is not among those learnt in training" in err

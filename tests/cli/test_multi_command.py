"""``bertsmith finetune multi`` as users meet it."""

import json
from pathlib import Path
from typing import Any

import pytest

ROWS = "".join(f"the {'cat' if number % 2 else 'king'} sees a song\t{number % 2}\n" for number in range(12))
TAGGED = "the B-WHO\ncat I-WHO\nsees O\n\nsome O\nbread O\n\n" * 4


@pytest.fixture
def tables(toy_directory: Path, tmp_path: Path) -> Path:
    """A file of two tasks, and what it names."""
    (tmp_path / "mood.tsv").write_text(f"sentence\tlabel\n{ROWS}")
    (tmp_path / "names.conll").write_text(TAGGED)
    (tmp_path / "tasks.toml").write_text(f"""
model = "{toy_directory / "model"}"
epochs = [1]
batch_size = [4]
machine = {{ device = "cpu", precision = "float32" }}

[tasks.mood]
kind = "classify"
train = "{tmp_path / "mood.tsv"}"
dev = "{tmp_path / "mood.tsv"}"
max_length = 32
columns = {{ text = "sentence" }}

[tasks.names]
kind = "tag"
train = "{tmp_path / "names.conll"}"
max_length = 32
""")
    return tmp_path / "tasks.toml"


def test_from_a_file_of_tables_to_models_that_predict(run_command: Any, tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, said, err = run_command("finetune", "multi", tables, "--out", out, "--lr", "1e-3", "--temperature", "2")
    assert (code, said) == (0, f"{out / 'final'}\n"), err
    assert "mood: 12 examples to train on, 12 to choose by; 2 labels; " in err and "% of the steps" in err
    heading = next(line for line in err.splitlines() if line.startswith("| setting"))
    assert [cell.strip() for cell in heading.split("|")[1:-1]] == [
        *("setting", "seeds", "dev mean", "dev mood accuracy", "dev names F1"),
    ]
    for name, file in (("mood", "mood.tsv"), ("names", "names.conll")):
        code, said, err = run_command("predict", out / "final" / name, tmp_path / file)
        assert code == 0 and [json.loads(line) for line in said.splitlines()], err
        code, said, err = run_command("evaluate", out / "final" / name, tmp_path / file, "--rounds", "100")
        assert code == 0, err
    config = (out / "config.toml").read_text()
    assert "temperature = 2.0" in config and "[tasks.mood.columns]" in config and 'kind = "tag"' in config
    # What is written down there is a file of tables itself.
    code, said, err = run_command("finetune", "multi", out / "config.toml")
    assert code == 0 and "is finished already" in err


def test_flags_come_on_top_and_are_shown_without_running(run_command: Any, tables: Path, tmp_path: Path) -> None:
    code, said, _ = run_command("finetune", "multi", tables, "--out", tmp_path / "run", "--epochs", "7", "--dry-run")
    assert code == 0 and "epochs = [\n    7.0,\n]" in said and "[tasks.names]" in said
    assert not (tmp_path / "run").exists()


def test_help(run_command: Any) -> None:
    code, said, _ = run_command("finetune", "multi", "--help")
    assert code == 0 and "--temperature" in said and "--tasks" not in said
    assert "  multi " in run_command("finetune", "--help")[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[tasks.names]", "[tasks.mood]", "is not valid TOML: Cannot declare"),
        ("[tasks.names]", '[tasks."../names"]', "'../names' is no name of a task"),
        ('kind = "tag"', 'kind = "tags"', "names.kind = 'tags' is no kind of task; did you mean 'tag'?"),
        ("max_length", "max_lenght", "mood: max_lenght: unknown key; did you mean 'max_length'?"),
        ("epochs", "epoch", "epoch: unknown key; did you mean 'epochs'?"),
        ("[tasks.", "[task.", "task: unknown key; did you mean 'tasks'?"),
    ],
)
def test_refused(run_command: Any, tables: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    tables.write_text(tables.read_text().replace(old, new))
    code, said, err = run_command("finetune", "multi", tables, "--out", tmp_path / "run")
    assert (code, said) == (2, "") and message in " ".join(err.split()) and "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name at least one task"),
        (["/nowhere.toml"], 2, "cannot read /nowhere.toml: No such file"),
        (["--temperature", "0.5"], 2, "temperature"),
    ],
)
def test_without_tables(run_command: Any, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    found, said, err = run_command("finetune", "multi", *arguments, "--model", tmp_path, "--out", tmp_path / "run")
    assert (found, said) == (code, "") and message in " ".join(err.split()), err
    assert not (tmp_path / "run").exists()

"""``bertsmith predict`` and ``bertsmith evaluate``: any file or stream in, predictions and scores out, refusals in one line."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bertsmith.artifacts.directory import WEIGHTS, load_model, save_model
from bertsmith.model.bert import Heads
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

Save = Callable[..., Path]
TABLE = "sentence\tlabel\nthe cat sees a song\tred\nthe moon\tblue\nsome bread\tred\n"
CLASSIFY = Classify(labels=("blue", "red"), max_length=32)
TAG = Tag(labels=("O", "B-WHO", "I-WHO"), scheme="iob2", units="words", max_length=32)


@pytest.fixture
def save(toy_directory: Path, tmp_path: Path) -> Save:
    """Save the toy model with the head of a task, untrained, and return its directory."""

    def model(task: Task, name: str = "model", seed: int = 0) -> Path:
        source = toy_directory / "model"
        untrained = load_model(source, Heads(task=task.head()), seed)
        save_model(untrained, Tokenizer.load(source), tmp_path / name, "", task_values(task))
        return tmp_path / name

    return model


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "table.tsv").write_text(TABLE, encoding="utf-8")
    return tmp_path / "table.tsv"


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode("utf-8")), encoding="utf-8"))


def test_a_line_of_json_for_every_example_in_order(run_command: Any, save: Save, table: Path) -> None:
    code, out, err = run_command("predict", save(CLASSIFY), table)
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(found) == 3, err
    assert [one["id"] for one in found] == ["0", "1", "2"]
    assert all(one["label"] == max(one["probabilities"], key=one["probabilities"].get) for one in found)


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.txt", "the cat\n\n  \nthe moon\n", [1, 4]),
        ("a.csv", 'text\n"the\ncat"\n\n""\n  \nmoon\n', [2, 5, 6, 7]),
        ("a.tsv", "text\nthe cat\n\nthe moon\n", [2, 4]),
        ("a.jsonl", '\n{"text": "the cat"}\n\n{"text": ""}\n', [2, 4]),
        ("a.json", '[{"text": "the cat"},\n\n{"text": "moon"}]', [1, 3]),
    ],
)
def test_predictions_say_on_which_line_their_examples_begin(
    run_command: Any, save: Save, tmp_path: Path, name: str, content: str, lines: list[int]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    code, out, err = run_command("predict", save(CLASSIFY), tmp_path / name)
    assert code == 0, err
    assert [json.loads(line)["line"] for line in out.splitlines()] == lines
    assert [json.loads(line)["id"] for line in out.splitlines()] == [str(number) for number in range(len(lines))]


def test_tagged_sentences_say_so_too(run_command: Any, save: Save, tmp_path: Path) -> None:
    (tmp_path / "words.conll").write_text("\nthe\ncat\n\n\nmoon\n", encoding="utf-8")
    _, out, err = run_command("predict", save(TAG, "tagger"), tmp_path / "words.conll")
    assert [json.loads(line)["line"] for line in out.splitlines()] == [2, 6], err


@pytest.mark.parametrize(
    ("name", "content", "flags", "n_lines", "predicted"),
    [
        ("a.txt", "\nthe cat\n\n  \nthe moon\n\n\n", (), 7, [2, 5]),
        ("a.tsv", "text\tn\nthe cat\t1\nbroken\nthe moon\t2\n", ("--skip-broken",), 4, [2, 4]),
        ("a.csv", "text\nthe cat\n", (), 2, [2]),
    ],
)
def test_as_many_records_as_lines(
    run_command: Any,
    save: Save,
    tmp_path: Path,
    name: str,
    content: str,
    flags: tuple[str, ...],
    n_lines: int,
    predicted: list[int],
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    code, out, err = run_command("predict", save(CLASSIFY), tmp_path / name, "--every-line", *flags)
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [record["line"] for record in records] == list(range(1, n_lines + 1)), err
    assert [record["line"] for record in records if "label" in record] == predicted


def test_the_likeliest_alone(run_command: Any, save: Save, table: Path) -> None:
    model = save(CLASSIFY)
    _, out, _ = run_command("predict", model, table)
    wanted = [max(record["probabilities"].items(), key=lambda pair: pair[1]) for record in map(json.loads, out.splitlines())]
    _, out, err = run_command("predict", model, table, "--top-k", "1")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(top["label"], top["probability"]) for record in found for top in record["top"]] == wanted, err
    assert all("probabilities" not in record for record in found)
    code, _, err = run_command("predict", save(TAG, "tagger"), table, "--words-key", "sentence", "--top-k", "1")
    assert code == 2 and "--top-k is for models that say how likely each of several answers is" in err
    code, _, err = run_command("predict", model, table, "--top-k", "1", "--submission")
    assert code == 2 and "--submission has a form of its own" in err


def test_a_column_of_ids(run_command: Any, save: Save, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,id,key\nthe cat,1,a\nthe moon,2,b\n", encoding="utf-8")
    model = save(CLASSIFY)
    for flags, ids in [((), ["1", "2"]), (("--id", "key"), ["a", "b"]), (("--id", "3"), ["a", "b"])]:
        _, out, err = run_command("predict", model, tmp_path / "a.csv", *flags)
        assert [json.loads(line)["id"] for line in out.splitlines()] == ids, err
    code, _, err = run_command("predict", model, tmp_path / "a.csv", "--id", "kee")
    assert code == 1 and "has no column 'kee'; did you mean 'key'?" in err


@pytest.mark.parametrize("flags", [(), ("--top-k", "2", "--every-line")])
def test_a_table_of_predictions(run_command: Any, save: Save, tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "a.csv").write_text('text,id\nthe cat,"好,""x"""\n\nthe moon,2\n', encoding="utf-8")
    model = save(CLASSIFY)
    code, out, err = run_command("predict", model, tmp_path / "a.csv", "--out", tmp_path / "found.csv", *flags)
    assert (code, out) == (0, ""), err
    assert (tmp_path / "found.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with (tmp_path / "found.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    _, out, _ = run_command("predict", model, tmp_path / "a.csv", *flags)
    records = [json.loads(line) for line in out.splitlines()]
    assert [row["line"] for row in rows] == [str(record["line"]) for record in records]
    assert [row["id"] for row in rows if row["id"]] == ['好,"x"', "2"]
    names = {"top.1.label", "top.1.probability", "top.2.label"} if flags else {"probabilities.blue", "probabilities.red"}
    assert names <= rows[0].keys()


def test_standard_input_in_a_file_out(
    run_command: Any, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Path
) -> None:
    model = save(CLASSIFY)
    stdin(monkeypatch, "".join(line.partition("\t")[0] + "\n" for line in TABLE.splitlines()[1:]))
    assert run_command("predict", model, "-", "--format", "txt", "--out", tmp_path / "found.jsonl")[:2] == (0, "")
    _, out, _ = run_command("predict", model, table)
    labels = [json.loads(line)["label"] for line in (tmp_path / "found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert labels == [json.loads(line)["label"] for line in out.splitlines()]


def test_the_file_that_is_read_is_not_replaced(run_command: Any, save: Save, table: Path) -> None:
    before = table.read_bytes()
    code, _, err = run_command("predict", save(CLASSIFY), table, "--out", table)
    assert code == 2 and "is the file that is read; name another" in err
    assert table.read_bytes() == before


def test_nothing_is_left_of_predictions_that_failed(run_command: Any, save: Save, tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text('{"text": "the cat"}\n{"text": \n', encoding="utf-8")
    code, out, err = run_command("predict", save(CLASSIFY), tmp_path / "broken.jsonl", "--out", tmp_path / "found.jsonl")
    assert (code, out) == (1, "") and "broken.jsonl:2" in err
    assert not list(tmp_path.glob("*found*"))


def test_submissions_have_the_form_of_their_benchmark(run_command: Any, save: Save, table: Path, tmp_path: Path) -> None:
    code, out, _ = run_command("predict", save(CLASSIFY), table, "--submission")
    head, *rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0 and head == ["index", "prediction"] and [row[0] for row in rows] == ["0", "1", "2"]
    (tmp_path / "words.conll").write_text("the\ncat\n\nmoon\n\n", encoding="utf-8")
    code, out, _ = run_command("predict", save(TAG, "tagger"), tmp_path / "words.conll", "--submission")
    assert code == 0 and [line.split(" ")[0] for line in out.splitlines()] == ["the", "cat", "", "moon", ""]


def test_scores_with_intervals(run_command: Any, save: Save, table: Path) -> None:
    code, out, err = run_command("evaluate", save(CLASSIFY), table, "--json", "--rounds", "200")
    found = json.loads(out)
    assert code == 0 and found["examples"] == 3 and found["precision"] in ("float32", "bf16"), err
    accuracy = found["scores"]["accuracy"]
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1


def test_a_model_against_itself_differs_by_nothing(run_command: Any, save: Save, table: Path) -> None:
    model = save(CLASSIFY)
    code, out, err = run_command("evaluate", model, table, "--against", model, "--json", "--rounds", "200")
    found = json.loads(out)
    assert code == 0 and found["difference"]["difference"] == 0 and found["difference"]["p_value"] == 1, err
    code, out, _ = run_command("evaluate", model, table, "--against", model, "--rounds", "200", "--precision", "float32")
    assert out.startswith("3 examples, computed in float32\n")
    assert code == 0 and "accuracy" in out


@pytest.mark.parametrize(
    ("verb", "name", "content", "flags", "code", "message"),
    [
        ("evaluate", "table.tsv", TABLE.replace("label", "colour"), [], 1, "say which with --label"),
        ("evaluate", "table.tsv", TABLE.replace("\tblue", "\tgreen"), [], 1, "table.tsv:3"),
        ("evaluate", "table.tsv", "sentence\tlabel\n", [], 1, "table.tsv"),
        ("evaluate", "table.txt", "the cat\n", [], 1, "table.txt"),
        ("predict", "table.tsv", "", [], 1, "table.tsv holds no rows"),
        ("predict", "table.tsv", TABLE, ["--text", "words"], 1, "choose one with --text"),
        (
            "predict",
            "table.tsv",
            TABLE,
            ["--tag-column", "2"],
            2,
            "--tag-column means nothing to a model of the task 'classify'",
        ),
        ("predict", "table.tsv", TABLE, ["--tag-column", "0"], 2, "greater than or equal to 1"),
        ("predict", "table.pdf", TABLE, [], 1, "table.pdf"),
    ],
)
def test_files_refused(
    run_command: Any, save: Save, tmp_path: Path, verb: str, name: str, content: str, flags: list[str], code: int, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found, out, err = run_command(verb, save(CLASSIFY), tmp_path / name, *flags)
    assert (found, out) == (code, "") and "Traceback" not in err
    assert message in err[err.index("error: ") :]


def test_models_refused(run_command: Any, save: Save, table: Path, toy_directory: Path, tmp_path: Path) -> None:
    for verb in ("predict", "evaluate"):
        code, out, err = run_command(verb, toy_directory / "model", table)
        assert (code, out) == (1, "") and "bertsmith finetune" in err
        code, out, err = run_command(verb, tmp_path / "nowhere", table)
        assert (code, out) == (1, "") and "nowhere is not a directory" in err
    tagger = save(TAG, "tagger")
    code, out, err = run_command("evaluate", tagger, table)
    assert (code, out) == (1, "") and "table.tsv:1: the label 'label' is not among those learnt" in err
    code, out, err = run_command("evaluate", save(CLASSIFY), table, "--against", save(Regress(max_length=32), "regress"))
    assert (code, out) == (1, "") and "are not of the same task with the same labels and scores" in err


def test_weights_that_are_no_numbers(run_command: Any, save: Save, table: Path) -> None:
    model = save(CLASSIFY)
    tensors = safetensors.torch.load_file(model / WEIGHTS)
    safetensors.torch.save_file({name: torch.full_like(one, torch.nan) for name, one in tensors.items()}, model / WEIGHTS)
    (model / "manifest.json").unlink(missing_ok=True)
    for verb, flags in (("predict", []), ("predict", ["--submission"]), ("evaluate", [])):
        code, _, err = run_command(verb, model, table, *flags)
        assert code == 1 and "NaN" in err and "Traceback" not in err, verb

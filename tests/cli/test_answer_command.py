"""``bertsmith answer``: documents in, answers out that stand where they are said to; refusals in one line.

The model knows its answers by heart: they begin with "red" or 北 and end with "house" or 京.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bertsmith.artifacts.directory import save_model
from bertsmith.inference.pipelines import TaskPipeline
from bertsmith.model.bert import Bert, Heads, initialise, uninitialised
from bertsmith.model.model_config import ModelConfig
from bertsmith.retrieval.passages import Passage
from bertsmith.retrieval.reading import DocumentReader
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.bm25 import WordIndex
from bertsmith.text.tokenizer import Tokenizer

SCORES = {"red": (6.0, 0.0), "blue": (3.0, 0.0), "house": (0.0, 6.0), "tree": (0.0, 4.0), "北": (6.0, 0.0), "京": (0.0, 6.0)}
WORDS = [*SCORES, *["the", "who", "lives", "in", "a", "is", "where", "住", "在", "人", "哪", "里", ".", "?"]]
Save = Callable[..., Path]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.build(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], lowercase=True)


@torch.no_grad()
def _model(tokenizer: Tokenizer, task: Task, scores: dict[str, tuple[float, ...]]) -> Bert:
    """A model that scores each token by a table, whatever stands around it."""
    config = ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size, width=32, n_layers=1, n_heads=2, feed_forward_width=32, max_positions=64
    )
    model = uninitialised(config, Heads(task=task.head()))
    initialise(model, 0)
    for weight in (model.encoder.embeddings.position.weight, model.encoder.embeddings.segment.weight):
        weight.zero_()
    for layer in model.encoder.layers:
        layer.attention.output.weight.zero_()
        layer.feed_forward_out.weight.zero_()
    model.encoder.embeddings.token.weight.copy_(torch.eye(tokenizer.vocabulary_size, config.width))
    model.task.spans.weight.zero_()
    for token, row in scores.items():
        model.task.spans.weight[:, tokenizer.id(token)] = torch.tensor(row)
    return model


@pytest.fixture
def save(tokenizer: Tokenizer, tmp_path: Path) -> Save:
    def saved(name: str = "reader", scores: dict[str, tuple[float, ...]] = SCORES, **settings: Any) -> Path:
        usual = {"scorer": "squad", "has_no_answers": False, "max_length": 24, "stride": 8, "max_question": 8}
        task = Answer(**{**usual, **settings})
        save_model(_model(tokenizer, task, scores), tokenizer, tmp_path / name, "", task_values(task))
        return tmp_path / name

    return saved


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "english.txt").write_text(
        "Who?\n\n  The king lives in a\nRED\nhouse.\n\nA blue tree is in it.\n", encoding="utf-8"
    )
    (folder / "chinese.md").write_text("# 人\n\n人住在北京。人在哪里？\n", encoding="utf-8")
    (folder / "table.jsonl").write_text('{"text": "zzz"}\n{"text": " A blue house lives."}\n', encoding="utf-8")
    return folder


def _source(found: dict[str, Any]) -> str:
    """Return the text of the document that an answer names."""
    path, _, line = found["document"].partition(".jsonl:")
    if not line:
        return Path(path).read_text(encoding="utf-8")
    text: str = json.loads(Path(f"{path}.jsonl").read_text(encoding="utf-8").splitlines()[int(line) - 1])["text"]
    return text


def test_answers_from_a_folder(run_command: Any, save: Save, documents: Path) -> None:
    code, out, err = run_command(
        "answer", save(), "--documents", documents, "who lives in a house?", "人在哪里？", "--json", "--top", 3
    )
    assert code == 0, err
    english, chinese = map(json.loads, out.splitlines())
    assert (english["question"], english["answer"], english["no_answer"]) == ("who lives in a house?", "RED\nhouse", 0.0)
    assert chinese["answer"] == "北京"
    for reply in (english, chinese):
        assert len(reply["answers"]) == 3
        probabilities = [one["probability"] for one in reply["answers"]]
        assert probabilities == sorted(probabilities, reverse=True)
        for one in reply["answers"]:
            assert _source(one)[one["start"] : one["end"]] == one["text"]
    best = english["answers"][0]
    assert (Path(best["document"]).name, best["paragraph"]) == ("english.txt", 2)
    assert {Path(one["document"]).name for one in english["answers"]} >= {"english.txt", "table.jsonl:2"}
    assert (Path(chinese["answers"][0]["document"]).name, chinese["answers"][0]["paragraph"]) == ("chinese.md", 2)


def test_lines_to_read(run_command: Any, save: Save, documents: Path) -> None:
    code, out, _ = run_command("answer", save(has_no_answers=True), "--documents", documents, "who lives?", "--top", 1)
    question, none, best = out.splitlines()
    assert (code, question) == (0, "who lives?")
    assert none.endswith("%  (no answer)")
    assert best.endswith(f"%  RED house  [{documents}/english.txt, paragraph 2, characters 28 to 37]")


def test_questions_of_standard_input(run_command: Any, save: Save, documents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "\nwho lives?\n \n人在哪里？\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode()), encoding="utf-8"))
    code, out, _ = run_command("answer", save(), "--documents", documents, "--json")
    assert (code, [json.loads(line)["answer"] for line in out.splitlines()]) == (0, ["RED\nhouse", "北京"])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n \n"), encoding="utf-8"))
    code, out, err = run_command("answer", save("other"), "--documents", documents)
    assert (code, out) == (1, "") and "standard input holds no question; write one a line" in err


def test_no_answer(run_command: Any, save: Save, documents: Path) -> None:
    sure = {**SCORES, "[CLS]": (9.0, 9.0)}
    code, out, _ = run_command(
        "answer", save(scores=sure, has_no_answers=True), "--documents", documents, "who lives?", "--json"
    )
    reply = json.loads(out)
    assert (code, reply["answer"]) == (0, "")
    assert reply["no_answer"] > 0.9
    assert reply["answers"][0]["text"] == "RED\nhouse"
    _, out, _ = run_command("answer", save("other"), "--documents", documents, "quite unheard of", "--json")
    assert json.loads(out) == {"question": "quite unheard of", "answer": "", "no_answer": 1.0, "answers": []}


@pytest.fixture
def vectors(toy_directory: Path, tmp_path: Path) -> Path:
    """A directory of the toy encoder without heads."""
    from bertsmith.artifacts.directory import load_model

    source = toy_directory / "model"
    save_model(load_model(source, Heads()), Tokenizer.load(source), tmp_path / "vectors", "")
    return tmp_path / "vectors"


def test_passages_found_by_vectors(run_command: Any, save: Save, documents: Path, vectors: Path) -> None:
    code, out, err = run_command(
        "answer", save(), "--documents", documents, "--retriever", vectors, "--json", "quite unheard of"
    )
    assert (code, json.loads(out)["answer"] in ("RED\nhouse", "北京")) == (0, True), err


def test_a_ranker_chooses_what_is_read(save: Save) -> None:
    passages = [Passage(text, "a.txt", n, 0) for n, text in enumerate(("a red house", "a blue house", "a tree"), 1)]
    finder = WordIndex([passage.text for passage in passages])
    seen = []

    def rank(question: str, texts: list[str]) -> list[float]:
        seen.append((question, texts))
        return [float("blue" in text) for text in texts]

    pipe = TaskPipeline.load(save())
    assert DocumentReader(pipe, passages, finder)("a house").answer == "red house"
    assert DocumentReader(pipe, passages, finder, rank, n_read=1)("a house").answer == "blue house"
    assert seen == [("a house", ["a red house", "a blue house", "a tree"])]


def test_a_model_that_ranks(run_command: Any, save: Save, documents: Path, toy_directory: Path, tmp_path: Path) -> None:
    from bertsmith.artifacts.directory import load_model

    source, task = toy_directory / "model", Rank(max_length=32)
    ranker = load_model(source, Heads(task=task.head()))
    save_model(ranker, Tokenizer.load(source), tmp_path / "ranker", "", task_values(task))
    reader = save()
    code, out, err = run_command("answer", reader, "--documents", documents, "--ranker", tmp_path / "ranker", "--json", "who?")
    assert (code, len(json.loads(out)["answers"]) > 0) == (0, True), err
    code, out, err = run_command(
        "answer", reader, "--documents", documents, "--ranker", tmp_path / "ranker", "--json", "quite unheard of"
    )
    assert (code, json.loads(out)["no_answer"]) == (0, 1.0), err
    code, _, err = run_command("answer", reader, "--documents", documents, "--ranker", reader, "who?")
    assert code == 1 and "is a model of the task 'answer'; one of 'rank' is needed here" in err


def test_refusals(run_command: Any, save: Save, documents: Path, toy_directory: Path, tmp_path: Path) -> None:
    reader = save()
    headless = toy_directory / "model"
    (tmp_path / "empty").mkdir()
    for arguments, code, message in (
        ((reader, "--documents", documents, " "), 2, "a question is empty"),
        ((reader, "--documents", documents, "--ranked", "5", "who?"), 2, "name it with --ranker"),
        ((reader, "--documents", tmp_path / "empty", "who?"), 1, "holds no text to look for answers in"),
        ((reader, "--documents", tmp_path / "nowhere", "who?"), 1, "does not exist"),
        ((headless, "--documents", documents, "who?"), 1, "a model without the head of a known task; fine-tune it first"),
        ((reader, "--documents", documents, "--retriever", tmp_path / "empty", "who?"), 1, "is not a model directory"),
        ((reader, "--documents", documents / "table.jsonl", "--field", "body", "who?"), 1, "no column 'body'"),
    ):
        found, _, err = run_command("answer", *arguments)
        assert (found, message in err) == (code, True), err


def test_a_model_that_says_nan_is_refused(run_command: Any, save: Save, documents: Path) -> None:
    broken = save(scores={**SCORES, "[CLS]": (float("nan"), 0.0), "house": (float("nan"), 0.0)})
    code, out, err = run_command("answer", broken, "--documents", documents, "who lives?")
    assert (code, out) == (1, "") and "NaN" in err


# Training and reading with several paragraphs, on the command line.


def test_finetune_and_evaluate_with_paragraphs(run_command: Any, save: Save, tmp_path: Path) -> None:
    paragraphs = [
        {
            "context": f"the {color} house.",
            "qas": [{"id": color, "question": f"where is {color}?", "answers": [{"text": color, "answer_start": 4}]}],
        }
        for color in ("red", "blue", "king")
    ]
    (tmp_path / "squad.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    data, out = tmp_path / "squad.json", tmp_path / "run"
    code, _, err = run_command(
        *("finetune", "answer", "--model", save(), "--train", data, "--dev", data, "--out", out),
        *("--paragraphs", 2, "--candidates", "all", "--epochs", 2, "--max-length", 24, "--stride", 8, "--precision", "float32"),
    )
    assert code == 0, err
    settings = json.loads((out / "final" / "task.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["paragraphs"], settings["candidates"]) == (2, "all")
    for candidates, numbers in ((1, {1: 1, 2: 2, 3: 3}), ("all", None)):
        code, found, err = run_command("predict", out / "final", data, "--candidates", candidates)
        assert code == 0, err
        for number, line in enumerate(found.splitlines(), 1):
            record = json.loads(line)
            assert record["paragraph"] == number if numbers else record["paragraph"] in (1, 2, 3)
            assert {span["paragraph"] for span in record["spans"]} <= ({number} if numbers else {1, 2, 3})
    code, found, err = run_command("evaluate", out / "final", data, "--candidates", "all", "--json")
    assert (code, json.loads(found)["examples"]) == (0, 3), err


def test_candidates_are_for_answers(run_command: Any, toy_directory: Path, tmp_path: Path) -> None:
    from bertsmith.artifacts.directory import load_model

    source, task = toy_directory / "model", Rank(max_length=32)
    model = load_model(source, Heads(task=task.head()))
    save_model(model, Tokenizer.load(source), tmp_path / "ranker", "", task_values(task))
    code, _, err = run_command("predict", tmp_path / "ranker", "a.tsv", "--candidates", "all")
    assert (code, err) == (2, "error: --candidates means nothing to a model of the task 'rank'\n")


def test_control_characters_in_an_answer(run_command: Any, save: Save, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The king lives in a red \x1bhouse.\x07\n", encoding="utf-8")
    _, out, _ = run_command("answer", save(), "--documents", tmp_path / "a.txt", "who lives?", "--top", 1)
    assert "  red ␛house  [" in out

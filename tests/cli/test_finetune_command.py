"""``bertsmith finetune`` as users meet it: the way from a file to a model, and refusals in one line that leave nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Finetune = Callable[..., tuple[int, str, str]]

ROWS = "".join(f"the {'cat' if number % 2 else 'king'} sees a song\t{number % 2}\n" for number in range(8))
TABLE = f"sentence\tlabel\n{ROWS}"
TAGGED = "the B-WHO\ncat I-WHO\nsees O\n\nsome O\nbread O\n\n"
CONTEXT = "the cat sees a song"


def swag(*rows: tuple[list[str], int]) -> str:
    return "".join(json.dumps({"prompt": "the cat", "choices": choices, "label": label}) + "\n" for choices, label in rows)


def squad(answer: str, start: int) -> str:
    question = {"id": "q1", "question": "sees", "answers": [{"text": answer, "answer_start": start}]}
    return json.dumps({"data": [{"title": "", "paragraphs": [{"context": CONTEXT, "qas": [question]}]}]})


CHOICES = swag((["sees", "likes"], 0), (["a song", "the moon", "some bread"], 2))
QUESTIONS = squad("the cat", 0)
RANKED = "question\tanswer\tlabel\nthe cat\tsees\t1\nthe cat\tlikes\t0\nthe moon\ta song\t0\nthe moon\tsees\t1\n"
USUAL = {
    "classify": ("tsv", TABLE),
    "multilabel": ("tsv", TABLE),
    "regress": ("tsv", TABLE),
    "tag": ("conll", TAGGED),
    "answer": ("json", QUESTIONS),
    "choose": ("jsonl", CHOICES),
    "rank": ("tsv", RANKED),
}


@pytest.fixture
def finetune(run_command: Any, toy_directory: Path, tmp_path: Path) -> Finetune:
    """Write the files and fine-tune the toy model on them; return exit code, standard output and standard error."""

    def run(task: str, train: str | bytes, dev: str | None, *flags: object, suffix: str | None = None) -> tuple[int, str, str]:
        usual_suffix, usual = USUAL[task]
        paths = [tmp_path / f"{name}.{suffix or usual_suffix}" for name in ("train", "dev")]
        for path, content in zip(paths, (train, usual if dev is None else dev), strict=True):
            path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        settings = ["--model", toy_directory / "model", "--train", paths[0], "--dev", paths[1], "--out", tmp_path / "run"]
        small = ["--max-length", "32", "--epochs", "1", "--device", "cpu", "--precision", "float32"]
        result: tuple[int, str, str] = run_command("finetune", task, *settings, *small, *flags)
        return result

    return run


@pytest.mark.parametrize("task", USUAL)
def test_from_a_file_to_a_model(finetune: Finetune, tmp_path: Path, run_command: Any, task: str) -> None:
    suffix, content = USUAL[task]
    code, out, err = finetune(task, content, None)
    assert (code, out) == (0, f"{tmp_path / 'run' / 'final'}\n"), err
    assert "| lr-0.0005-epochs-1-batch-32 |" in err and "These scores were computed in " in err
    code, out, err = run_command("predict", tmp_path / "run" / "final", tmp_path / f"dev.{suffix}")
    assert code == 0 and [json.loads(line) for line in out.splitlines()], err


REFUSED: list[Any] = [
    # Columns and rows.
    ("classify", TABLE.replace("label", "colour"), None, [], 1, "its columns are 'sentence', 'colour'; say which with --label"),
    ("classify", TABLE, None, ["--label", "colour"], 1, "train.tsv has no column 'colour'; its columns are 'sentence',"),
    ("classify", TABLE, None, ["--text", "sentense"], 1, "'sentence'"),
    ("classify", TABLE + "one field\n", None, [], 1, "train.tsv:10"),
    ("classify", b"sentence\tlabel\nthe c\xe9\t1\n", None, [], 1, "train.tsv:2: invalid UTF-8 at byte"),
    ("classify", "", None, [], 1, "train.tsv holds no rows"),
    ("classify", "sentence\tlabel\n", None, [], 1, "train.tsv"),
    ("classify", TABLE, "sentence\tlabel\n", [], 1, "dev.tsv"),
    # Labels.
    ("classify", TABLE, TABLE + "the moon\tred\n", [], 1, "dev.tsv:10"),
    ("classify", TABLE.replace("\t1", "\t0"), None, [], 1, "'0'"),
    ("classify", TABLE + "the moon\t\n", None, [], 1, "train.tsv:10"),
    ("regress", TABLE + "the moon\tred\n", None, [], 1, "train.tsv:10"),
    ("regress", TABLE + "the moon\tnan\n", None, [], 1, "train.tsv:10"),
    # Tags.
    ("tag", TAGGED + "moon\n\n", None, [], 1, "train.conll:8"),
    ("tag", TAGGED, TAGGED + "moon B-WHERE\n\n", [], 1, "dev.conll:8: the label 'B-WHERE' is not among those learnt"),
    ("tag", TAGGED, TAGGED + "moon where\n\n", [], 1, "dev.conll:8: the label 'where' is not among those learnt"),
    ("tag", "", None, [], 1, "train.conll"),
    ("tag", "the O\ncat O\n\n", None, [], 1, "the tag 'O'; two are needed"),
    ("tag", TAGGED, None, ["--decoder", "hmm"], 2, "hmm"),
    # Questions and choices.
    ("answer", squad("the dog", 0), None, [], 1, "train.json holds nothing to train on"),
    ("answer", "[]", None, [], 1, "train.json"),
    ("answer", QUESTIONS[:-5], None, [], 1, "train.json"),
    ("choose", swag((["sees", "likes"], 2)), None, [], 1, "train.jsonl:1"),
    ("choose", swag((["sees"], 0)), None, [], 1, "train.jsonl:1"),
    # Queries.
    ("rank", RANKED.replace("\t1", "\t0"), None, [], 1, "none of the 2 training queries has a relevant candidate"),
    ("rank", RANKED, RANKED.replace("\t1", "\t0"), [], 1, "dev.tsv:2, has a relevant candidate; give a --dev file"),
    ("rank", RANKED.replace("label", "colour"), None, [], 1, "say which with --query, --candidate and --label"),
    ("rank", RANKED + "the moon\tlikes\tred\n", None, [], 1, "train.tsv:6: the label 'label' is 'red'; write a number"),
    ("rank", RANKED + "\tlikes\t1\n", None, [], 1, "train.tsv:6: the query 'question' is ''; write a text"),
    ("rank", RANKED, None, ["--loss", "hinge"], 2, "hinge"),
    # Settings.
    ("classify", TABLE, None, ["--metric", "f2"], 2, "choose from"),
    ("regress", TABLE, None, ["--metric", "mse"], 2, "choose from"),
    ("classify", TABLE, None, ["--max-length", "65"], 2, "--max-length 65 is beyond the 64 positions"),
    ("classify", TABLE, None, ["--frozen-layers", "3"], 2, "the model has 2 layers"),
    ("classify", TABLE, None, ["--lr", "fast"], 2, "fast"),
    ("classify", TABLE, None, ["--decoder", "crf"], 2, "--decoder"),
    ("classify", TABLE, None, ["--model", "/nowhere"], 1, "/nowhere is not a directory"),
    ("classify", TABLE, None, ["--test", "/nowhere.tsv"], 1, "/nowhere.tsv does not exist"),
]


@pytest.mark.parametrize(("task", "train", "dev", "flags", "code", "message"), REFUSED)
def test_refused(
    finetune: Finetune,
    tmp_path: Path,
    task: str,
    train: str | bytes,
    dev: str | None,
    flags: list[str],
    code: int,
    message: str,
) -> None:
    found, out, err = finetune(task, train, dev, *flags)
    assert (found, out) == (code, ""), err
    assert message in " ".join(err.split()) and "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_files_of_glue_with_a_byte_order_mark_and_open_quotes(finetune: Finetune) -> None:
    table = '\ufeffsentence\tlabel\n"the cat sees\t1\nthe king" likes\t0\n'
    code, _, err = finetune("classify", table, table)
    assert code == 0 and "2 examples to train on, 2 to choose by; 2 labels" in err


def test_texts_of_nothing_are_left_out_and_counted(finetune: Finetune) -> None:
    code, _, err = finetune("classify", TABLE + "  \t1\n", None)
    assert code == 0 and "8 examples to train on" in err
    assert "train.tsv" in err[: err.index("8 examples")] and "empty" in err


def test_texts_that_tokenise_to_nothing_are_examples_like_others(finetune: Finetune) -> None:
    code, _, err = finetune("classify", TABLE + "\u200b\t1\n", None)
    assert code == 0 and "9 examples to train on" in err


def test_answers_that_do_not_stand_where_they_are_said_to_are_counted_and_listed(finetune: Finetune) -> None:
    paragraphs = json.loads(QUESTIONS)
    qas = paragraphs["data"][0]["paragraphs"][0]["qas"]
    qas.append({"id": "astray", "question": "likes", "answers": [{"text": "a song", "answer_start": 3}]})
    code, _, err = finetune("answer", json.dumps(paragraphs), None)
    assert code == 0 and "1 (questions astray)" in err


def test_illegal_tags_are_counted_and_read_as_conlleval_reads_them(finetune: Finetune) -> None:
    code, _, err = finetune("tag", TAGGED + "some O\nbread I-WHO\nsees B-WHO\n\n", None)
    assert code == 0 and "1 sentence(s) break the rules of iob2" in err


def test_an_unknown_task(run_command: Any) -> None:
    code, out, err = run_command("finetune", "clasify")
    assert (code, out) == (2, "") and "did you mean 'classify'?" in err
    code, out, err = run_command("finetune", "--model", "x")
    assert (code, out) == (2, "") and "the tasks are classify, multilabel" in err


def test_several_numbers_from_a_file_to_predictions(finetune: Finetune, tmp_path: Path, run_command: Any) -> None:
    rows = "".join(f"the {'cat' if number % 2 else 'king'} sees a song,{number},{-number % 5}\n" for number in range(8))
    content = f"text,mood,length\n{rows}"
    code, _, err = finetune("regress", content, content, "--labels", "length,mood", suffix="csv")
    assert code == 0, err
    code, out, err = run_command("evaluate", tmp_path / "run" / "final", tmp_path / "dev.csv", "--rounds", "100", "--json")
    assert {"spearman", "mood/spearman", "length/spearman"} <= json.loads(out)["scores"].keys(), err
    _, out, err = run_command("predict", tmp_path / "run" / "final", tmp_path / "dev.csv")
    assert [list(json.loads(line)["scores"]) for line in out.splitlines()] == [["length", "mood"]] * 8, err
    dev = [json.loads(line) for line in (tmp_path / "run" / "dev-predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert dev[3]["gold"] == {"length": 2.0, "mood": 3.0} and dev[3]["loss"] > 0


def test_a_file_without_names_of_columns_from_training_to_predictions(
    finetune: Finetune, tmp_path: Path, run_command: Any
) -> None:
    content = "".join(f"the cat\tsees a {'song' if number % 2 else 'moon'}\t{number % 2}\n" for number in range(8))
    code, _, err = finetune("classify", content, content, suffix="txt")
    assert code == 0 and "is read as --text 1 --pair 2 --label 3" in err
    assert "8 examples to train on" in err
    for flags in ((), ("--no-header", "--text", "1", "--pair", "2", "--format", "tsv")):
        _, out, err = run_command("predict", tmp_path / "run" / "final", tmp_path / "dev.txt", *flags)
        assert [json.loads(line)["line"] for line in out.splitlines()] == list(range(1, 9)), err

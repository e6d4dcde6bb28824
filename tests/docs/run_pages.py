"""Every block of the pages, in order, with tiny models and files: ``make pages`` runs it, since it takes a minute or two.

What a page expects to be there is made for it: files of the names that it uses, and models. Sizes, budgets and grids are made
small. What installs something, serves a page or starts several processes is passed over.
"""

import gzip
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.cli import main
from bertsmith.model.bert import PRETRAINING, Heads, initialise, uninitialised
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
# The example of your-own-task.md has a test of its own.
PAGES = [
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "your-own-task.md"),
]
PASSED_OVER = re.compile(r"(pip|make|torchrun) |bertsmith (inspect (?!.*--out)|doctor|--help)")
SMALL = [
    (r"--budget \S+", "--budget 1s"),
    (r"--steps \d+", "--steps 2"),
    (r"--size \d+", "--size 150"),
    (r"--model base\b", "--model mini"),
    (r"--word (bank|苹果)", "--word moon"),
    (r"--(finetune-)?epochs \S+", r"--\1epochs 1"),
    (r"--seeds \d+", "--seeds 2"),
    (r"--max-length (512|128)", "--max-length 64"),
    (r"--lengths [\d ]+", "--lengths 16"),
    (r"--batch-tokens \d+", "--batch-tokens 512"),
    (r"--accumulation \d+", "--accumulation 1"),
    (r"(bertsmith bench \S+)", r"\1 --seconds 0.05 --precision float32"),
    (r"(bertsmith compare features.*)", r"\1 --variants last fine-tuned --epochs 1 --finetune-epochs 1 --seeds 1"),
    (r"(bertsmith (evaluate) \S+ \S+)", r"\1 --rounds 100"),
]
TASKS: dict[str, Task] = {
    "sentiment": Classify(labels=("0", "1"), max_length=32),
    "ner": Tag(labels=("O", "B-WHO", "I-WHO"), scheme="iob2", units="words", max_length=32),
    "squad": Answer(max_length=64, scorer="squad", has_no_answers=True),
    "reader": Answer(max_length=64, scorer="squad", has_no_answers=True),
    "ranker": Rank(max_length=32),
}
BARE_MODELS = ("some-bert", "MODEL", "OTHER_MODEL", "all-MiniLM-L6-v2", "minilm", "encoder", "编码器")


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(python|console|toml)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(block: str) -> Iterator[tuple[str, bool]]:
    """Yield the commands of a block, those behind ``$`` where there is output too, and whether an error is shown below."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    shown = [place for place, line in enumerate(lines) if line.startswith("$ ")] or range(len(lines))
    for place in shown:
        command = re.sub(r"\s+#\s.*", "", lines[place].removeprefix("$ ")).strip()
        for pattern, small in SMALL:
            command = re.sub(pattern, small, command)
        if command and not PASSED_OVER.match(command):
            yield command, any(line.startswith("error: ") for line in lines[place + 1 : place + 2])


def execute(command: str, is_refused: bool) -> None:
    """Run a command as a shell would, bertsmith in this process; ``cat``, ``<`` and ``>`` give and take."""
    if "bertsmith " not in command:
        subprocess.run(["bash", "-c", command], check=True)
        return
    piped, _, command = command.rpartition(" | ")
    words = shlex.split(command)
    given, out = b"", None
    if piped:
        given = Path(shlex.split(piped)[1]).read_bytes()
    for sign in ("<", ">"):
        if sign in words:
            place = words.index(sign)
            given, out = (Path(words[place + 1]).read_bytes(), out) if sign == "<" else (given, Path(words[place + 1]))
            del words[place : place + 2]
    sys.stdin = TextIOWrapper(BytesIO(given))
    with redirect_stdout(StringIO()) as printed:
        try:
            code = main.run(words[1:])
        except SystemExit as leaving:
            code = leaving.code
    assert (code != 0) == is_refused, f"{command}: exit code {code}"
    if out is not None:
        out.write_text(printed.getvalue(), encoding="utf-8")


# What is there before the first block of a page, by what it holds.
FILES = {
    "text": "reviews.txt.gz notes.txt texts.txt candidates.txt big.txt lines.txt queries.txt questions.txt sts.txt "
    "hallelujah.txt brown.txt.gz 新闻.txt.gz 评论.txt.gz 笔记.txt 文本.txt 候选.txt",
    "classify": "train.tsv dev.tsv test.tsv new.tsv sst2-train.tsv sst2-dev.tsv 新数据.tsv",
    "tag": "train.txt dev.txt conll-train.txt conll-dev.txt train.conll dev.conll test.conll new.conll "
    "eng.train eng.testa eng.testb",
    "embed": "pairs.tsv sts-dev.tsv 句对.tsv",
    "queries": "WikiQA-train.tsv train.tsv.gz 问答.tsv",
    "unnamed": "lcqmc.tsv",
    "squad": "squad.json train.json dev.json test.json DRCD.json",
    "quiz": "quiz.csv",
    "stars": "reviews.csv reviews.csv.gz",
    "records": "big.jsonl notes/a.jsonl",
    "words": "WS-353.txt SimLex-999.txt EN-RG-65.txt EN-WS-353-ALL.txt EN-SIMLEX-999.txt EN-MEN-TR-3k.txt",
    "tasks": "tasks.toml",
    "documents": "TEXT/a.txt handbook/a.txt 手册/a.txt notes/b.txt",
}
ELSEWHERE = {"ranking.md": {"dev.tsv": "queries"}}
TASKS_FILE = """
model = "run/final"
out = "several"
epochs = [1]
tasks.one = { kind = "classify", train = "train.tsv" }
tasks.two = { kind = "tag", train = "train.txt" }
"""


@pytest.fixture(scope="module")
def contents(toy_directory: Path, toy_data: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What files of each kind hold."""
    folder = tmp_path_factory.mktemp("contents")
    text = (toy_directory / "text.txt").read_text(encoding="utf-8")[:20_000]
    lines = [line for line in text.splitlines() if line]
    labelled = {
        kind: Path(toy_data(kind, folder / kind, 24, 8)["train"]).read_text("utf-8") for kind in ("classify", "tag", "embed")
    }
    queries = "".join(f"{lines[n // 4]}\t{lines[n]}\t{int(n % 4 == 0)}\n" for n in range(32))
    paragraphs = [
        {"context": line, "qas": [{"id": str(n), "question": line[-20:], "answers": [{"text": line[:7], "answer_start": 0}]}]}
        for n, line in enumerate(lines[:8])
    ]
    words = ["cat", "moon", "bread", "song", "river"]
    return {
        "text": text,
        "documents": text,
        **labelled,
        "queries": f"query\tcandidate\tlabel\n{queries}",
        "unnamed": queries,
        "squad": json.dumps(
            {"data": [{"title": "one", "paragraphs": paragraphs[:4]}, {"title": "two", "paragraphs": paragraphs[4:]}]}
        ),
        "quiz": "text;asked;a;b;c;d;right\n"
        + "".join(f"{line};which?;one;two;three;four;{n % 4}\n" for n, line in enumerate(lines[:24])),
        "stars": "body,stars\n" + "".join(f"{line},{n % 3}\n" for n, line in enumerate(lines[:24])),
        "records": "".join(json.dumps({"text": line, "sentence": line}) + "\n" for line in lines),
        "words": "".join(f"{one}\t{other}\t{n}\n" for n, (one, other) in enumerate(pairwise(words))),
        "tasks": TASKS_FILE,
    }


@pytest.fixture(scope="module")
def models(toy_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models by the names that pages give them."""
    folder = tmp_path_factory.mktemp("models")
    bare, tokenizer = folder / "bare", Tokenizer.load(toy_directory / "model")
    shape = load_model(toy_directory / "model").config.model_copy(update={"n_layers": 4, "max_positions": 512})
    model = uninitialised(shape, PRETRAINING)
    initialise(model, seed=1)
    save_model(model, tokenizer, bare)
    for name, task in TASKS.items():
        save_model(load_model(bare, Heads(task=task.head())), tokenizer, folder / name, "", task_values(task))
    return {**dict.fromkeys(BARE_MODELS, bare), **{f"{name}/final": folder / name for name in TASKS}}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(
    page: Path,
    contents: dict[str, str],
    models: dict[str, Path],
    toy_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", sys.stdin)  # which commands change
    in_page = page.read_text(encoding="utf-8")
    kinds = {name: kind for kind, names in FILES.items() for name in names.split()} | ELSEWHERE.get(page.name, {})
    for name, kind in kinds.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(gzip.compress(contents[kind].encode()) if name.endswith(".gz") else contents[kind].encode())
    made_here = set(re.findall(r"(?:--out |^out = \")([\w-]+)", in_page, re.MULTILINE))
    for name, model in models.items():
        if name.split("/")[0] not in made_here:
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).symlink_to(model)
    if "run" not in made_here:
        Path("run").mkdir()
        Path("run/final").symlink_to(models["MODEL"])
    if "corpus" not in made_here:
        Path("corpus").symlink_to(toy_directory / "corpus")
    names: dict[str, object] = {}
    for language, block in blocks(page):
        if language == "toml":
            Path("tasks.toml").write_text(block.replace("epochs = [2]", "epochs = [1]"), encoding="utf-8")
        elif language == "python":
            exec(block, names)
        else:
            for command, is_refused in commands(block):
                execute(command, is_refused)

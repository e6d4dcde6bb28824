"""What do 8 to 1,000 labelled rows teach, at the defaults of each tool?

    OMP_NUM_THREADS=1 python benchmarks/small_data.py DATA ENGLISH CHINESE --out DIR [--draws 10] [--rows 8 50 200 1000]
    python benchmarks/small_data.py DATA ENGLISH CHINESE --out DIR --report

DATA is laid out as benchmarks/finetuning.py says; ENGLISH (all-MiniLM-L6-v2) and CHINESE are model directories. Classes are 2
(SST-2, ChnSentiCorp), 10 and 150: sentences by the question that they may answer (WikiQA) or by the article that they stand
in (DRCD). A draw takes the rows to train on, and up to 400 others of the same classes to score, which no tool sees before.

Tools, each at its defaults with the same weights: bertsmith; transformers' Trainer; scikit-learn's logistic regression on the
frozen mean vectors; SetFit (where it is installed), stopped after 100 steps. All draws of a number come before the next, and
the same command goes on from what is in DIR/results.jsonl.
"""

import argparse
import csv
import gzip
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import Results

Row = tuple[str, str]
N_SCORED, SETFIT_STEPS = 400, 100


def main() -> None:
    """Run what has no result yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("english", type=Path)
    parser.add_argument("chinese", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 50, 200, 1000])
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 10, 150])
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--report", action="store_true", help="run nothing; print the table of what there is")
    arguments = parser.parse_args()
    results = Results(arguments.out / "results.jsonl")
    cells = [
        {"language": language, "classes": n_classes, "rows": n_rows}
        for n_rows in arguments.rows
        for n_classes in arguments.classes
        for language in ("en", "zh")
        if (n_rows >= n_classes or n_classes == 10) and (language, n_classes, n_rows) != ("en", 10, 1000)  # there are 295
    ]
    for draw in () if arguments.report else range(arguments.draws):
        for cell in cells:
            for tool in arguments.tools:
                key = {**cell, "tool": tool, "draw": draw}
                if not results.of(key):
                    model = arguments.english if cell["language"] == "en" else arguments.chinese
                    train, scored = _draw(arguments.data, cell, draw)
                    results.add({**key, "accuracy": TOOLS[tool](model, train, scored, draw)})
    _table(cells, results)


def _table(cells: Sequence[dict[str, Any]], results: Results) -> None:
    print(f"| language, classes, rows | draws | {' | '.join(TOOLS)} |\n|---|---:|{'---:|' * len(TOOLS)}")
    for cell in cells:
        by_tool = {tool: [100 * one["accuracy"] for one in results.of({**cell, "tool": tool})] for tool in TOOLS}
        texts = [
            f"{mean(of):.1f} ± {stdev(of):.1f}" if len(of) > 1 else f"{of[0]:.1f}" if of else "–" for of in by_tool.values()
        ]
        n_draws = max(map(len, by_tool.values()))
        print(f"| {cell['language']}, {cell['classes']}, {cell['rows']:,} | {n_draws} | {' | '.join(texts)} |")


# The data.


def _draw(data: Path, cell: dict[str, Any], draw: int) -> tuple[list[Row], list[Row]]:
    rows = list(SOURCES[cell["language"], cell["classes"] > 2](data))
    if cell["classes"] > 2:
        counts = Counter(label for _, label in rows)
        kept = {label for label, _ in counts.most_common(cell["classes"])}
        rows = [row for row in rows if row[1] in kept]
    rows = sorted(set(rows))
    random.Random(f"{cell} {draw}").shuffle(rows)
    train, rest = rows[: cell["rows"]], rows[cell["rows"] :]
    known = {label for _, label in train}
    return train, [row for row in rest if row[1] in known][:N_SCORED]


def _sst2(data: Path) -> Iterable[Row]:
    lines = gzip.decompress((data / "glue/SST-2/train.tsv.gz").read_bytes()).decode("utf-8").splitlines()[1:]
    return [(text, label) for text, label in (line.split("\t") for line in lines)]


def _chnsenticorp(data: Path) -> Iterable[Row]:
    lines = (data / "chnsenticorp/train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [(cells[1], cells[0]) for cells in (line.split("\t") for line in lines) if len(cells) == 2]


def _wikiqa(data: Path) -> Iterable[Row]:
    lines = gzip.decompress((data / "wikiqa/train.tsv.gz").read_bytes()).decode("utf-8").splitlines()[1:]
    cells = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return [(answer, f"q{number}") for number, _, answer, _ in cells]


def _drcd(data: Path) -> Iterable[Row]:
    for name in ("DRCD_dev.json", "DRCD_test.json"):
        for article in json.loads((data / "drcd" / name).read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                for sentence in re.split("(?<=[。！？])", paragraph["context"]):
                    if len(sentence) > 8:
                        yield sentence, article["title"]


SOURCES: dict[tuple[str, bool], Callable[[Path], Iterable[Row]]] = {
    ("en", False): _sst2,
    ("zh", False): _chnsenticorp,
    ("en", True): _wikiqa,
    ("zh", True): _drcd,
}

# The tools: from a model's directory, rows to train on and rows to score to the accuracy.


def _bertsmith(model: Path, train: Sequence[Row], scored: Sequence[Row], seed: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        paths = {}
        for name, rows in (("train", train), ("test", scored)):
            paths[name] = Path(directory) / f"{name}.csv"
            with paths[name].open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("text", "label"), *rows])
        # All rows are trained on, and the scored ones choose nothing.
        out = Path(directory) / "run"
        command = [sys.executable, "-m", "bertsmith", "finetune", "classify", "--model", model, "--out", out]
        command += ["--train", paths["train"], "--dev", paths["train"], "--test", paths["test"], "--seed", str(seed)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (result,) = out.glob("trials/*/result.json")
        return float(json.loads(result.read_text(encoding="utf-8"))["test"]["accuracy"])


def _transformers(model: Path, train: Sequence[Row], scored: Sequence[Row], seed: int) -> float:
    import numpy as np
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, logging

    logging.set_verbosity_error()
    labels = sorted({label for _, label in train})
    tokenizer = AutoTokenizer.from_pretrained(model)
    head = AutoModelForSequenceClassification.from_pretrained(model, num_labels=len(labels))

    def encoded(rows: Sequence[Row]) -> list[dict[str, Any]]:
        found = tokenizer([text for text, _ in rows], truncation=True, max_length=128)["input_ids"]
        return [{"input_ids": ids, "labels": labels.index(row[1])} for ids, row in zip(found, rows, strict=True)]

    with tempfile.TemporaryDirectory() as directory:
        settings = TrainingArguments(directory, seed=seed, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True)
        trainer = Trainer(head, settings, train_dataset=encoded(train), processing_class=tokenizer)  # type: ignore[arg-type]
        trainer.train()
        found = trainer.predict(encoded(scored))  # type: ignore[arg-type]
    return float((np.argmax(found.predictions, axis=1) == found.label_ids).mean())


def _logistic_regression(model: Path, train: Sequence[Row], scored: Sequence[Row], _seed: int) -> float:
    from sklearn.linear_model import LogisticRegression

    from bertsmith.inference.pipelines import VectorPipeline

    pipe = VectorPipeline.load(model)
    vectors = [pipe([text for text, _ in rows]) for rows in (train, scored)]
    labels = [[label for _, label in rows] for rows in (train, scored)]
    fitted = LogisticRegression(max_iter=1000).fit(vectors[0], labels[0])
    return float(fitted.score(vectors[1], labels[1]))


def _setfit(model: Path, train: Sequence[Row], scored: Sequence[Row], seed: int) -> float:
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    labels = sorted({label for _, label in train})
    data = [
        Dataset.from_dict({"text": [row[0] for row in of], "label": [labels.index(row[1]) for row in of]})
        for of in (train, scored)
    ]
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(model, Path(directory) / "model")
        settings = TrainingArguments(
            Path(directory) / "run", max_steps=SETFIT_STEPS, seed=seed, show_progress_bar=False, report_to="none"
        )
        trainer = Trainer(SetFitModel.from_pretrained(str(Path(directory) / "model")), settings, train_dataset=data[0])
        trainer.train()
        return float(trainer.evaluate(data[1])["accuracy"])


TOOLS: dict[str, Callable[[Path, Sequence[Row], Sequence[Row], int], float]] = {
    "bertsmith": _bertsmith,
    "transformers": _transformers,
    "logistic regression": _logistic_regression,
    "SetFit": _setfit,
}

if __name__ == "__main__":
    main()

"""Answers looked for in all paragraphs of an article, with and without shared normalisation, in training and in reading.

    python benchmarks/paragraphs.py TRAIN TEST MODEL --out DIR [--paragraphs 3] [--articles 18 12] [--seeds 3] [--json FILE]

TRAIN and TEST are files of SQuAD's form; where they are the same file, TEST is other articles of it. Only articles of several
paragraphs are taken, drawn at random, the same in every run. From MODEL two readers are trained per seed, everything else being
equal: on each question's own paragraph, and on ``--paragraphs`` of its article under one softmax. Each then reads

- the own paragraph alone: what a finder of paragraphs that never errs would give,
- that paragraph of the article which BM25 likes best, alone,
- all paragraphs of the article, each for itself: the answer that is most probable among its own paragraph's,
- all paragraphs of the article under one softmax.

Results go to DIR/results.jsonl as they come; the same command goes on from there.
"""

import argparse
import dataclasses
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Results
from finetuning import statistics_of

READINGS = {
    "own": "its own paragraph alone",
    "bm25": "BM25's first paragraph alone",
    "apart": "all, each for itself",
    "together": "all under one softmax",
}


def main() -> None:
    """Run what has no result yet and print a table."""
    arguments = _arguments()
    results = Results(arguments.out / "results.jsonl")
    train, test = _write_parts(arguments)
    for seed in range(arguments.seeds):
        for paragraphs in (1, arguments.paragraphs):
            key = {**_key(arguments), "paragraphs": paragraphs, "seed": seed}
            if not results.of(key):
                scores = _scores(_train(arguments, train, test, paragraphs, seed), test)
                for reading, values in scores.items():
                    results.add({**key, "reading": reading, "scores": values})
    rows = [
        _row(results.of({**_key(arguments), "paragraphs": paragraphs, "reading": reading}), paragraphs, reading)
        for paragraphs in (1, arguments.paragraphs)
        for reading in READINGS
    ]
    _print_table(rows)
    print(f"\nBM25's first paragraph is the right one for {_found(test):.1%} of the questions.")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--paragraphs", type=int, default=3)
    parser.add_argument("--articles", type=int, nargs=2, default=(18, 12), help="articles to train on and to test on")
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _key(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("train", "test", "model", "articles", "lr", "epochs", "max_length", "stride")
    values = {name: getattr(arguments, name) for name in names}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _write_parts(arguments: argparse.Namespace) -> list[Path]:
    """Write the articles to train and to test on, and return their files."""
    n_train, n_test = arguments.articles
    test_from = n_train if arguments.train == arguments.test else 0
    paths = []
    for name, source, start, n in (("train", arguments.train, 0, n_train), ("test", arguments.test, test_from, n_test)):
        articles = [one for one in json.loads(source.read_text(encoding="utf-8"))["data"] if len(one["paragraphs"]) > 1]
        random.Random(0).shuffle(articles)
        path = arguments.out / "data" / f"{name}-{n}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"version": "", "data": articles[start : start + n]}), encoding="utf-8")
        paths.append(path)
    return paths


def _train(arguments: argparse.Namespace, train: Path, test: Path, paragraphs: int, seed: int) -> Path:
    """Return the directory of a trained model; nothing is chosen by the test file."""
    out = arguments.out / f"paragraphs-{paragraphs}-seed-{seed}"
    flags = {
        "model": arguments.model,
        "train": train,
        "dev": test,
        "out": out,
        "lr": arguments.lr,
        "epochs": arguments.epochs,
        "batch-size": 16,
        "max-length": arguments.max_length,
        "stride": arguments.stride,
        "seed": seed,
        "paragraphs": paragraphs,
        "candidates": 1,
    }
    command = [sys.executable, "-m", "bertsmith", "finetune", "answer", *(f"--{name}={value}" for name, value in flags.items())]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return out / "final"


def _scores(model: Path, test: Path) -> dict[str, dict[str, float]]:
    """Return the scores of each way to read."""
    from bertsmith.tasks.files.questions import read_questions

    questions = list(read_questions(test, labelled=True))
    task, found = _read(model, questions)
    answers: dict[str, list[Any]] = {reading: [] for reading in READINGS}
    for question, (together, alone) in zip(questions, found, strict=True):
        answers["own"].append(alone[question.article.index(question.context)])
        answers["bm25"].append(alone[_first(question)])
        answers["apart"].append(max(alone, key=lambda one: one.spans[0].probability))
        answers["together"].append(together)
    return {reading: task.score(questions, found) for reading, found in answers.items()}


def _first(question: Any) -> int:
    """Return the place in its article of the paragraph that BM25 likes best."""
    from bertsmith.text.bm25 import WordIndex

    return (WordIndex(question.article).search(question.question, 1) or [0])[0]


def _found(test: Path) -> float:
    """Return the share of questions whose own paragraph BM25 likes best."""
    from bertsmith.tasks.files.questions import read_questions

    questions = list(read_questions(test, labelled=True))
    return sum(question.article[_first(question)] == question.context for question in questions) / len(questions)


def _read(model: Path, questions: Sequence[Any]) -> tuple[Any, list[tuple[Any, list[Any]]]]:
    """Return a model's task, and for each question the answer from all paragraphs and that from each alone."""
    from bertsmith.inference.pipelines import TaskPipeline
    from bertsmith.tasks.kinds.answer import Answer

    class BothWays(Answer):
        """Says of the same scores what they mean together and for each paragraph by itself."""

        def decode(self, examples: Any, samples: Any, logits: Any, head: Any) -> Any:
            found = []
            for question, own_samples, own_logits in zip(examples, samples, logits, strict=True):
                windows = list(zip(own_samples, own_logits, strict=True))
                parts = [
                    [window for window in windows if window[0].target[0].paragraph == number]
                    for number in range(1, len(question.article) + 1)
                ]
                (together,) = super().decode([question], [own_samples], [own_logits], head)
                alone = dataclasses.replace(question, candidates=())
                found.append((together, [super(BothWays, self).decode([alone], *_columns(part), head)[0] for part in parts]))
            return found

    pipe = TaskPipeline.load(model, precision="auto")
    both = TaskPipeline(BothWays(**pipe.task.model_dump()), pipe.tokenizer, pipe.engine)
    everywhere = [dataclasses.replace(question, candidates=tuple(range(len(question.article)))) for question in questions]
    return pipe.task, [found for _, found in both.predict(everywhere)]


def _columns(windows: Sequence[Any]) -> tuple[list[list[Any]], list[list[Any]]]:
    samples, logits = zip(*windows, strict=True)
    return [list(samples)], [list(logits)]


def _row(runs: Sequence[dict[str, Any]], paragraphs: int, reading: str) -> dict[str, Any]:
    figures = {metric: statistics_of(runs, metric) for metric in ("f1", "exact_match")}
    return {"paragraphs": paragraphs, "reading": reading, "seeds": len(runs), **figures}


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    print("| trained on | read | F1 | exact match | seeds |\n|---|---|---:|---:|---:|")
    for row in rows:
        trained = "its own paragraph" if row["paragraphs"] == 1 else f"{row['paragraphs']} paragraphs, one softmax"
        (_, f1, f1_spread), (_, match, match_spread) = row["f1"], row["exact_match"]
        figures = f"{f1:.1f} ± {f1_spread:.1f} | {match:.1f} ± {match_spread:.1f}"
        print(f"| {trained} | {READINGS[row['reading']]} | {figures} | {row['seeds']} |")


if __name__ == "__main__":
    main()

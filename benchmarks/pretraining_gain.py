"""What pre-training is worth: fine-tuning from pre-trained models against the same architecture with random weights.

    python benchmarks/pretraining_gain.py DATA ENGLISH CHINESE --out DIR [--tasks sst2 …] [--seeds 3] [--json FILE]

DATA holds the public sets in their original files, laid out as the table of tasks below names them; ENGLISH and CHINESE are
directories of pre-trained models. Each task trains with bertsmith on a part of its training file, the same in every run, once
from the pre-trained model and once from random weights with the same sizes, vocabulary and settings; random weights are drawn
anew for each seed. Results go to DIR/results.jsonl as they come; the same command goes on from there.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import Results
from finetuning import TASKS as PARITY_TASKS
from finetuning import Task, add_shared_arguments, finetune, statistics_of, write_parts

DRCD = {"batch_size": 16, "max_length": 512, "stride": 256}
USUAL = {"learning_rate": 1e-4, "batch_size": 32, "longest": None}
FAKE_NEWS = "fake_news_pair/train-small.csv"
TASKS = {
    "sst2": replace(PARITY_TASKS["sst2"], sizes=(3000, 872), batch_size=32, learning_rate=5e-4),
    "chnsenticorp": replace(PARITY_TASKS["chnsenticorp"], sizes=(600, 300), stride=128, **USUAL),
    "peopledaily-ner": replace(PARITY_TASKS["peopledaily-ner"], sizes=(1200, 400), epochs=3, batch_size=32, max_length=128),
    "drcd": replace(PARITY_TASKS["drcd"], sizes=(20, 8), **{**USUAL, **DRCD}),
    "ocnli": replace(PARITY_TASKS["ocnli"], sizes=(1500, 800), **USUAL),
    "fake-news": Task("classify", "csv", FAKE_NEWS, FAKE_NEWS, (1000, 400), 2, ("accuracy", "macro_f1"), language="zh"),
}
STARTS = ("pre-trained", "random")


def main() -> None:
    """Run what has no result yet, both starts in turn, and print a table."""
    arguments = _arguments()
    tasks = {name: TASKS[name].limited(arguments.limit) for name in arguments.tasks}
    results = Results(arguments.out / "results.jsonl")
    for name, task in tasks.items():
        for seed in range(arguments.seeds):
            for start in STARTS:
                key = {**_key(name, task, start, arguments), "seed": seed}
                if not results.of(key):
                    model = _pretrained(name, arguments)
                    model = _random(model, arguments.out, seed) if start == "random" else model
                    paths = write_parts(name, task, arguments.data, arguments.out)
                    results.add({**key, **finetune(task, model, paths, range(seed, seed + 1))[0]})
    rows = [_row(name, task, metric, results, arguments) for name, task in tasks.items() for metric in task.metrics]
    _print_table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("english", type=Path)
    parser.add_argument("chinese", type=Path)
    add_shared_arguments(parser, TASKS)
    return parser.parse_args()


def _pretrained(name: str, arguments: argparse.Namespace) -> Path:
    path: Path = arguments.chinese if TASKS[name].language == "zh" else arguments.english
    return path


def _key(name: str, task: Task, start: str, arguments: argparse.Namespace) -> dict[str, Any]:
    return {"task": name, "start": start, "model": str(_pretrained(name, arguments).resolve()), **task.settings}


def _random(pretrained: Path, out: Path, seed: int) -> Path:
    """Return the directory of a model like the pre-trained one, with random weights."""
    from bertsmith.artifacts.configuration import read_configuration
    from bertsmith.artifacts.directory import WEIGHTS, save_model
    from bertsmith.files import sha256
    from bertsmith.model.bert import PRETRAINING, initialise, uninitialised
    from bertsmith.text.tokenizer import Tokenizer

    path = out / "random" / f"{sha256(pretrained / WEIGHTS)[:12]}-{seed}"
    if not path.exists():
        config, heads = read_configuration(pretrained)
        model = uninitialised(config, heads or PRETRAINING)
        initialise(model, seed)
        save_model(model, Tokenizer.load(pretrained), path)
    return path


def _row(name: str, task: Task, metric: str, results: Results, arguments: argparse.Namespace) -> dict[str, Any]:
    row = {"task": name, "metric": metric, **task.settings, "seeds": arguments.seeds}
    for start in STARTS:
        runs = [run for run in results.of(_key(name, task, start, arguments)) if run["seed"] < arguments.seeds]
        _, mean, deviation = statistics_of(runs, metric)
        row[start] = {"mean": mean, "deviation": deviation, "scores": [100 * run["scores"][metric] for run in runs]}
    return row | {"gain": row["pre-trained"]["mean"] - row["random"]["mean"]}


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    print(f"Dev scores in percent, mean and standard deviation over {rows[0]['seeds']} seeds\n")
    print("| task | train / dev, epochs, rate, batch | metric | pre-trained | random weights | gain |")
    print("|---|---|---|---:|---:|---:|")
    for row in rows:
        cells = [
            row["task"],
            f"{row['sizes'][0]:,} / {row['sizes'][1]:,}, {row['epochs']}, {row['lr']:g}, {row['batch']}",
            row["metric"],
            *(f"{row[start]['mean']:.2f} ± {row[start]['deviation']:.2f}" for start in STARTS),
            f"{row['gain']:+.2f}",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

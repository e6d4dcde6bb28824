"""Several tasks on one encoder against a model for each: the same examples, the same number of steps, the same settings.

    python benchmarks/multi.py DATA MODEL --out DIR [--seeds 3] [--temperatures 1 …] [--json FILE]

DATA and MODEL are those of benchmarks/finetuning.py, whose parts of the files are trained on here as well. For each seed every
task is trained alone for two passes over its part, then all of them together on one encoder for as many steps as these runs had
between them, once for each temperature. The score is that of the last weights on the dev part. Seconds are of whole processes:
imports, reading, training, scoring. What the models take in memory is measured behind each run of all tasks, in processes of
their own, opened one by one and with ``bertsmith.pipelines``. Results go to DIR/results.jsonl as they come; the same command
goes on from there.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from common import Results, table
from finetuning import TASKS as ALL_TASKS
from finetuning import timed, write_parts

SIZES = {"sst2": (1500, 872), "mrpc": (800, 408), "stsb": (1000, 750), "ner": (800, 600)}
TASKS = {name: replace(ALL_TASKS[name], sizes=sizes, epochs=2) for name, sizes in SIZES.items()}
LEARNING_RATE, BATCH_SIZE = 1e-4, 32

# What the process has in memory with the models open beyond what it had before; after a first one, which loads the libraries.
_MEMORY = """
import json, sys, bertsmith

def megabytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

def open_and_use(pipes):
    for name, pipe in pipes.items():
        pipe([("a text", "and its pair") if name in ("mrpc", "stsb") else "a text"])
    return pipes

directory, names = sys.argv[1], sys.argv[2:]
open_and_use({names[0]: bertsmith.pipeline(f"{directory}/{names[0]}")})
before = megabytes()
kept = open_and_use({pipes})
print(megabytes() - before)
"""
_WAYS = {
    "one by one": '{name: bertsmith.pipeline(f"{directory}/{name}") for name in names}',
    "together": "bertsmith.pipelines(directory)",
}


def main() -> None:
    """Run what has no result yet, and print a table."""
    arguments = _arguments()
    results = Results(arguments.out / "results.jsonl")
    files = {name: write_parts(name, task, arguments.data, arguments.out) for name, task in TASKS.items()}
    for seed, system, names in _jobs(arguments):
        key = {"system": system, "tasks": names, "seed": seed, "model": str(arguments.model.resolve())}
        if not results.of(key):
            results.add({**key, **_run({name: files[name] for name in names}, system, seed, arguments)})
    rows = _rows(results, arguments)
    table(rows, {name: lambda row, name=name: row[name] for name in ("alone", *_systems(arguments))}, "dev score × 100")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _systems(arguments: argparse.Namespace) -> dict[str, float]:
    """Return the temperatures of the runs of all tasks."""
    return {f"together, T = {temperature:g}": temperature for temperature in arguments.temperatures}


def _jobs(arguments: argparse.Namespace) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the seed, the system and the tasks of every run."""
    for place, system in enumerate(_systems(arguments)):
        for seed in range(arguments.seeds):
            if not place:
                yield from ((seed, "alone", [name]) for name in TASKS)
            yield seed, system, list(TASKS)


def _run(files: Mapping[str, Mapping[str, Path]], system: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train the tasks of ``files`` on one encoder; return the dev scores, the times, and what the models take."""
    tables = {
        name: {
            "kind": TASKS[name].verb,
            "max_length": TASKS[name].max_length,
            **{split: str(path) for split, path in own.items()},
        }
        for name, own in files.items()
    }
    settings = {"epochs": [2.0], "lr": [LEARNING_RATE], "batch_size": [BATCH_SIZE], "seed": seed, "tasks": tables}
    settings["record"] = {"evaluate_every": 1_000_000}  # at the end alone
    with tempfile.TemporaryDirectory(dir=arguments.out) as directory:
        run = Path(directory) / "run"
        (Path(directory) / "tasks.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
        flags = ["--model", arguments.model, "--out", run, "--temperature", _systems(arguments).get(system, 1.0)]
        seconds = timed(
            [sys.executable, "-m", "bertsmith", "finetune", "multi", Path(directory) / "tasks.toml", *flags]
        ).seconds
        (path,) = run.glob("trials/*/result.json")
        result = json.loads(path.read_text(encoding="utf-8"))
        memory = {way: _memory(run / "final", list(files), way) for way in _WAYS} if len(files) > 1 else {}
        disk = sum(file.stat().st_size for file in (run / "final").rglob("*") if file.is_file())
    own = {"seconds": seconds, "training_seconds": result["seconds"], "steps": result["steps"]}
    return {**own, "scores": result["dev"], "disk_megabytes": disk / 1e6, "memory_megabytes": memory}


def _memory(directory: Path, names: Sequence[str], way: str) -> float:
    """Return the megabytes that the models take when they are opened in one of the ways."""
    return float(timed([sys.executable, "-c", _MEMORY.replace("{pipes}", _WAYS[way]), directory, *names]).output)


def _rows(results: Results, arguments: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Return the cells of the table: rows of scores, then of steps, seconds and megabytes."""
    scores = {name: f"{name}/{task.metrics[0]}" for name, task in TASKS.items()}
    rows: dict[str, dict[str, str]] = {}

    def cells(title: str, values: Callable[[dict[str, Any]], float], name: str | None = None) -> None:
        rows[title] = {}
        for system in ("alone", *_systems(arguments)):
            by_seed = [0.0] * arguments.seeds
            for run in results.of({"system": system, "model": str(arguments.model.resolve())}):
                if run["seed"] < arguments.seeds and (name is None or name in run["tasks"]):
                    by_seed[run["seed"]] += values(run)
            rows[title][system] = _spread(by_seed)

    for name, score in scores.items():
        cells(f"{name}, {score.partition('/')[2]}", lambda run, score=score: 100 * run["scores"][score], name)
    cells("mean", lambda run: 100 * sum(run["scores"][scores[name]] for name in run["tasks"]) / len(TASKS))
    cells("steps", lambda run: run["steps"])
    cells("seconds", lambda run: run["seconds"])
    cells("directories, MB", lambda run: run["disk_megabytes"])
    for way in _WAYS:
        cells(f"in memory, opened {way}, MB", lambda run, way=way: run["memory_megabytes"].get(way, math.nan))
    return rows


def _spread(values: Sequence[float]) -> str:
    if math.isnan(sum(values)):
        return "–"
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):,.1f}" + (f" ± {deviation:.1f}" if deviation else "")


if __name__ == "__main__":
    main()

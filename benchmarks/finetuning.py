"""Fine-tuning with bertsmith against transformers' Trainer: the same model, examples, hyper-parameters and machine.

    python benchmarks/finetuning.py DATA MODEL --out DIR [--tasks sst2 ner …] [--seeds 3] [--json FILE]

DATA holds the public sets in their original files, laid out as the table of tasks below names them; MODEL is a model directory
(all-MiniLM-L6-v2: 6 layers, 384 wide). Needs the extra bertsmith[bench].

Each task trains on a part of its training file that is the same in every run, written in the file's own format to DIR/data.
Every run is a process of its own, the systems in turn, and what counts is its time from start to end: imports, reading,
training and scoring of the dev examples. transformers (finetuning_transformers.py) gets its best chance: batches of like
lengths padded to their own longest, a fused optimiser, no checkpoints, no logs, dev examples sorted by length. Times are
compared with those of float32, its default, and of bf16, which is run once a task; scores with those of float32. A CRF, which
transformers does not have, is compared with its linear layer. Results go to DIR/results.jsonl as they come; the same
command goes on from there.
"""

import argparse
import gzip
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common import Results

WARMUP, WEIGHT_DECAY, EPSILON, MAX_NORM = 0.1, 0.01, 1e-6, 1.0
WINDOW_STEP = 128  # of question answering


@dataclass(frozen=True)
class Task:
    """What is trained on what, and how.

    A unit, as the sizes count them, is a row, a sentence or, of question answering, an article. ``columns`` are those of the
    texts or the words, and last that of the labels, for transformers; bertsmith finds them itself.
    """

    verb: str
    kind: str
    train: str
    dev: str
    sizes: tuple[int, int]
    epochs: int
    metrics: tuple[str, ...]
    columns: tuple[int, ...] = ()
    learning_rate: float = 1e-4
    batch_size: int = 32
    max_length: int = 128
    flags: tuple[str, ...] = ()
    peer: str | None = None

    def limited(self, limit: int | None) -> "Task":
        """Return the task on at most ``limit`` units (of question answering, a twentieth), for one epoch."""
        if not limit:
            return self
        most = -(-limit // 20) if self.kind == "articles" else limit
        return replace(self, sizes=tuple(min(size, most) for size in self.sizes), epochs=1)

    @property
    def settings(self) -> dict[str, Any]:
        """What makes earlier results void when it changes."""
        values = {"sizes": list(self.sizes), "epochs": self.epochs, "lr": self.learning_rate, "batch": self.batch_size}
        return {**values, "max_length": self.max_length, "flags": list(self.flags)}


NER = Task(
    *("tag", "sentences", "conll2003/eng.train.gz", "conll2003/eng.testa", (2000, 1000), 2, ("f1",), (0, -1)), max_length=256
)
UD = "ud_ewt/en_ewt-ud-{}.conllu.gz"
SQUAD = {"learning_rate": 2e-4, "batch_size": 16, "max_length": 384, "flags": ("--stride", str(WINDOW_STEP))}
TASKS = {
    "sst2": Task(
        *("classify", "headed", "glue/SST-2/train.tsv.gz", "glue/SST-2/dev.tsv", (4000, 872), 1, ("accuracy",), (0, 1))
    ),
    "mrpc": Task(
        *("classify", "headed", "glue/MRPC/train.tsv", "glue/MRPC/dev.tsv", (1200, 408), 2, ("accuracy", "f1"), (3, 4, 0))
    ),
    "stsb": Task(
        *("regress", "headed", "glue/STS-B/train.tsv", "glue/STS-B/dev.tsv", (1600, 750), 2, ("spearman",), (7, 8, 9))
    ),
    "cola": Task(*("classify", "rows", "glue/CoLA/train.tsv", "glue/CoLA/dev.tsv", (2500, 1043), 3, ("mcc",), (3, 1))),
    "ner": NER,
    "ner-crf": replace(NER, flags=("--decoder", "crf"), peer="ner"),
    "ner-bilstm-crf": replace(NER, flags=("--decoder", "bilstm-crf"), peer="ner"),
    "pos": Task(
        *("tag", "sentences", UD.format("train"), UD.format("dev"), (1600, 1000), 2, ("accuracy",), (1, 3)), max_length=256
    ),
    "xquad": Task("answer", "articles", *["xquad/xquad.en.json"] * 2, (18, 8), 2, ("f1", "exact_match"), **SQUAD),
}
SYSTEMS = ("bertsmith", "transformers", "transformers bf16")


def main() -> None:
    """Run what has no result yet, the systems in turn, and print a table."""
    arguments = _arguments()
    tasks = {name: task.limited(arguments.limit) for name, task in TASKS.items()}
    results = Results(arguments.out / "results.jsonl")
    # What a task is compared with is run, too.
    names = list(dict.fromkeys(name for chosen in arguments.tasks for name in (TASKS[chosen].peer or chosen, chosen)))
    for name, seed, system in _jobs(names, arguments.seeds):
        key = {"task": name, "system": system, "seed": seed, "model": str(arguments.model.resolve()), **tasks[name].settings}
        if not results.of(key):
            results.add({**key, **_run(name, tasks[name], system, seed, arguments)})
    rows = [_row(name, metric, tasks, results, arguments) for name in arguments.tasks for metric in tasks[name].metrics]
    _print_table(rows, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    add_shared_arguments(parser, TASKS)
    return parser.parse_args()


def add_shared_arguments(parser: argparse.ArgumentParser, tasks: Mapping[str, Task]) -> None:
    """Add what every benchmark of fine-tuning takes: where results go, which tasks, how often, how much."""
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=list(tasks))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="try it out: one epoch on at most so many rows or sentences")
    parser.add_argument("--json", type=Path)


def _jobs(names: Sequence[str], n_seeds: int) -> Iterator[tuple[str, int, str]]:
    for name in names:
        for seed in range(n_seeds):
            yield name, seed, "bertsmith"
            if TASKS[name].peer is None:
                yield name, seed, "transformers"
                if seed == 0:
                    yield name, seed, "transformers bf16"


def _run(name: str, task: Task, system: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    paths = write_parts(name, task, arguments.data, arguments.out)
    if system == "bertsmith":
        return finetune(task, arguments.model, paths, seed)
    settings = {"task": asdict(task), "model": arguments.model, **paths, "seed": seed, "bf16": system == "transformers bf16"}
    peer = Path(__file__).with_name("finetuning_transformers.py")
    seconds, output = timed([sys.executable, peer, json.dumps(settings, default=str)])
    return {"seconds": seconds, **json.loads(output.splitlines()[-1])}


def timed(command: Iterable[Any]) -> tuple[float, str]:
    """Run a command and return its seconds and its output; end this process if it fails."""
    started = time.perf_counter()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, env=environment, text=True)
    seconds = time.perf_counter() - started
    if finished.returncode:
        sys.exit(f"this run failed: {' '.join(map(str, command))}")
    return seconds, finished.stdout


def finetune(task: Task, model: Path, paths: dict[str, Path], seed: int) -> dict[str, Any]:
    """Fine-tune with bertsmith's command line and return its times and its dev scores."""
    with tempfile.TemporaryDirectory() as directory:
        settings = {"model": model, **paths, "out": Path(directory) / "run", "seed": seed, "epochs": task.epochs}
        settings |= {"lr": task.learning_rate, "batch-size": task.batch_size, "max-length": task.max_length}
        settings |= {"warmup": WARMUP, "weight-decay": WEIGHT_DECAY, "adam-epsilon": EPSILON, "max-gradient-norm": MAX_NORM}
        settings["evaluate-every"] = 1_000_000  # at the end alone, as transformers is
        flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
        seconds, _ = timed([sys.executable, "-m", "bertsmith", "finetune", task.verb, *flags, *task.flags])
        (path,) = Path(directory).glob("run/trials/*/result.json")
        result = json.loads(path.read_text(encoding="utf-8"))
    return {"seconds": seconds, "training_seconds": result["seconds"], "scores": result["dev"]}


# The parts of the data.


def write_parts(name: str, task: Task, data: Path, out: Path) -> dict[str, Path]:
    """Write the parts of the files to train and to score on, each in its own format, and return their paths."""
    paths = {}
    for split, source, size in zip(("train", "dev"), (task.train, task.dev), task.sizes, strict=True):
        before, units, behind = _units(_read(data / source), task.kind)
        random.Random(0).shuffle(units)
        # Where both come from one file, dev is what follows train.
        start = task.sizes[0] if split == "dev" and task.dev == task.train else 0
        part = before + _BETWEEN[task.kind].join(units[start : start + size]) + behind
        paths[split] = out / "data" / f"{name}-{split}-{size}{Path(source.removesuffix('.gz')).suffix}"
        paths[split].parent.mkdir(parents=True, exist_ok=True)
        paths[split].write_text(part, encoding="utf-8", newline="")
    return paths


def _read(path: Path) -> str:
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8")


_BETWEEN = {"rows": "\n", "headed": "\n", "csv": "", "sentences": "\n\n", "articles": ","}


def _units(text: str, kind: str) -> tuple[str, list[str], str]:
    """Return what stands before the units of a file, the units, and what stands behind them."""
    if kind == "articles":
        return '{"data":[', [json.dumps(article, ensure_ascii=False) for article in json.loads(text)["data"]], "]}\n"
    if kind == "sentences":
        return "", [block for block in re.split(r"\n\s*\n", text.strip()) if not block.startswith("-DOCSTART-")], "\n\n"
    if kind == "csv":
        # A row ends with a line at whose end every quotation mark is closed.
        header, *rows = re.findall(r'(?:[^"\n]|"[^"]*")+\n', text)
        return header, rows, ""
    lines = text.rstrip("\n").split("\n")
    return (f"{lines[0]}\n", lines[1:], "\n") if kind == "headed" else ("", lines, "\n")


# The table.


def _row(name: str, metric: str, tasks: dict[str, Task], results: Results, arguments: argparse.Namespace) -> dict[str, Any]:
    def runs(task: str, system: str) -> list[dict[str, Any]]:
        key = {"task": task, "system": system, "model": str(arguments.model.resolve()), **tasks[task].settings}
        return [run for run in results.of(key) if run["seed"] < arguments.seeds]

    ours, *peers = (runs(name if system == SYSTEMS[0] else tasks[name].peer or name, system) for system in SYSTEMS)
    score, mean, deviation = statistics_of(ours, metric)
    _, peer_mean, peer_deviation = statistics_of(peers[0], metric)
    row = {"task": name, "metric": metric, **tasks[name].settings, "seeds": len(ours)}
    row |= {"median": score, "mean": mean, "deviation": deviation, "peer_mean": peer_mean, "peer_deviation": peer_deviation}
    for seconds in ("seconds", "training_seconds"):
        row[seconds] = {one[0]["system"]: _median(one, seconds) for one in (ours, *peers) if one}
    return row | {"is_as_good": score >= peer_mean - peer_deviation}


def _median(runs: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def statistics_of(runs: Sequence[dict[str, Any]], metric: str) -> tuple[float, float, float]:
    """Return median, mean and standard deviation of a score, in percent."""
    scores = [100 * run["scores"][metric] for run in runs]
    return statistics.median(scores), statistics.mean(scores), statistics.stdev(scores) if len(scores) > 1 else 0.0


_HEADING = (
    *("task", "train / dev, epochs, rate, batch", "metric", "bertsmith, median", "mean", "transformers, mean", "as good"),
    *("bertsmith, s", "transformers, s", "bf16, s", "ratio", "ratio to bf16"),
)


def _print_table(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> None:
    threads = os.environ.get("OMP_NUM_THREADS", os.cpu_count())
    print(f"{arguments.model.name}, {threads} threads; scores in percent over seeds, median seconds of whole processes\n")
    print(f"| {' | '.join(_HEADING)} |\n|---|---|---|---:|---:|---:|---|---:|---:|---:|---:|---:|")
    for row in rows:
        times = [row["seconds"].get(system, math.nan) for system in SYSTEMS]
        cells = [
            row["task"],
            f"{row['sizes'][0]:,} / {row['sizes'][1]:,}, {row['epochs']}, {row['lr']:g}, {row['batch']}",
            row["metric"],
            f"{row['median']:.2f}",
            f"{row['mean']:.2f} ± {row['deviation']:.2f}",
            f"{row['peer_mean']:.2f} ± {row['peer_deviation']:.2f}",
            "yes" if row["is_as_good"] else "no",
            *(f"{seconds:.1f}" for seconds in times),
            *(f"{times[0] / seconds:.2f}" for seconds in times[1:]),
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

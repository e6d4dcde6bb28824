"""Runs of fine-tuning that benchmarks share: public tasks, parts of their files, and one run of either system as a process.

DATA holds the public sets in their original files, laid out as the table of tasks names them. Each task trains on a part of its
training file that is the same in every run, written in the file's own format to DIR/data. A run is a process of its own, and
what counts is the whole of it: imports, reading, training and scoring of the dev examples. benchmarks/parity.py compares the
systems.
"""

import argparse
import gzip
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

WARMUP, WEIGHT_DECAY, EPSILON, MAX_NORM = 0.1, 0.01, 1e-6, 1.0


@dataclass(frozen=True)
class Task:
    """What is trained on what, and how.

    A unit, as the sizes count them, is a row, a sentence or, of question answering, an article. ``columns`` are those of the
    texts or the words, and last that of the labels, for transformers; bertsmith finds them itself. ``longest`` leaves out rows
    and paragraphs of more characters, so that neither system has to cut any.
    """

    verb: str
    kind: str
    train: str
    dev: str
    sizes: tuple[int, int]
    epochs: int
    metrics: tuple[str, ...]
    columns: tuple[int | str, ...] = ()
    learning_rate: float = 1e-4
    batch_size: int = 32
    max_length: int = 128
    stride: int = 64
    longest: int | None = None
    language: str = "en"

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
        return {**values, "max_length": self.max_length, "stride": self.stride, "longest": self.longest}


UD = "ud_ewt/en_ewt-ud-{}.conllu.gz"
SMALL = {"learning_rate": 3e-4, "batch_size": 16}
# Where there are few rows, a model learns in more steps.
FEW = {"learning_rate": 5e-4, "batch_size": 4}
CHINESE = {"learning_rate": 5e-4, "batch_size": 16, "language": "zh"}
TASKS = {
    "sst2": Task(
        *("classify", "headed", "glue/SST-2/train.tsv.gz", "glue/SST-2/dev.tsv", (200, 150), 2, ("accuracy",), (0, 1)), **SMALL
    ),
    "cola": Task(*("classify", "rows", "glue/CoLA/train.tsv", "glue/CoLA/dev.tsv", (300, 200), 2, ("mcc",), (3, 1)), **SMALL),
    "mrpc": Task(
        *("classify", "headed", "glue/MRPC/train.tsv", "glue/MRPC/dev.tsv", (100, 100), 4, ("accuracy", "f1"), (3, 4, 0)),
        **FEW,
    ),
    "stsb": Task(
        *("regress", "headed", "glue/STS-B/train.tsv", "glue/STS-B/dev.tsv", (120, 120), 2, ("spearman",), (7, 8, 9)), **SMALL
    ),
    "ner": Task(
        *("tag", "sentences", "conll2003/eng.train.gz", "conll2003/eng.testa", (120, 100), 3, ("f1",), (0, -1)),
        **FEW,
        max_length=256,
    ),
    "pos": Task(
        *("tag", "sentences", UD.format("train"), UD.format("dev"), (120, 100), 3, ("accuracy",), (1, 3)),
        **FEW,
        max_length=256,
    ),
    "xquad": Task(
        *("answer", "articles", *["xquad/xquad.en.json"] * 2, (6, 5), 2, ("f1", "exact_match")),
        **SMALL,
        max_length=192,
        stride=96,
        longest=500,
    ),
    "peopledaily-ner": Task(
        *("tag", "sentences", "peopledaily_ner/train.txt.gz", "peopledaily_ner/dev.txt", (400, 120), 3, ("f1",), (0, -1)),
        **{**CHINESE, "learning_rate": 1e-3, "batch_size": 8},
        max_length=256,
    ),
    "chnsenticorp": Task(
        *("classify", "headed", "chnsenticorp/train.tsv", "chnsenticorp/dev.tsv", (150, 120), 2, ("accuracy",), (1, 0)),
        **CHINESE,
        longest=110,
    ),
    "ocnli": Task(
        *("classify", "rows", "ocnli/train.10k.json", "ocnli/dev.json", (250, 150), 2, ("accuracy",)),
        ("sentence1", "sentence2", "label"),
        **CHINESE,
    ),
    "drcd": Task(
        *("answer", "articles", "drcd/DRCD_dev.json", "drcd/DRCD_test.json", (14, 10), 2, ("f1", "exact_match")),
        **CHINESE,
        max_length=256,
        stride=128,
        longest=300,
    ),
}


def add_shared_arguments(parser: argparse.ArgumentParser, tasks: Mapping[str, Task]) -> None:
    """Add what every benchmark of fine-tuning takes: where results go, which tasks, how often, how much."""
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=list(tasks))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="try it out: one epoch on at most so many rows or sentences")
    parser.add_argument("--json", type=Path)


@dataclass(frozen=True)
class Finished:
    """A process that has ended: its time by the clock and on processors, and the most memory it had."""

    seconds: float
    processor_seconds: float
    peak_megabytes: float
    output: str


def timed(command: Iterable[Any]) -> Finished:
    """Run a command to its end; end this process if it fails."""
    words, started = list(map(str, command)), time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(words, stdout=output, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"this run failed: {' '.join(words)}")
        output.seek(0)
        return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.read())


def finetune(task: Task, model: Path, paths: dict[str, Path], seeds: range, *more: str) -> list[dict[str, Any]]:
    """Fine-tune with bertsmith's command line, and ``more`` flags: all seeds in one process; return a result for each.

    A result has its dev scores, and the process's measures, times divided by the number of seeds.
    """
    with tempfile.TemporaryDirectory() as directory:
        settings = {"model": model, **paths, "out": Path(directory) / "run", "seed": seeds[0], "seeds": len(seeds)}
        settings |= {"epochs": task.epochs, "lr": task.learning_rate, "batch-size": task.batch_size}
        settings |= {"max-length": task.max_length, "stride": task.stride, "max-gradient-norm": MAX_NORM}
        settings |= {"warmup": WARMUP, "weight-decay": WEIGHT_DECAY, "adam-epsilon": EPSILON}
        if task.verb == "classify" and "f1" in task.metrics:
            settings["positive"] = "1"  # as GLUE scores, whichever class is the rarer
        settings["evaluate-every"] = 1_000_000  # at the end alone, as transformers is
        flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
        finished = timed([sys.executable, "-m", "bertsmith", "finetune", task.verb, *flags, *more])
        paths_of_results = Path(directory).glob("run/trials/*/result.json")
        found = {values["trial"]["seed"]: values for values in map(_read_json, paths_of_results)}
    runs = [(found[seed]["steps"], found[seed]["dev"]) for seed in seeds]
    return [{**_shared(finished, seeds), "steps": steps, "scores": scores} for steps, scores in runs]


def finetune_transformers(task: Task, model: Path, paths: dict[str, Path], seeds: range, *, bf16: bool) -> list[dict[str, Any]]:
    """Fine-tune with transformers' Trainer, and return the same."""
    settings = {"task": asdict(task), "model": model, **paths, "seeds": list(seeds), "bf16": bf16}
    peer = Path(__file__).with_name("finetuning_transformers.py")
    finished = timed([sys.executable, peer, json.dumps(settings, default=str)])
    return [{**_shared(finished, seeds), **run} for run in json.loads(finished.output.splitlines()[-1])]


def _shared(finished: Finished, seeds: range) -> dict[str, float]:
    """Return a seed's share of what a process took, and the most memory of all."""
    seconds, processor_seconds = finished.seconds / len(seeds), finished.processor_seconds / len(seeds)
    peak = {"peak_megabytes": finished.peak_megabytes, "seeds_together": len(seeds)}
    return {"seconds": seconds, "processor_seconds": processor_seconds, **peak}


def _read_json(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


# The parts of the data.


def write_parts(name: str, task: Task, data: Path, out: Path) -> dict[str, Path]:
    """Write the parts of the files to train and to score on, each in its own format, and return their paths."""
    paths = {}
    for split, source, size in zip(("train", "dev"), (task.train, task.dev), task.sizes, strict=True):
        before, units, behind = _units(_read(data / source), task)
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


def _units(text: str, task: Task) -> tuple[str, list[str], str]:
    """Return what stands before the units of a file, the units that are not too long, and what stands behind them."""
    if task.kind == "articles":
        articles = [_without_long_paragraphs(article, task.longest) for article in json.loads(text)["data"]]
        return '{"data":[', [json.dumps(one, ensure_ascii=False) for one in articles if one["paragraphs"]], "]}\n"
    if task.kind == "sentences":
        return "", [block for block in re.split(r"\n\s*\n", text.strip()) if not block.startswith("-DOCSTART-")], "\n\n"
    if task.kind == "csv":
        # A row ends with a line at whose end every quotation mark is closed.
        header, *rows = re.findall(r'(?:[^"\n]|"[^"]*")+\n', text)
        return header, rows, ""
    lines = text.rstrip("\n").split("\n")
    header = f"{lines.pop(0)}\n" if task.kind == "headed" else ""
    return header, [line for line in lines if task.longest is None or len(line) <= task.longest], "\n"


def _without_long_paragraphs(article: dict[str, Any], longest: int | None) -> dict[str, Any]:
    kept = [paragraph for paragraph in article["paragraphs"] if longest is None or len(paragraph["context"]) <= longest]
    return {**article, "paragraphs": kept}


def statistics_of(runs: Sequence[dict[str, Any]], metric: str) -> tuple[float, float, float]:
    """Return median, mean and standard deviation of a score, in percent."""
    scores = [100 * run["scores"][metric] for run in runs]
    return statistics.median(scores), statistics.mean(scores), statistics.stdev(scores) if len(scores) > 1 else 0.0

"""Ranking with bertsmith against sentence-transformers' CrossEncoder trainer: the same model, pairs, settings and machine.

    python benchmarks/ranking.py DATA MODEL --out DIR [--systems …] [--seeds 0 1 2] [--queries N] [--json FILE]

DATA holds WikiQA as train.tsv.gz, dev.tsv and test.tsv with the columns question_id, question, answer, label; MODEL is a model
directory (all-MiniLM-L6-v2: 6 layers, 384 wide). Needs the extra bertsmith[bench].

Every run is a process of its own, and its time counts from start to end: imports, reading, training, scoring of dev and test.
Both train a classifier on [CLS] with binary cross-entropy, in batches of 32 pairs. sentence-transformers runs without
checkpoints, logs and progress bars, in float32, its default, and in bf16. bertsmith's other two losses take as many queries a
batch as give the same number of steps. Results go to DIR/results.jsonl as they come; the same command goes on from there.
"""

import argparse
import csv
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from common import Results

EPOCHS, RATE, BATCH, MAX_LENGTH = 1, 1e-4, 32, 128
WARMUP, WEIGHT_DECAY, EPSILON, MAX_NORM = 0.1, 0.01, 1e-6, 1.0
PEER = "sentence-transformers"
SYSTEMS = ("bertsmith", PEER, f"{PEER} bf16", "bertsmith pairwise", "bertsmith listwise")
METRICS = ("map", "mrr")
Result = dict[str, Any]
Query = tuple[str, list[str], list[int]]


def main() -> None:
    """Run what has no result yet and print a table."""
    arguments = _arguments()
    if arguments.run:
        print(json.dumps(_train_cross_encoder(arguments)))
        return
    results = Results(arguments.out / "results.jsonl")
    settings = {"queries": arguments.queries, "epochs": EPOCHS, "rate": RATE}
    for seed in arguments.seeds:
        for system in arguments.systems:
            key = {"system": system, "seed": seed, **settings}
            if not results.of(key):
                results.add({**key, **_run(system, seed, arguments)})
    by_system = {system: results.of({"system": system, **settings}) for system in SYSTEMS}
    rows = [_row(system, runs) for system, runs in by_system.items() if runs]
    _print_table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--queries", type=int, help="train on the first so many queries; on all unless given")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", nargs=2, metavar=("SYSTEM", "SEED"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(system: str, seed: int, arguments: argparse.Namespace) -> Result:
    train = _first_queries(arguments)
    if system.startswith(PEER):
        command = [*sys.argv, "--run", system, seed]
        started = time.perf_counter()
        output = _process(command)
        return {"seconds": time.perf_counter() - started, **json.loads(output.splitlines()[-1])}
    loss = system.removeprefix("bertsmith").strip() or "pointwise"
    queries = list(_queries(train))
    # Queries of which nothing is learnt by comparison are not trained on.
    n_compared = sum(len(set(labels)) > 1 for *_, labels in queries)
    n_steps = -(-sum(len(texts) for _, texts, _ in queries) // BATCH)
    batch = BATCH if loss == "pointwise" else max(1, round(n_compared / n_steps))
    with tempfile.TemporaryDirectory() as directory:
        settings = {"model": arguments.model, "train": train, "out": Path(directory) / "run", "seed": seed, "loss": loss}
        settings |= {name: arguments.data / f"{name}.tsv" for name in ("dev", "test")}
        settings |= {"epochs": EPOCHS, "lr": RATE, "batch-size": batch, "max-length": MAX_LENGTH}
        settings |= {"warmup": WARMUP, "weight-decay": WEIGHT_DECAY, "adam-epsilon": EPSILON, "max-gradient-norm": MAX_NORM}
        settings["evaluate-every"] = 1_000_000  # at the end alone
        flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
        started = time.perf_counter()
        _process(["-m", "bertsmith", "finetune", "rank", *flags])
        seconds = time.perf_counter() - started
        (path,) = Path(directory).glob("run/trials/*/result.json")
        result = json.loads(path.read_text(encoding="utf-8"))
    return {"seconds": seconds, "training_seconds": result["seconds"], "dev": result["dev"], "test": result["test"]}


def _process(command: Sequence[Any]) -> str:
    return subprocess.run([sys.executable, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout


def _first_queries(arguments: argparse.Namespace) -> Path:
    """Return the file to train on."""
    whole: Path = arguments.data / "train.tsv.gz"
    if arguments.queries is None:
        return whole
    header, *lines = gzip.decompress(whole.read_bytes()).decode().splitlines(keepends=True)
    kept = set(list(dict.fromkeys(line.split("\t")[0] for line in lines))[: arguments.queries])
    part: Path = arguments.out / f"train-{arguments.queries}.tsv.gz"
    part.write_bytes(gzip.compress((header + "".join(line for line in lines if line.split("\t")[0] in kept)).encode()))
    return part


def _queries(path: Path) -> Iterator[Query]:
    """Yield the questions of a file, each with its answers and their labels."""
    open_text = gzip.open if path.suffix == ".gz" else open
    found: dict[str, Query] = {}
    with open_text(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            query = found.setdefault(row["question_id"], (row["question"], [], []))
            query[1].append(row["answer"])
            query[2].append(int(row["label"]))
    yield from found.values()


def _train_cross_encoder(arguments: argparse.Namespace) -> Result:
    """Do with sentence-transformers what one run of bertsmith does, and return its scores."""
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from transformers import set_seed

    system, seed = arguments.run
    disable_progress_bars()
    set_seed(int(seed))
    pairs = defaultdict(list)
    for query, texts, labels in _queries(_first_queries(arguments)):
        for text, label in zip(texts, labels, strict=True):
            for name, value in (("query", query), ("text", text), ("label", label)):
                pairs[name].append(value)
    model = CrossEncoder(str(arguments.model), num_labels=1, max_length=MAX_LENGTH, device="cpu")
    with tempfile.TemporaryDirectory() as directory:
        settings = CrossEncoderTrainingArguments(
            directory,
            num_train_epochs=EPOCHS,
            learning_rate=RATE,
            per_device_train_batch_size=BATCH,
            lr_scheduler_type="linear",
            warmup_steps=WARMUP,
            weight_decay=WEIGHT_DECAY,
            adam_epsilon=EPSILON,
            max_grad_norm=MAX_NORM,
            seed=int(seed),
            bf16=system.endswith("bf16"),
            use_cpu=True,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = CrossEncoderTrainer(model, settings, Dataset.from_dict(pairs), loss=BinaryCrossEntropyLoss(model))
        seconds = trainer.train().metrics["train_runtime"]
    return {
        "training_seconds": seconds,
        **{split: _scores(model, list(_queries(arguments.data / f"{split}.tsv"))) for split in ("dev", "test")},
    }


def _scores(model: Any, queries: Sequence[Query]) -> dict[str, float]:
    from bertsmith.tasks.scoring.rank_scores import MEASURES, ranking_scores

    found = iter(model.predict([(query, text) for query, texts, _ in queries for text in texts], show_progress_bar=False))
    rows = []
    for *_, labels in queries:
        scored = sorted(((next(found), label) for label in labels), key=lambda pair: -pair[0])
        rows.append(ranking_scores([label for _, label in scored]))
    return {name: statistics.mean(values) for name, values in zip(MEASURES, zip(*rows, strict=True), strict=True)}


def _row(system: str, runs: Sequence[Result]) -> Result:
    row: Result = {"system": system, "seeds": len(runs)}
    for split, metric in product(("dev", "test"), METRICS):
        values = [100 * run[split][metric] for run in runs]
        row[f"{split} {metric}"] = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    for seconds in ("seconds", "training_seconds"):
        row[seconds] = statistics.median(run[seconds] for run in runs)
    return row


def _print_table(rows: Sequence[Result]) -> None:
    scores = [f"{split} {metric}" for split in ("dev", "test") for metric in METRICS]
    headings = [name.replace("map", "MAP").replace("mrr", "MRR") for name in scores]
    print(f"| system | seeds | {' | '.join(headings)} | seconds | of it training |\n|---|{'---:|' * 7}")
    for row in rows:
        cells = [f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in (row[name] for name in scores)]
        times = f"{row['seconds']:.0f} | {row['training_seconds']:.0f}"
        print(f"| {row['system']} | {row['seeds']} | {' | '.join(cells)} | {times} |")


if __name__ == "__main__":
    main()

"""Sentence vectors: equal to those of sentence-transformers, trained beside its trainer, and searched exactly.

    python benchmarks/sentence_vectors.py equality MODEL FILE [--texts 1000]
    python benchmarks/sentence_vectors.py sts DATA MODEL --out DIR [--seeds 0 1 2] [--rows 2000] [--epochs 2] [--json FILE]
    python benchmarks/sentence_vectors.py search [--lines 1000000] [--width 384]

``equality`` compares the vectors of FILE's texts, one a line, to which an empty one and a very long one are added. ``sts``
trains on a part of STS-B's training file in DATA and scores its test set: every run is a process of its own, the systems in
turn, and what counts is its time from start to end: imports, reading, training and scoring of the dev and test sets. Results
go to DIR/results.jsonl as they come; the same command goes on from there. ``search`` compares an index of random vectors,
mapped from the disk, with a full product. Needs the extra bertsmith[bench].
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import Results

RATE, BATCH, LENGTH = 5e-5, 32, 128
WARMUP, WEIGHT_DECAY, EPSILON, MAX_NORM = 0.1, 0.01, 1e-6, 1.0
OURS, THEIRS = "bertsmith", "sentence-transformers"
SYSTEMS = {f"{OURS}, float32": "float32", f"{OURS}, bf16": "bf16", f"{THEIRS}, float32": "float32", f"{THEIRS}, bf16": "bf16"}


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = flags.add_subparsers(dest="part", required=True)
    equality_flags = parts.add_parser("equality")
    equality_flags.add_argument("model", type=Path)
    equality_flags.add_argument("file", type=Path)
    equality_flags.add_argument("--texts", type=int, default=1000)
    sts_flags = parts.add_parser("sts")
    sts_flags.add_argument("data", type=Path, help="directory of STS-B's files")
    sts_flags.add_argument("model", type=Path)
    sts_flags.add_argument("--out", type=Path, required=True)
    sts_flags.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    sts_flags.add_argument("--rows", type=int, default=2000)
    sts_flags.add_argument("--epochs", type=int, default=2)
    sts_flags.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=SYSTEMS)
    sts_flags.add_argument("--json", type=Path)
    sts_flags.add_argument("--run", help=argparse.SUPPRESS)
    search_flags = parts.add_parser("search")
    search_flags.add_argument("--lines", type=int, default=1_000_000)
    search_flags.add_argument("--width", type=int, default=384)
    arguments = flags.parse_args()
    {"equality": equality, "sts": sts, "search": search}[arguments.part](arguments)


# Equality.


def equality(arguments: argparse.Namespace) -> None:
    from sentence_transformers import SentenceTransformer

    from bertsmith.inference.pipelines import VectorPipeline

    lines = [line.strip() for line in arguments.file.read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = [*random.Random(0).sample(lines, arguments.texts - 2), "", " ".join(lines)[:20_000]]
    theirs = SentenceTransformer(str(arguments.model), device="cpu")
    differences = np.abs(VectorPipeline.load(arguments.model)(texts) - theirs.encode(texts)).max(axis=1)
    tokens = [len(ids) for ids in theirs.tokenizer(texts)["input_ids"]]
    n_cut = sum(length > theirs.max_seq_length for length in tokens)
    print(f"{len(texts):,} texts of {min(tokens)} to {max(tokens):,} tokens, {n_cut} longer than {theirs.max_seq_length}")
    print(f"largest difference of a figure: {differences.max():.1e}")


# STS-B.


def sts(arguments: argparse.Namespace) -> None:
    train = arguments.out / f"train-{arguments.rows}.tsv"
    if arguments.run:
        _train_theirs(arguments, train, *arguments.run.split("|"))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = (arguments.data / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    train.write_text("".join([rows[0], *sorted(random.Random(0).sample(rows[1:], min(arguments.rows, len(rows) - 1)))]))
    results = Results(arguments.out / "results.jsonl")
    setting = {"rows": arguments.rows, "epochs": arguments.epochs, "model": str(arguments.model)}
    for seed in arguments.seeds:
        for system in arguments.systems:
            key = {**setting, "system": system, "seed": seed}
            if results.of(key):
                continue
            started = time.perf_counter()
            spearman = (_train_ours if system.startswith(OURS) else _run_theirs)(arguments, train, system, seed)
            seconds = time.perf_counter() - started
            results.add({**key, "spearman": spearman, "seconds": seconds})
    _table(arguments, results.of(setting))


def _train_ours(arguments: argparse.Namespace, train: Path, system: str, seed: int) -> float:
    with tempfile.TemporaryDirectory(dir=arguments.out) as out:
        files = {"train": train, "dev": arguments.data / "dev.tsv", "test": arguments.data / "test_with_gold.tsv"}
        settings = {
            "model": arguments.model,
            **files,
            "out": out,
            "lr": RATE,
            "epochs": arguments.epochs,
            "batch-size": BATCH,
            "seed": seed,
            "max-length": LENGTH,
            "precision": SYSTEMS[system],
            "warmup": WARMUP,
            "weight-decay": WEIGHT_DECAY,
            "adam-epsilon": EPSILON,
            "max-gradient-norm": MAX_NORM,
        }
        flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        subprocess.run([sys.executable, "-m", "bertsmith", "finetune", "embed", *flags], check=True, stdout=subprocess.DEVNULL)
        (result,) = Path(out).glob("trials/*/result.json")
        return float(json.loads(result.read_text())["test"]["spearman"])


def _run_theirs(_arguments: argparse.Namespace, _train: Path, system: str, seed: int) -> float:
    environment = {**os.environ, "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *sys.argv, "--run", f"{SYSTEMS[system]}|{seed}"]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return float(json.loads(finished.stdout.splitlines()[-1])["spearman"])


def _train_theirs(arguments: argparse.Namespace, train: Path, precision: str, seed: str) -> None:
    """Train with sentence-transformers as its documentation shows, and print the test set's Spearman correlation."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    model = SentenceTransformer(str(arguments.model), device="cpu")
    model.max_seq_length = LENGTH
    with tempfile.TemporaryDirectory(dir=arguments.out) as out:
        settings = SentenceTransformerTrainingArguments(
            out,
            seed=int(seed),
            num_train_epochs=arguments.epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            warmup_steps=WARMUP,
            weight_decay=WEIGHT_DECAY,
            adam_epsilon=EPSILON,
            max_grad_norm=MAX_NORM,
            bf16=precision == "bf16",
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        pairs = _pairs(train, 7)
        data = Dataset.from_dict({"sentence1": pairs[0], "sentence2": pairs[1], "score": [score / 5 for score in pairs[2]]})
        SentenceTransformerTrainer(model, settings, train_dataset=data, loss=CosineSimilarityLoss(model)).train()
        model.save(str(Path(out) / "final"))
    for path, first in ((arguments.data / "dev.tsv", 7), (arguments.data / "test_with_gold.tsv", 5)):
        scores = EmbeddingSimilarityEvaluator(*_pairs(path, first), main_similarity="cosine", write_csv=False)(model)
    print(json.dumps({"spearman": scores["spearman_cosine"]}))


def _pairs(path: Path, first: int) -> tuple[list[str], list[str], list[float]]:
    """Return the texts and the scores of one of STS-B's files; ``first`` is the first text's column."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    rows = rows[1:] if rows[0][0] == "index" else rows
    scores = [float(row[first + 2 if first == 7 else first - 1]) for row in rows]
    return [row[first] for row in rows], [row[first + 1] for row in rows], scores


def _table(arguments: argparse.Namespace, done: list[dict[str, Any]]) -> None:
    from bertsmith.inference.pipelines import VectorPipeline
    from bertsmith.neighbours import unit
    from bertsmith.tasks.scoring.scores import regression_scores

    firsts, seconds, scores = _pairs(arguments.data / "test_with_gold.tsv", 5)
    pipe = VectorPipeline.load(arguments.model, max_length=LENGTH)
    cosines = (unit(pipe(firsts)) * unit(pipe(seconds))).sum(axis=1)
    untrained = regression_scores(np.array(scores), cosines.astype(np.float64))["spearman"]
    print(f"{arguments.rows:,} rows, {arguments.epochs} epochs, {os.cpu_count()} cores\n")
    print("| | test Spearman | least seconds | seeds |\n|---|---:|---:|---:|")
    print(f"| untrained | {untrained:.4f} | | |")
    for system in SYSTEMS:
        runs = [one for one in done if one["system"] == system]
        if runs:
            found = [one["spearman"] for one in runs]
            deviation = f" ± {statistics.stdev(found):.4f}" if len(found) > 1 else ""
            times = min(one["seconds"] for one in runs)
            print(f"| {system} | {statistics.mean(found):.4f}{deviation} | {times:.1f} | {len(runs)} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"untrained": untrained, "runs": done}, indent=2) + "\n")


# Search.


def search(arguments: argparse.Namespace) -> None:
    from bertsmith.neighbours import unit
    from bertsmith.retrieval.search import KIND, TextIndex, build_index

    class RandomVectors:
        """Stands for a model that takes no time."""

        width, draw = arguments.width, np.random.default_rng(0)

        def __call__(self, texts: list[str]) -> Any:
            return self.draw.standard_normal((len(texts), self.width), np.float32)

    with tempfile.TemporaryDirectory() as place:
        file, path = Path(place) / "lines.txt", Path(place) / "index"
        file.write_text("".join(f"line {number}\n" for number in range(arguments.lines)))
        build_seconds = _seconds(lambda: build_index(RandomVectors(), "none", file, path))  # type: ignore[arg-type]
        open_seconds = _seconds(lambda: TextIndex.open(path, "none", file))
        index, queries = TextIndex.open(path, "none", file), RandomVectors()(["query"] * 100)
        index.search(queries[:1], 10)  # reads the vectors from the disk once
        single = statistics.median(_seconds(lambda row=row: index.search(queries[row : row + 1], 10)) for row in range(10))
        many_seconds = _seconds(lambda: index.search(queries, 10))
        vectors = np.fromfile(path / "vectors.float32", np.float32).reshape(-1, arguments.width)
        recall = _recall(index.search(queries, 10), unit(queries).astype(np.float64), vectors)
    print(f"{KIND} of {arguments.lines:,} lines, {arguments.width} wide: written in {build_seconds:.1f} s without a model")
    print(
        f"opened and verified in {open_seconds:.2f} s; a query {single * 1e3:.0f} ms; 100 together {many_seconds * 1e3:.0f} ms"
    )
    print(f"recall of the 10 nearest: {recall:.4f}")


def _recall(found: list[Any], queries: Any, vectors: Any) -> float:
    """Return the share of the ten nearest, by a product in float64, that are among those found."""
    best = [np.argsort(-np.concatenate([part @ query for part in np.array_split(vectors, 100)]))[:10] for query in queries]
    pairs = zip(found, best, strict=True)
    return float(np.mean([len({hit.line - 1 for hit in hits} & set(of.tolist())) / 10 for hits, of in pairs]))


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

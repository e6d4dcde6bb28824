"""Are the senses of ambiguous words found?

    python benchmarks/senses.py MODEL --svg docs/images/senses-by-layer.svg --json senses.json
    python benchmarks/senses.py CHINESE_MODEL --sentences tests/parity/word_senses_zh.tsv
    python benchmarks/senses.py MODEL --text TEXT_FILES

Without --text: words of two or three senses in labelled sentences, clustered into as many senses as they have, and into as
many as the silhouette says, by what the model makes of them after each layer. Chance is the mean over a thousand shuffles of
the labels.

With --text: into how many senses words fall in a corpus that are ambiguous, and words that are not, and how well they part.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, v_measure_score

from bertsmith.artifacts.directory import load_model
from bertsmith.charts.curves import Series, curve_svg
from bertsmith.engine.engine import Engine
from bertsmith.files import atomic_file, write_json
from bertsmith.inference.features import FeaturePipeline, Layers
from bertsmith.progress import SILENT
from bertsmith.sources.example_tables import read_table
from bertsmith.sources.file_patterns import find_files
from bertsmith.text.occurrences import EvenSample, Occurrence, WordFinder, occurrences
from bertsmith.text.readers import ReaderConfig, read_documents
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.words.senses import find_senses
from bertsmith.words.word_vectors import word_vectors

AMBIGUOUS = ("bank", "bar", "bass", "cell", "court", "fan", "match", "plant", "pitch", "pool", "spring", "trunk")
PLAIN = (
    "breakfast",
    "bridge",
    "coffee",
    "doctor",
    "hotel",
    "kitchen",
    "lawyer",
    "police",
    "teacher",
    "television",
    "village",
    "window",
)
_SHUFFLES = 1000


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--sentences", type=Path, default=Path("tests/parity/word_senses_en.tsv"))
    parser.add_argument("--text", nargs="+")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model, tokenizer = load_model(arguments.model), Tokenizer.load(arguments.model)
    layers = Layers(tuple(range(model.config.n_layers + 1)))
    pipeline = FeaturePipeline(Engine(model, torch.device("cpu"), "float32"), tokenizer, layers)
    if arguments.text:
        found = _in_corpus(pipeline, arguments.text)
    else:
        found = _labelled(pipeline, arguments.sentences)
        if arguments.svg:
            _draw(found, arguments.svg)
    if arguments.json:
        write_json(arguments.json, found)


def _labelled(pipeline: FeaturePipeline, path: Path) -> dict[str, Any]:
    """Print how well the senses of labelled sentences are found, by layer and by word."""
    by_word: dict[str, list[Occurrence]] = {}
    gold: dict[str, list[str]] = {}
    for record in read_table(path).rows:
        word, sense, sentence = (record.values[name] for name in ("word", "sense", "sentence"))
        _, start, end = next(WordFinder(pipeline.tokenizer, [word]).find(sentence))
        by_word.setdefault(word, []).append(Occurrence(word, sentence, start, end, record.source))
        gold.setdefault(word, []).append(sense)
    vectors = {word: _vectors(pipeline, found) for word, found in by_word.items()}
    scores = {
        word: [_scores(found, vectors_nD, gold[word], pipeline.tokenizer) for vectors_nD in vectors[word]]
        for word, found in by_word.items()
    }
    by_layer = [_means([scores[word][layer] for word in scores]) for layer in pipeline.layers.numbers]
    _print_table("layer", [str(layer) for layer in pipeline.layers.numbers], by_layer)
    _print_table("word", list(scores), [one[-1] for one in scores.values()])
    return {"by_layer": by_layer, "by_word": scores}


def _vectors(pipeline: FeaturePipeline, found: Sequence[Occurrence]) -> Any:
    """Return (L, n, D)."""
    return np.stack([vector for _, vector in word_vectors(pipeline, found)], axis=1)


def _scores(found: Sequence[Occurrence], vectors_nD: Any, gold: Sequence[str], tokenizer: Tokenizer) -> dict[str, float]:
    names = sorted(set(gold))
    truth = np.array([names.index(name) for name in gold])
    given = find_senses(found, vectors_nD, tokenizer, len(names)).labels()
    free = find_senses(found, vectors_nD, tokenizer)
    random = np.random.default_rng(0)
    shuffled = np.array([_accuracy(random.permutation(truth), given) for _ in range(_SHUFFLES)])
    accuracy = _accuracy(truth, given)
    return {
        "rand": adjusted_rand_score(truth, given),
        "v_measure": v_measure_score(truth, given),
        "accuracy": accuracy,
        "chance": float(shuffled.mean()),
        "p": float((1 + (shuffled >= accuracy - 1e-9).sum()) / (1 + _SHUFFLES)),
        "senses": len(names),
        "found": len(free.senses),
        "rand_found": adjusted_rand_score(truth, free.labels()),
    }


def _accuracy(truth: Any, labels: Sequence[int]) -> float:
    """Return the share of occurrences that are right with the best one-to-one map of clusters to senses."""
    counts = np.zeros((max(labels) + 1, truth.max() + 1))
    np.add.at(counts, (np.array(labels), truth), 1)
    return float(counts[linear_sum_assignment(-counts)].sum() / len(truth))


def _means(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    means = {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}
    right = sum(one["senses"] == one["found"] for one in scores)
    return {**means, "p": sum(one["p"] < 0.05 for one in scores), "senses": len(scores), "found": right}


def _print_table(first: str, names: Sequence[str], scores: Sequence[dict[str, float]]) -> None:
    by_word = first == "word"
    p, count = ("p", "senses found") if by_word else ("words with p < 0.05", "number of senses right")
    print(f"\n| {first} | adjusted Rand | V-measure | accuracy | chance | {p} | {count} | adjusted Rand with these |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, one in zip(names, scores, strict=True):
        sure = f"{one['p']:.3f}" if by_word else f"{one['p']} of {one['senses']}"
        print(
            f"| {name} | {one['rand']:.2f} | {one['v_measure']:.2f} | {one['accuracy']:.0%} | {one['chance']:.0%} | {sure} | "
            f"{one['found']} of {one['senses']} | {one['rand_found']:.2f} |"
        )


def _draw(found: dict[str, Any], path: Path) -> None:
    rows = found["by_layer"]
    names = {"rand": "adjusted Rand index", "accuracy": "accuracy", "chance": "accuracy by chance"}
    series = [Series(name, list(range(len(rows))), [row[key] for row in rows]) for key, name in names.items()]
    title = f"{rows[0]['senses']} ambiguous words in labelled sentences"
    with atomic_file(path) as temporary:
        temporary.write_text(curve_svg(series, title, "layer (0: embeddings)", "") + "\n", encoding="utf-8")


def _in_corpus(pipeline: FeaturePipeline, patterns: Sequence[str]) -> dict[str, Any]:
    """Print how many senses ambiguous words and others have in a corpus, after the last layer."""
    samples = {word: EvenSample[Occurrence](200) for word in AMBIGUOUS + PLAIN}
    with SILENT.task("", None, "bytes") as task:
        documents = read_documents(find_files(patterns), ReaderConfig(), task)
        for one in occurrences(documents, WordFinder(pipeline.tokenizer, samples), "sentence"):
            samples[one.word].add(one)
    rows = {}
    print("| word | occurrences | senses | silhouette |\n|---|---:|---:|---:|")
    for word, sample in samples.items():
        found = sample.items()
        senses = find_senses(found, _vectors(pipeline, found)[-1], pipeline.tokenizer)
        rows[word] = {"occurrences": sample.seen, "senses": len(senses.senses), "silhouette": senses.silhouette}
        print(f"| {word} | {sample.seen} | {len(senses.senses)} | {senses.silhouette or 0:.2f} |", flush=True)
    return rows


if __name__ == "__main__":
    main()

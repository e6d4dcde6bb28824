"""How fast are texts turned into vectors, against every common way to do it on the same machine, model and texts?

    python benchmarks/inference.py TEXT --model DIR [--preset base] [--n 10000] [--rounds 3] [--json FILE]

Vectors are means over a text's tokens. What counts is real tokens a second, special tokens included and padding not, from texts
to vectors: tokenisation is in the time. Each system reads as many of the texts, the same ones first, as take it about
``--seconds``, in batches of the size that a short trial finds fastest. Accuracy is the cosine to transformers' float32 vectors
of 1,000 texts. How each peer is set is told in embedders.py. Needs the extra bertsmith[bench].
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from common import Measurement, add_shares, compare, encoder_operations, parser, report, spread
from embedders import N_REFERENCE, SYSTEMS, Embed, System, add_flags, bench

FEWEST_TEXTS = 512
STRETCH = 64


def main() -> None:
    """Run the systems in turn and print a table."""
    flags = parser(__doc__)
    add_flags(flags)
    flags.add_argument("--seconds", type=float, default=20.0, help="measured time of a system in a round, about")
    arguments = flags.parse_args()
    prepared = bench(arguments)
    rows = compare(arguments, SYSTEMS, _measure)
    add_shares(rows, SYSTEMS)
    config, lengths = prepared.config, [len(sequence) for sequence in prepared.sequences(prepared.texts)]
    title = (
        f"{len(lengths):,} texts of {np.mean(lengths):.1f} tokens (half of them {np.median(lengths):.0f} or more, the longest "
        f"{max(lengths)}) through {config.n_layers} layers of {config.width}"
    )
    columns = {
        "batch": lambda row: f"{row['batch_size']:.0f}",
        "texts": lambda row: f"{row['texts']:,.0f}",
        "real tokens/s": lambda row: f"{row['tokens_per_second']:,.0f}",
        "spread": lambda row: spread(row, "tokens_per_second"),
        "share of ceiling": lambda row: f"{row['share']:.0%}",
        "peak MB": lambda row: f"{row['peak_megabytes']:,.0f}",
        "cosine, least": lambda row: f"{row['cosine_least']:.6f}",
        "cosine, mean": lambda row: f"{row['cosine_mean']:.6f}",
    }
    report(title, rows, columns, arguments)


def _measure(name: str, system: System, arguments: argparse.Namespace) -> Measurement:
    prepared = bench(arguments)
    texts = prepared.texts
    lengths = [len(sequence) for sequence in prepared.sequences(texts)]
    embed = system.build(prepared, False)
    chosen = _chosen(prepared.folder / f"{name}.json", embed, system.batch_sizes, texts, lengths, arguments.seconds)
    batch_size, n_texts = chosen["batch_size"], chosen["texts"]
    embed([texts[place] for place in _stretches(lengths)], batch_size)
    started = time.perf_counter()
    vectors = embed(texts[:n_texts], batch_size)
    seconds = time.perf_counter() - started
    cosines = _cosines(vectors[:N_REFERENCE], prepared.reference[:n_texts])
    return {
        **chosen,
        "tokens_per_second": sum(lengths[:n_texts]) / seconds,
        "gflops": encoder_operations(prepared.config, lengths[:n_texts]) / seconds / 1e9,
        "cosine_least": float(cosines.min()),
        "cosine_mean": float(cosines.mean()),
    }


def _chosen(
    kept: Path, embed: Embed, batch_sizes: tuple[int, ...], texts: list[str], lengths: list[int], seconds: float
) -> dict[str, int]:
    """Return the fastest batch size and how many texts take about ``seconds``, as the first round's trial found them."""
    if not kept.exists():
        places = _stretches(lengths)
        trial = [texts[place] for place in places]
        embed(trial, batch_sizes[0])
        times: dict[int, float] = {}
        for batch_size in batch_sizes:
            started = time.perf_counter()
            embed(trial, batch_size)
            times[batch_size] = time.perf_counter() - started
        best = min(times, key=lambda batch_size: times[batch_size])
        n_tokens = sum(lengths[place] for place in places)
        # Whole sixteens, so that no system meets a last batch of a single text, which compilers treat apart.
        wanted = int(seconds / times[best] * n_tokens / np.mean(lengths)) // 16 * 16
        kept.write_text(json.dumps({"batch_size": best, "texts": min(len(texts), max(FEWEST_TEXTS, wanted))}))
    chosen: dict[str, int] = json.loads(kept.read_text())
    return chosen


def _stretches(lengths: list[int]) -> list[int]:
    """Return the places of texts that are neighbours in length, as those of a batch are when many are sorted."""
    order = np.argsort(lengths, kind="stable").tolist()
    starts = [int(share * (len(order) - STRETCH)) for share in (0.4, 0.9)]
    return [place for start in starts for place in order[start : start + STRETCH]]


def _cosines(vectors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    products = (vectors * reference).sum(axis=1)
    return np.asarray(products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1))


if __name__ == "__main__":
    main()

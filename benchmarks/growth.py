"""How does bertsmith's cost grow with length, batch, cores and ranks?

    python benchmarks/growth.py TEXT --model DIR --out DIR [--preset base] [--rounds 3]

Tokens a second of a training step (MLM + NSP, dropout, AdamW; random tokens) and of texts turned into vectors (mean pooling,
tokenisation included), one thing varied at a time. Writes DIR/growth.json and a plot of each series to DIR/growth-*.svg, and
prints a table. Two ranks are two processes of one thread each, as torchrun starts them.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertsmith.charts.curves import Series, curve_svg
from common import Measurement, Row, compare, parser, report, spread
from embedders import SYSTEMS, Bench, add_flags, bench, texts_of

LENGTHS, BUDGETS = (32, 64, 128, 256, 512), (512, 1024, 2048, 4096, 8192, 16384)
MASKED_SHARE = 0.15


@dataclass(frozen=True)
class Point:
    """Something computed on sequences of one length; ``x`` is where it stands in its series."""

    kind: str
    x: int
    length: int = 128
    tokens: int = 8192
    precision: str = "bf16"
    environment: dict[str, str] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()


def _threads(count: int) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(count)}


def _ranks(count: int) -> tuple[str, ...]:
    return ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), "--")


POINTS = {
    **{f"training, length {length}": Point("training", length, length) for length in LENGTHS},
    **{f"vectors, length {length}": Point("vectors", length, length) for length in LENGTHS},
    **{f"training, {tokens} tokens a step": Point("training", tokens, tokens=tokens) for tokens in BUDGETS},
    **{f"training, cores {count}": Point("training", count, environment=_threads(count)) for count in (1, 2)},
    **{f"vectors, cores {count}": Point("vectors", count, environment=_threads(count)) for count in (1, 2)},
    **{
        f"training, ranks {count}": Point("training", count, environment=_threads(1), launcher=_ranks(count))
        for count in (1, 2)
    },
}
PLOTS = {
    "length": ("tokens of a sequence", ("training, length", "vectors, length")),
    "batch": ("tokens a step", ("training, tokens",)),
    "cores": ("cores, or ranks of one core", ("training, cores", "vectors, cores", "training, ranks")),
}


def main() -> None:
    """Measure every point, print a table and draw the plots."""
    flags = parser(__doc__)
    add_flags(flags)
    flags.add_argument("--out", type=Path, required=True)
    flags.add_argument("--tokens", type=int, default=40_960, help="tokens that are measured of a point in a round")
    arguments = flags.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.json = arguments.out / "growth.json"
    config = bench(arguments).config
    rows = compare(arguments, POINTS, _measure)
    columns = {
        "tokens/s": lambda row: f"{row['tokens_per_second']:,.0f}",
        "spread": lambda row: spread(row, "tokens_per_second"),
    }
    report(f"bertsmith in bf16, {config.n_layers} layers of {config.width}", rows, columns, arguments)
    for name, (x_label, series) in PLOTS.items():
        curves = [_series(one, rows) for one in series]
        plot = curve_svg(curves, f"Tokens a second by {name}", x_label, "tokens a second")
        (arguments.out / f"growth-{name}.svg").write_text(plot, encoding="utf-8")


def _series(name: str, rows: dict[str, Row]) -> Series:
    kind, varied = name.split(", ")
    points = [(POINTS[row].x, rows[row]["tokens_per_second"]) for row in rows if row.startswith(kind) and varied in row]
    return Series(name, [x for x, _ in points], [y for _, y in points])


def _measure(_name: str, point: Point, arguments: argparse.Namespace) -> Measurement:
    prepared = bench(arguments)
    work = _training_step(point, prepared) if point.kind == "training" else _vectors(point, prepared)
    work(), work()
    started = time.perf_counter()
    # A number of steps, not a time: ranks must agree on when to stop.
    tokens = sum(work() for _ in range(max(1, arguments.tokens // point.tokens)))
    return {"tokens_per_second": tokens / (time.perf_counter() - started)}


def _vectors(point: Point, prepared: Bench) -> Callable[[], int]:
    embed = SYSTEMS[f"bertsmith {point.precision}"].build(prepared, False)
    texts = texts_of(point.length, point.tokens // point.length, prepared)

    def work() -> int:
        embed(texts, 1)
        return point.tokens

    return work


def _training_step(point: Point, prepared: Bench) -> Callable[[], int]:
    """Return a step of every rank, each on as many tokens, that gives the tokens of all."""
    import torch

    from bertsmith.machine import keep_pages
    from bertsmith.model.bert import PRETRAINING, initialise, uninitialised
    from bertsmith.pretraining.trainer import Trainer
    from bertsmith.training.parallel import Ranks
    from bertsmith.training.settings import Optimisation

    keep_pages()
    ranks, device = Ranks.from_environment(), torch.device("cpu")
    ranks.join(device)
    model = uninitialised(prepared.config, PRETRAINING)
    initialise(model, seed=0)
    dtype = torch.bfloat16 if point.precision == "bf16" else torch.float32
    trainer = Trainer(model, Optimisation(), 0, ranks, device, dtype, compiled=False)
    batch = _random_batch(point, prepared.config)
    masked, pairs = (ranks.world * len(labels) for labels in (batch.masked_positions, batch.next_sentence_labels))
    number = 0

    def work() -> int:
        nonlocal number
        number += 1
        trainer.step(number, [batch], masked, pairs, 1e-4)
        return point.tokens * ranks.world

    return work


def _random_batch(point: Point, config: Any) -> Any:
    import torch

    from bertsmith.types import PackedBatch, PretrainingBatch

    random = np.random.default_rng(0)
    token_ids = random.integers(1000, config.vocabulary_size, point.tokens)
    lengths = np.full(point.tokens // point.length, point.length)
    masked = np.sort(random.choice(point.tokens, int(MASKED_SHARE * point.tokens), replace=False))
    return PretrainingBatch(
        inputs=PackedBatch.from_arrays(token_ids, np.zeros_like(token_ids), lengths),
        masked_positions=torch.from_numpy(masked),
        masked_token_ids=torch.from_numpy(token_ids[masked]),
        next_sentence_labels=torch.zeros(len(lengths), dtype=torch.int64),
    )


if __name__ == "__main__":
    main()

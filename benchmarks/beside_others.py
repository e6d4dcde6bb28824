"""How much of the machine do answers and training get beside busy processes, and under a container's quota?

    python benchmarks/beside_others.py --model DIR [--busy 0 1 2 3] [--rounds 3] [--seconds 3] [--json FILE]
    python benchmarks/beside_others.py --model DIR --control-group DIR --busy 0 ...

Answers for texts of 20 to 50 tokens in batches, one text alone, and pre-training steps of a small new model, by how threads
wait for each other: as bertsmith sets them, spinning as PyTorch has them by default, always asleep, and one thread. A busy
process uses as much of a core as it gets. The fair share is that of N threads among N + K that the system treats alike. Each
process measured joins the control group whose directory is given, which may have a quota.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from common import Measurement, compare, parser, table

LENGTHS = (20, 30, 40, 50)
SMALL = {"width": 128, "n_layers": 2, "n_heads": 2, "feed_forward_width": 512, "vocabulary_size": 30_522}
SMALL_BATCH_TOKENS = 512
WAITING = {
    "bertsmith": {},
    "spinning": {"GOMP_SPINCOUNT": "300000"},
    "asleep": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


@dataclass(frozen=True)
class System:
    """How threads wait, and how many busy processes are beside them."""

    busy: int
    environment: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Run the systems in turn and print a table for each kind of work."""
    flags = parser(__doc__)
    flags.add_argument("--model", type=Path, required=True)
    flags.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 3], help="numbers of busy processes")
    flags.add_argument("--seconds", type=float, default=3.0, help="measured time of each kind of work in a round")
    flags.add_argument("--control-group", type=Path, help="directory of a control group to measure in")
    arguments = flags.parse_args()
    systems = {
        f"{name}, {busy} busy": System(busy, environment) for busy in arguments.busy for name, environment in WAITING.items()
    }
    rows = compare(arguments, systems, _measure)
    n_cores = len(os.sched_getaffinity(0))
    for key, title in {
        "answers": "Answers in batches, tokens/s",
        "alone": "One text alone, texts/s",
        "training": "Small training steps, tokens/s",
    }.items():
        alone = rows[f"spinning, {arguments.busy[0]} busy"][key]
        print(f"\n{title}, and as a share of spinning threads beside {arguments.busy[0]}\n")
        by_busy = {}
        for busy in arguments.busy:
            found = {name: rows[f"{name}, {busy} busy"][key] for name in WAITING if f"{name}, {busy} busy" in rows}
            fair = min(1.0, n_cores / (n_cores + busy))
            by_busy[str(busy)] = {"fair share": f"{fair:.2f}"} | {
                name: f"{value:,.0f} ({value / alone:.2f})" for name, value in found.items()
            }
        columns = {name: lambda row, name=name: row[name] for name in next(iter(by_busy.values()))}
        table(by_busy, columns, "busy processes")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _measure(_name: str, system: System, arguments: argparse.Namespace) -> Measurement:
    if arguments.control_group:
        (arguments.control_group / "cgroup.procs").write_text(str(os.getpid()))
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(system.busy)]
    try:
        return _figures(arguments)
    finally:
        for process in busy:
            process.kill()


def _figures(arguments: argparse.Namespace) -> Measurement:
    from bertsmith import measure
    from bertsmith.artifacts.directory import save_model
    from bertsmith.model.bert import PRETRAINING, initialise, uninitialised
    from bertsmith.model.model_config import ModelConfig
    from bertsmith.text.tokenizer import Tokenizer

    def job(model: Path, lengths: tuple[int, ...], training: bool) -> measure.Figures:
        return measure.measure_here(measure.Job(model, "cpu", "float32", lengths, None, training, arguments.seconds))

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small"
        model = uninitialised(ModelConfig(**SMALL), PRETRAINING)
        initialise(model, 0)
        tokenizer = Tokenizer.load(arguments.model)
        save_model(model, tokenizer, small)
        answers = job(arguments.model, LENGTHS, training=False)
        measure.PretrainOptimisation = lambda: type("Batch", (), {"batch_tokens": SMALL_BATCH_TOKENS})()
        trained = job(small, (8, 10, 12, 14), training=True)
    assert answers.latency is not None
    return {"answers": answers.tokens_per_second, "alone": 1 / answers.latency, "training": trained.tokens_per_second}


if __name__ == "__main__":
    main()

"""Does a run that is killed again and again end with the same bytes as one that never was?

    python benchmarks/exact_resume.py CORPUS [--kills 20] [--steps 60] [--model tiny] [--json FILE]

For each of the eight combinations of loader workers (0, 2), accumulation (1, 4) and precision (float32, bf16), one run is left
alone and another is killed with SIGKILL at moments drawn from ``--seed`` and started again each time: while it starts, between
steps, and as soon as a half-written checkpoint is seen on the disk. Compared are the final ``model.safetensors``, byte for
byte, and every line of ``metrics.jsonl`` but for its timings. The exit code is 1 when anything differs.
"""

import argparse
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMBINATIONS = list(itertools.product((0, 2), (1, 4), ("float32", "bf16")))
MOMENTS = ("starting", "training", "saving")
TIMINGS = {"tokens_per_second", "utilisation", "seconds"}


def main() -> None:
    """Run all combinations and print a table."""
    arguments = _arguments()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for workers, accumulation, precision in COMBINATIONS:
            row: dict[str, Any] = {"workers": workers, "accumulation": accumulation, "precision": precision}
            name = f"{workers}-{accumulation}-{precision}"
            row |= _compare(
                arguments, _flags(arguments, row), Path(directory) / name, random.Random(f"{arguments.seed} {name}")
            )
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    _print_table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.exit(not all(row["weights_equal"] and row["metrics_equal"] for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--kills", type=int, default=20, help="kills of each run")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--save-every", type=int, default=2)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _flags(arguments: argparse.Namespace, row: dict[str, Any]) -> list[str]:
    settings = {
        "corpus": arguments.corpus,
        "model": arguments.model,
        "steps": arguments.steps,
        "max-length": 64,
        "batch-tokens": 1024 // row["accumulation"],
        "accumulation": row["accumulation"],
        "loader-workers": row["workers"],
        "precision": row["precision"],
        "device": "cpu",
        "log-every": 1,
        "evaluate-every": 10,
        "evaluation-tokens": 2000,
        "save-every": arguments.save_every,
    }
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def _compare(arguments: argparse.Namespace, flags: list[str], directory: Path, draw: random.Random) -> dict[str, Any]:
    """Make both runs and return what is equal, and at what moments the second was killed."""
    whole, killed = directory / "whole", directory / "killed"
    began = time.monotonic()
    process = _start(flags, whole)
    _wait(process, lambda: (whole / "metrics.jsonl").exists())
    startup = time.monotonic() - began
    _finish(process)
    counts = dict.fromkeys(MOMENTS, 0)
    half_written: set[str] = set()
    for step in sorted(draw.randrange(arguments.steps - arguments.save_every) for _ in range(arguments.kills)):
        moment = draw.choice(MOMENTS)
        process = _start(flags, killed)
        _let_run(process, killed, moment, step, startup, draw)
        process.kill()
        process.communicate()
        counts[moment] += 1
        half_written |= {path.name for path in killed.rglob("*.partial")}
    _finish(_start(flags, killed))
    weights = [(run / "final" / "model.safetensors").read_bytes() for run in (whole, killed)]
    return {
        **counts,
        "left_half_written": len(half_written),
        "weights_equal": weights[0] == weights[1],
        "metrics_equal": _records(whole) == _records(killed),
    }


def _start(flags: list[str], out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bertsmith", "pretrain", *flags, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said)


def _wait(process: subprocess.Popen[str], condition: Any) -> None:
    while not condition():
        if process.poll() is not None:
            raise SystemExit(process.communicate()[1])
        time.sleep(0.0005)


def _let_run(process: subprocess.Popen[str], run: Path, moment: str, step: int, startup: float, draw: random.Random) -> None:
    """Return when the run is to be killed."""
    if moment == "starting":
        time.sleep(draw.uniform(0, startup))
    elif moment == "saving":
        _wait(process, lambda: _half_written(run) > step)
        time.sleep(draw.uniform(0, 0.03))
    else:
        _wait(process, lambda: _last_step(run) > step)
        time.sleep(draw.uniform(0, 0.1))


def _half_written(run: Path) -> int:
    """Return the step of the checkpoint that is being written, 0 if none is."""
    names = (path.name for path in run.glob("checkpoints/.step-*.partial"))
    return max((int(found[1]) for name in names if (found := re.match(r"\.step-(\d+)\.", name))), default=0)


def _last_step(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    steps = re.findall(rb'"train", "step": (\d+)', metrics.read_bytes()) if metrics.exists() else []
    return int(steps[-1]) if steps else 0


def _records(run: Path) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in record.items() if name not in TIMINGS} for record in lines]


def _print_table(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    print(f"| {' | '.join(name.replace('_', ' ') for name in names)} |\n|{'---|' * len(names)}")
    words = {True: "yes", False: "NO"}
    for row in rows:
        cells = [words[value] if isinstance(value, bool) else str(value) for value in row.values()]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

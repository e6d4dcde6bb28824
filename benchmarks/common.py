"""What the benchmarks share: systems in processes of their own, in turn, round after round; medians, spread and the ceiling.

A script names its systems in a dictionary and gives a function that measures one of them; :func:`compare` runs the script again
for each, so that no system shares a process, an allocator or a thread pool with another. Before each round and behind the last
it measures the ceiling, how fast the machine multiplies matrices in each precision and moves memory; the best time counts.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Measurement = dict[str, Any]
Row = dict[str, Any]
CEILING = "ceiling"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the flags that every comparison has."""
    flags = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--systems", nargs="*", help="only systems with one of these words in their names")
    flags.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    flags.add_argument("--run", help=argparse.SUPPRESS)
    return flags


def compare(
    arguments: argparse.Namespace, systems: Mapping[str, Any], measure: Callable[[str, Any, argparse.Namespace], Measurement]
) -> dict[str, Row]:
    """Measure the systems in turn, ``arguments.rounds`` times, and return a row of medians for each.

    ``measure`` gets a system's name, its settings and the arguments. A row has the median of every number KEY that it returned,
    and as ``KEY_spread`` the least and the most. In a process that :func:`compare` has started, it prints one measurement and
    ends the process.
    """
    if arguments.run:
        result = ceiling() if arguments.run == CEILING else measure(arguments.run, systems[arguments.run], arguments)
        print(json.dumps({**result, "peak_megabytes": peak_megabytes()}))
        sys.exit()
    chosen = [name for name in systems if not arguments.systems or any(part in name for part in arguments.systems)]
    results: dict[str, list[Measurement]] = {name: [] for name in [CEILING, *chosen]}
    for name in [*arguments.rounds * list(results), CEILING]:
        results[name].append(measure_in_process(name, systems.get(name)))
        print(f"{name}: {_short(results[name][-1])}", file=sys.stderr, flush=True)
    best = {key: max(result[key] for result in results[CEILING]) for key in results[CEILING][0]}
    return {name: _medians(results[name]) for name in chosen} | {CEILING: best}


def measure_in_process(name: str, settings: Any = None) -> Measurement:
    """Run this script again for one system; its settings may have ``launcher`` (words) and ``environment``."""
    command = [sys.executable, *getattr(settings, "launcher", ()), *sys.argv, "--run", name]
    environment = {"TRANSFORMERS_VERBOSITY": "error", **os.environ, **getattr(settings, "environment", {})}
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    result: Measurement = json.loads(finished.stdout.splitlines()[-1])
    return result


def peak_megabytes() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ceiling() -> Measurement:
    """Measure products of BERT-base's feed-forward shape in GFLOP/s (int8: billions of operations) and copying in GB/s."""
    import torch

    tokens, width, inner = 2048, 768, 3072
    left, right = torch.randn(tokens, width), torch.randn(inner, width).t()
    products = {
        "float32": (torch.matmul, left, right),
        "bf16": (torch.matmul, left.bfloat16(), right.bfloat16()),
        "int8": (torch._int_mm, left.to(torch.int8), right.to(torch.int8)),
    }
    rates = {name: 2e-9 * tokens * width * inner / _fastest(*product) for name, product in products.items()}
    source = torch.ones(1 << 26)
    return {**rates, "bandwidth": 2e-9 * source.nbytes / _fastest(torch.empty_like(source).copy_, source)}


def _fastest(work: Callable[..., Any], *arguments: Any, seconds: float = 0.7) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        work(*arguments)
        best = min(best, time.perf_counter() - started)
    return best


def encoder_operations(config: Any, lengths: Sequence[int]) -> float:
    """Return the operations of the matrix products of a :class:`ModelConfig`'s encoder over sequences of these lengths."""
    layer = 2 * (4 * config.width**2 + 2 * config.width * config.feed_forward_width) * sum(lengths)
    attention = 4 * config.width * sum(length**2 for length in lengths)
    return float(config.n_layers * (layer + attention))


def add_shares(rows: Mapping[str, Row], systems: Mapping[str, Any]) -> None:
    """Give each row ``share``: its ``gflops`` over the machine's rate in the system's ``precision``."""
    for name, row in rows.items():
        if name != CEILING:
            row["share"] = row["gflops"] / rows[CEILING][systems[name].precision]


def _medians(results: Sequence[Measurement]) -> Row:
    row: Row = {}
    for key in results[0]:
        values = [result[key] for result in results]
        row[key] = statistics.median(values)
        row[f"{key}_spread"] = [min(values), max(values)]
    return row


def _short(result: Measurement) -> str:
    return ", ".join(f"{key} {value:.6g}" for key, value in result.items())


def report(
    title: str, rows: Mapping[str, Row], columns: Mapping[str, Callable[[Row], str]], arguments: argparse.Namespace
) -> None:
    """Print the rows as a Markdown table under a title that tells the ceiling, and write them where ``--json`` says."""
    machine = rows[CEILING]
    rates = ", ".join(f"{name} {machine[name]:.0f}" for name in ("float32", "bf16", "int8"))
    print(f"{title}; medians of {arguments.rounds} rounds")
    print(f"Ceiling: matrix products at {rates} GFLOP/s, memory {machine['bandwidth']:.0f} GB/s, {os.cpu_count()} cores\n")
    table({name: row for name, row in rows.items() if name != CEILING}, columns)
    if arguments.json:
        arguments.json.write_text(json.dumps({"title": title, "rows": rows}, indent=2) + "\n", encoding="utf-8")


def table(rows: Mapping[str, Row], columns: Mapping[str, Callable[[Row], str]], first: str = "system") -> None:
    """Print a Markdown table, one row a system."""
    print(f"| {first} | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(cell(row) for cell in columns.values())} |")


def spread(row: Row, key: str) -> str:
    """Return the least and the most of a row's value over the rounds."""
    low, high = row[f"{key}_spread"]
    return f"{low:,.0f}-{high:,.0f}"


class Results:
    """Results in a file, a line each, in the order in which they came."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._found: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def of(self, key: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the results that have these values."""
        return [result for result in self._found if all(result.get(name) == value for name, value in key.items())]

    def add(self, result: dict[str, Any]) -> None:
        """Write a result down."""
        self._found.append(result)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), file=sys.stderr, flush=True)

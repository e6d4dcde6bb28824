"""Fine-tuning with bertsmith and with transformers' Trainer, equal settings and rows, many seeds: scores, time, memory.

    OMP_NUM_THREADS=1 python benchmarks/parity.py DATA ENGLISH CHINESE --out DIR [--seeds 8] [--tasks sst2 …]
    python benchmarks/parity.py DATA ENGLISH CHINESE --out DIR --report [--svg FILE]

DATA is laid out as benchmarks/finetuning.py says; ENGLISH (all-MiniLM-L6-v2) and CHINESE (such as
benchmarks/pretraining_curves.py trains) are model directories. Needs the extra bertsmith[bench].

Equal are the weights, rows, epochs, batch sizes, rates, warm-up, decay (none on biases and norms), clipping, dropout, heads
([CLS], pooler, dropout, a linear layer drawn at random), lengths, windows, answers of at most 30 tokens, and scorers; both
learn numbers as standard scores. Not equal is what a seed decides: the order of the rows, dropout, the values of a new head.
transformers pads each batch to its longest row.

A process trains four seeds one after the other, of one system on one task; all tasks have their turn before the next four
seeds, so that a stop leaves as many runs of each. Processor seconds, a seed's share, and peak memory are of whole processes:
imports, reading, training, scoring; bertsmith also writes the best model and a report.
Results go to DIR/results.jsonl as they come; the same command goes on from there.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Results
from finetuning import TASKS, Task, add_shared_arguments, finetune, finetune_transformers, statistics_of, write_parts

SYSTEMS = ("bertsmith", "transformers", "transformers bf16", "bertsmith bf16")
PAIRS = ((SYSTEMS[0], SYSTEMS[1]), (SYSTEMS[0], SYSTEMS[2]), (SYSTEMS[3], SYSTEMS[2]))
Runs = list[dict[str, Any]]
MISSING = "–"
# transformers draws a new head at random, and pools by [CLS] whatever the model is.
EQUAL = {
    "classify": ("--head-start", "random", "--pooling", "cls"),
    "regress": ("--head-start", "random", "--pooling", "cls"),
    "tag": ("--head-start", "random"),
    "answer": (),
}


def main() -> None:
    """Run what has no result yet, or report what there is."""
    arguments = _arguments()
    tasks = {name: TASKS[name].limited(arguments.limit) for name in arguments.tasks}
    results = Results(arguments.out / "results.jsonl")
    if not arguments.report:
        for first in range(0, arguments.seeds, arguments.together):
            for name, task in tasks.items():
                for system in arguments.systems:
                    key = _key(name, task, system, arguments)
                    if not results.of({**key, "seed": first}):
                        seeds = range(first, min(first + arguments.together, arguments.seeds))
                        for seed, run in zip(seeds, _run(name, task, system, seeds, arguments), strict=True):
                            results.add({**key, "seed": seed, **run})
    runs = {
        name: {system: results.of(_key(name, task, system, arguments)) for system in SYSTEMS} for name, task in tasks.items()
    }
    rows = [_Row(name, metric, task, runs[name]) for name, task in tasks.items() for metric in task.metrics]
    _print_tables(rows)
    if arguments.svg:
        arguments.svg.write_text(_forest(rows), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("english", type=Path)
    parser.add_argument("chinese", type=Path)
    add_shared_arguments(parser, TASKS)
    parser.set_defaults(seeds=8)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--together", type=int, default=4, metavar="N", help="seeds of a process, one after the other")
    parser.add_argument("--report", action="store_true", help="run nothing; print the tables of what there is")
    parser.add_argument("--svg", type=Path, help="draw the differences there")
    return parser.parse_args()


def _key(name: str, task: Task, system: str, arguments: argparse.Namespace) -> dict[str, Any]:
    return {"task": name, "system": system, "model": str(_model(task, arguments).resolve()), **task.settings}


def _model(task: Task, arguments: argparse.Namespace) -> Path:
    path: Path = arguments.chinese if task.language == "zh" else arguments.english
    return path


def _run(name: str, task: Task, system: str, seeds: range, arguments: argparse.Namespace) -> Runs:
    paths = write_parts(name, task, arguments.data, arguments.out)
    model, is_bf16 = _model(task, arguments), system.endswith("bf16")
    if system.startswith("transformers"):
        return finetune_transformers(task, model, paths, seeds, bf16=is_bf16)
    return finetune(task, model, paths, seeds, "--precision", "bf16" if is_bf16 else "float32", *EQUAL[task.verb])


class _Row:
    """A score of a task over all runs of each system that has two at least, in percent."""

    def __init__(self, name: str, metric: str, task: Task, runs: dict[str, Runs]) -> None:
        self.name, self.metric, self.task = name, metric, task
        self.runs = {system: own for system, own in runs.items() if len(own) > 1}

    @property
    def title(self) -> str:
        """The task and the score."""
        return f"{self.name}, {self.metric.replace('_', ' ')}"

    def score(self, system: str) -> str:
        """Return mean and standard deviation."""
        if system not in self.runs:
            return MISSING
        _, mean, deviation = statistics_of(self.runs[system], self.metric)
        return f"{mean:.1f} ± {deviation:.1f}"

    def difference(self, pair: tuple[str, str]) -> tuple[float, float, float] | None:
        """Return the difference of the means and its interval of 95 %, where both systems have runs."""
        if not self.runs.keys() >= set(pair):
            return None
        ours, theirs = (statistics_of(self.runs[system], self.metric)[1] for system in pair)
        low, high = self._welch(pair).confidence_interval()
        return ours - theirs, low, high

    def test(self, pair: tuple[str, str]) -> str:
        """Return the difference, its interval, Welch's t and p."""
        if (found := self.difference(pair)) is None:
            return MISSING
        difference, low, high = found
        if math.isnan(low):
            return f"{difference:+.1f}"  # no run of either differs from another
        welch = self._welch(pair)
        return f"{difference:+.1f} ({low:+.1f} to {high:+.1f}), {welch.statistic:.2f}, {welch.pvalue:.2f}"

    def _welch(self, pair: tuple[str, str]) -> Any:
        from scipy.stats import ttest_ind

        ours, theirs = ([100 * run["scores"][self.metric] for run in self.runs[system]] for system in pair)
        return ttest_ind(ours, theirs, equal_var=False)

    def median(self, system: str, measure: str) -> float:
        """Return the median of a measure over a system's runs."""
        return statistics.median(run[measure] for run in self.runs[system]) if system in self.runs else math.nan


def _print_tables(rows: Sequence[_Row]) -> None:
    tests = [f"{ours} − {theirs} (95 %), t, p" for ours, theirs in PAIRS]
    _print_heading("task, score", "train / dev, epochs, rate", "seeds", *SYSTEMS, *tests)
    for row in rows:
        seeds = "–".join(str(count) for count in sorted({len(own) for own in row.runs.values()}))
        _print_cells(row.title, _settings(row.task), seeds, *map(row.score, SYSTEMS), *map(row.test, PAIRS))
    for measure, digits in (("processor_seconds", 1), ("peak_megabytes", 0)):
        ratios = [f"{ours} / {theirs}" for ours, theirs in PAIRS]
        print(f"\n{measure.replace('_', ' ')}\n")
        _print_heading("task", *SYSTEMS, *ratios)
        for row in {row.name: row for row in rows}.values():
            found = {system: row.median(system, measure) for system in SYSTEMS}
            shares = [found[ours] / found[theirs] for ours, theirs in PAIRS]
            _print_cells(row.name, *(_number(one, digits) for one in found.values()), *(_number(one, 2) for one in shares))


def _print_heading(*cells: str) -> None:
    _print_cells(*cells)
    print(f"|{'---|' * len(cells)}")


def _print_cells(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def _number(value: float, digits: int) -> str:
    return MISSING if math.isnan(value) else f"{value:,.{digits}f}"


def _settings(task: Task) -> str:
    return f"{task.sizes[0]:,} / {task.sizes[1]:,}, {task.epochs}, {task.learning_rate:g}"


def _forest(rows: Sequence[_Row]) -> str:
    """Draw the differences of means with their intervals, a line a score; blue in float32, orange in bf16."""
    left, width, high = 190, 720, 34
    colours = {PAIRS[0]: ("#1f77b4", -5), PAIRS[2]: ("#e8871e", 5)}
    drawn = [(place, row.difference(pair), *look) for place, row in enumerate(rows) for pair, look in colours.items()]
    drawn = [one for one in drawn if one[1] is not None]
    most = max((abs(end) for _, found, *_ in drawn for end in found if not math.isnan(end)), default=1.0)

    def x(value: float) -> float:
        return left + (width - left - 20) * (value / most + 1) / 2

    bottom = 60 + high * len(rows)
    parts = [f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="30" y2="{bottom - 20}" stroke="#888"/>']
    parts += [
        f'<text x="{left}" y="18">bertsmith − transformers, points, 95 % interval of Welch; float32 blue, bf16 orange</text>'
    ]
    names = [(50 + high * place, row.title) for place, row in enumerate(rows)]
    parts += [f'<text x="{left - 8}" y="{middle + 4}" text-anchor="end">{title}</text>' for middle, title in names]
    for place, (mean, low, top), colour, shift in drawn:
        y = 50 + high * place + shift
        if not math.isnan(low):
            parts.append(f'<line x1="{x(low):.1f}" x2="{x(top):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<circle cx="{x(mean):.1f}" cy="{y}" r="3.5" fill="{colour}"/>')
    parts += [f'<text x="{x(end):.1f}" y="{bottom}" text-anchor="middle">{end:+.0f}</text>' for end in (-most, 0, most)]
    style = 'font-family="sans-serif" font-size="12" fill="#333"'
    size = f'width="{width}" height="{bottom + 12}" viewBox="0 0 {width} {bottom + 12}"'
    paper = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{paper}{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    main()

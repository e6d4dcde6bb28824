"""How the time and the memory of corpus building grow with the text: the same text once, ten times, a hundred times.

    python benchmarks/corpus_growth.py TEXT.txt.gz [--tokenizer DIR] [--json FILE] [--svg FILE]

Memory is the peak of the proportional set size, summed over the process and its workers.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from bertsmith.charts.curves import Series, curve_svg
from corpus_building import Run, measure, train_tokenizer, write_text


def copies(text: Path, times: int, target: Path) -> Path:
    """Write ``text`` to ``target`` so many times."""
    contents = text.read_bytes()
    with target.open("wb") as file:
        for _ in range(times):
            file.write(contents)
    return target


def plot(runs: list[Run]) -> str:
    """Return seconds against megabytes as SVG, with the straight line through the origin and the largest run."""
    sizes = [run.megabytes for run in runs]
    rate = runs[-1].seconds / runs[-1].megabytes
    series = [
        Series("measured", sizes, [run.seconds for run in runs]),
        Series("a straight line", [0, sizes[-1]], [0, rate * sizes[-1]]),
    ]
    return curve_svg(series, "Building a corpus", "MB of text", "seconds")


def main() -> None:
    """Measure what the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="text, one sentence a line, plain or .gz")
    parser.add_argument("--tokenizer", type=Path, help="its directory; default: one trained on the text")
    parser.add_argument("--megabytes", type=int, default=6, help="how much of the text is repeated")
    parser.add_argument("--times", default="1,10,30,100", help="how often, ascending")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write every run here")
    parser.add_argument("--svg", type=Path, help="draw seconds against megabytes here")
    flags = parser.parse_args()
    runs: list[Run] = []
    print(f"{'times':>6}{'MB':>7}{'seconds':>9}{'MB/s':>7}{'tokens/s':>12}{'peak MB':>9}")
    with tempfile.TemporaryDirectory(prefix="corpus-growth-") as directory:
        once = write_text(flags.text, flags.megabytes, Path(directory, "once.txt"))
        tokenizer = flags.tokenizer or train_tokenizer(once, Path(directory, "tokenizer"))
        for times in map(int, flags.times.split(",")):
            text = copies(once, times, Path(directory, "text.txt"))
            run = measure("bertsmith", text, tokenizer, flags.workers)
            runs.append(run)
            print(f"{times:6}{run.megabytes:7.0f}{run.seconds:9.2f}{run.megabytes / run.seconds:7.1f}", end="")
            print(f"{run.tokens / run.seconds:12,.0f}{run.peak_megabytes:9.0f}", flush=True)
    if flags.json:
        flags.json.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")
    if flags.svg:
        flags.svg.write_text(plot(runs) + "\n")


if __name__ == "__main__":
    main()

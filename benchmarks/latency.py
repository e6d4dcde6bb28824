"""How long does one text take to become a vector, against every common way to do it on the same machine, model and texts?

    python benchmarks/latency.py TEXT --model DIR [--preset base] [--lengths 8 32 128] [--rounds 3] [--json FILE]

One text after the other, tokenisation included, after a warm-up; other texts of the same number of tokens each time, special
tokens included. Medians over all calls, and the 95th percentile, which one call in twenty exceeds. How each peer is set is told
in embedders.py. Needs the extra bertsmith[bench].
"""

import argparse
import time
from itertools import cycle, islice

import numpy as np

from common import Measurement, Row, compare, parser, report
from embedders import SYSTEMS, System, add_flags, bench, texts_of

N_TEXTS = 20
WARM_UP_CALLS = 2 * N_TEXTS


def main() -> None:
    """Run the systems in turn and print a table."""
    flags = parser(__doc__)
    add_flags(flags)
    flags.add_argument("--lengths", type=int, nargs="+", default=[8, 32, 128], help="tokens of a text")
    flags.add_argument("--seconds", type=float, default=3.0, help="measured time of a length in a round")
    arguments = flags.parse_args()
    config = bench(arguments).config
    # A single text has no order: transformers' default is what is measured as float32.
    rows = compare(arguments, {name: system for name, system in SYSTEMS.items() if "unsorted" not in name}, _measure)
    columns = {f"{length} tokens, ms": lambda row, length=length: _cell(row, length) for length in arguments.lengths}
    columns["peak MB"] = lambda row: f"{row['peak_megabytes']:,.0f}"
    report(f"One text through {config.n_layers} layers of {config.width}, median (95th percentile)", rows, columns, arguments)


def _cell(row: Row, length: int) -> str:
    return f"{row[f'median_{length}']:.2f} ({row[f'percentile_95_{length}']:.2f})"


def _measure(_name: str, system: System, arguments: argparse.Namespace) -> Measurement:
    prepared = bench(arguments)
    embed = system.build(prepared, True)
    result: Measurement = {}
    for length in arguments.lengths:
        texts = cycle(texts_of(length, N_TEXTS, prepared))
        for text in islice(texts, WARM_UP_CALLS):
            embed([text], 1)
        times = []
        end = time.perf_counter() + arguments.seconds
        while time.perf_counter() < end:
            text = next(texts)
            started = time.perf_counter()
            embed([text], 1)
            times.append(1000 * (time.perf_counter() - started))
        result |= {f"median_{length}": float(np.median(times)), f"percentile_95_{length}": float(np.percentile(times, 95))}
    return result


if __name__ == "__main__":
    main()

"""Do files that were damaged at random ever end in anything but a reading or one error in words?

    python benchmarks/mutated_files.py [--mutations 100000] [--first-seed 0] [--json FILE]

The readers, their good files and the mutations are those of tests/faults/test_mutated_files.py, which runs a few of them.
Prints what became of each reader's mutations. Names each fault by its reader and seed, and then leaves with exit code 1.
"""

import argparse
import importlib.util
import json
import logging
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType

from common import table

HARNESS = Path(__file__).parents[1] / "tests" / "faults" / "test_mutated_files.py"


def main() -> None:
    """Run the mutations and print a table."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--mutations", type=int, default=100_000, help="in all")
    flags.add_argument("--first-seed", type=int, default=0)
    flags.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = flags.parse_args()
    names = list(_harness().READERS)
    seeds = range(arguments.first_seed, arguments.first_seed + -(-arguments.mutations // len(names)))
    with ProcessPoolExecutor() as pool:
        found = dict(zip(names, pool.map(_run, names, [seeds] * len(names)), strict=True))
    rows = {name: {"mutations": len(seeds), **counts, "faults": len(faults)} for name, (counts, faults) in found.items()}
    total: Counter[str] = Counter()
    for row in rows.values():
        total.update(row)
    rows["all"] = dict(total)
    table(
        rows, {key: lambda row, key=key: f"{row.get(key, 0):,}" for key in ("mutations", "read", "refused", "faults")}, "reader"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    faults = [f"{name}, {where}: {what}" for name, (_, faults) in found.items() for where, what in faults.items()]
    sys.exit("\n".join(faults) if faults else 0)


def _harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutated_files_harness", HARNESS)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(name: str, seeds: range) -> tuple[Counter[str], dict[str, str]]:
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    harness = _harness()
    reader, counts, faults = harness.READERS[name], Counter[str](), {}
    with tempfile.TemporaryDirectory() as folder:
        directory = harness.make(reader, Path(folder))
        for seed, file in harness.mutations(reader, directory, seeds):
            outcome = harness.outcome(reader, directory)
            if outcome in ("read", "refused"):
                counts[outcome] += 1
            else:
                faults[f"seed {seed}, {file.name}"] = outcome
    return counts, faults


if __name__ == "__main__":
    main()

"""How long does the command line take to answer?

    python benchmarks/startup.py [--runs 10]

Times whole processes: `bertsmith --help`, a verb's help, and, to compare, Python alone and an import of torch and transformers.
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "bertsmith --help": ["-m", "bertsmith", "--help"],
    "bertsmith pretrain --help": ["-m", "bertsmith", "pretrain", "--help"],
    "import torch": ["-c", "import torch"],
    "import transformers' BertForPreTraining": ["-c", "from transformers import BertForPreTraining"],
}


def main() -> None:
    """Time the commands in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    print("| command | median seconds | spread |\n|---|---:|---:|")
    for name, (_warm_up, *measured) in seconds.items():
        print(f"| `{name}` | {statistics.median(measured):.3f} | {min(measured):.3f}-{max(measured):.3f} |")


if __name__ == "__main__":
    main()

"""The memory of ``bertsmith features`` over the text that it has read.

    python benchmarks/features_memory.py MODEL TEXT [--megabytes 1000] [--tiny] [--flags --pool mean] [--json FILE] [--svg FILE]

TEXT is repeated to the size wanted. With ``--tiny``, a random model of one layer, 32 wide, stands for MODEL, with the tokenizer
of that, so that a gigabyte passes in minutes: what is measured is what reading, tokenising, computing and writing hold on to.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bertsmith.artifacts.directory import save_model
from bertsmith.charts.curves import Series, curve_svg
from bertsmith.model.bert import Heads, initialise, uninitialised
from bertsmith.model.model_config import ModelConfig
from bertsmith.text.tokenizer import Tokenizer

SECONDS_BETWEEN_LOOKS = 0.5
ROWS = 10


def tiny_model(tokenizer: Tokenizer, path: Path) -> Path:
    """Save a random model of one layer for the tokenizer."""
    shape = ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size, width=32, n_layers=1, n_heads=1, feed_forward_width=64, max_positions=512
    )
    model = uninitialised(shape, Heads())
    initialise(model, 0)
    save_model(model, tokenizer, path, "A random model.\n")
    return path


def repeated(text: Path, megabytes: float, target: Path) -> Path:
    """Write ``text`` to ``target`` so often that it has so many megabytes."""
    contents = gzip.decompress(text.read_bytes()) if text.suffix == ".gz" else text.read_bytes()
    with target.open("wb") as file:
        while (missing := int(megabytes * 1e6) - file.tell()) > len(contents):
            file.write(contents)
        file.write(contents[: contents.rfind(b"\n", 0, missing) + 1])
    return target


def looks(process: subprocess.Popen[bytes], text: Path) -> Iterator[tuple[float, float]]:
    """Yield now and then how many megabytes the process has read of the file, and how many it has in memory."""
    folder = Path("/proc", str(process.pid))
    while process.poll() is None:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        try:
            opened = [one for one in (folder / "fd").iterdir() if one.exists() and one.samefile(text)]
            status = (folder / "status").read_text()
            places = [(folder / "fdinfo" / one.name).read_text() for one in opened]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if places and "VmRSS:" in status:
            memory = int(status.partition("VmRSS:")[2].split()[0]) / 1e3
            yield int(places[0].split()[1]) / 1e6, memory


def main() -> None:
    """Measure what the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path, help="one text a line, plain or .gz")
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument("--tiny", action="store_true", help="put a random model of one layer in the place of the model")
    parser.add_argument("--extension", default=".npz", help="format of what is written")
    parser.add_argument("--json", type=Path, help="write every look here")
    parser.add_argument("--svg", type=Path, help="draw memory against megabytes read here")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="of bertsmith features; the last of all")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="features-memory-", dir=".") as directory:
        model = tiny_model(Tokenizer.load(flags.model), Path(directory, "model")) if flags.tiny else flags.model
        text = repeated(flags.text, flags.megabytes, Path(directory, "text.txt"))
        out = Path(directory, f"found{flags.extension}")
        command = [sys.executable, "-m", "bertsmith", "features", str(model), str(text), "--out", str(out), *flags.flags]
        print("| MB read | MB in memory |\n| ---: | ---: |")
        started, found, shown = time.monotonic(), [], 1
        with subprocess.Popen(command) as process:
            for read, memory in looks(process, text):
                found.append((read, memory))
                if read >= shown * flags.megabytes / ROWS:
                    print(f"| {read:,.0f} | {memory:,.0f} |", flush=True)
                    shown += 1
        seconds = time.monotonic() - started
        if process.returncode:
            sys.exit(process.returncode)
        print(f"\n{flags.megabytes:,.0f} MB in {seconds:,.0f} s, {out.stat().st_size / 1e6:,.0f} MB written")
    if flags.json:
        flags.json.write_text(json.dumps({"seconds": seconds, "looks": found}) + "\n")
    if flags.svg:
        series = [Series("resident", [read for read, _ in found], [memory for _, memory in found])]
        flags.svg.write_text(curve_svg(series, "Memory of bertsmith features", "MB of text read", "MB") + "\n")


if __name__ == "__main__":
    main()

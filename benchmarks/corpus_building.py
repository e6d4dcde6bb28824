"""Corpus building against ``datasets.map`` with transformers' fast BERT tokenizer: speed and peak memory, on the same cores.

Both read the same lines from the disk and leave token ids on it; they alternate, and medians are reported. Memory is the
peak of the proportional set size, summed over the process and its workers, sampled while they run: what is shared counts once.

    python benchmarks/corpus_building.py TEXT.txt.gz --tokenizer DIR --megabytes 6,60 --json figures.json
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

from bertsmith.text.tokenizer import Tokenizer

SECONDS_BETWEEN_SAMPLES = 0.1

# Each prints the seconds that count, those of all processors in them, and the number of tokens.
CLOCKS = """
import resource, time
def clocks():
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return time.perf_counter(), sum(usage.ru_utime + usage.ru_stime for usage in usages)
"""
BERTSMITH = """
import sys
from pathlib import Path
from bertsmith.corpus.build import CorpusConfig, build_corpus
text, tokenizer, out, workers = sys.argv[1:]
config = CorpusConfig(files=[text], tokenizer=Path(tokenizer), out=Path(out), workers=int(workers), sentences="lines")
begin = clocks()
corpus = build_corpus(config)
print(*(end - start for start, end in zip(begin, clocks())), corpus.n_tokens)
"""

# Only the map is timed, not the reading of the file into Arrow before it.
DATASETS = """
import sys
import datasets, pyarrow.compute
from transformers import BertTokenizerFast
datasets.disable_progress_bars()
text, tokenizer, out, workers = sys.argv[1:]
fast = BertTokenizerFast.from_pretrained(tokenizer, model_max_length=10**9)
def tokenise(batch):
    return fast(batch["text"], add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False)
lines = datasets.load_dataset("text", data_files=text, split="train", cache_dir=out)
begin = clocks()
done = lines.map(tokenise, batched=True, num_proc=int(workers), remove_columns=["text"])
seconds = [end - start for start, end in zip(begin, clocks())]
print(*seconds, pyarrow.compute.sum(pyarrow.compute.list_value_length(done.data.column("input_ids"))))
"""
SYSTEMS = {"bertsmith": BERTSMITH, "datasets.map": DATASETS}


@dataclass(frozen=True)
class Run:
    """One build: what made it, how much text, how long it took and how much memory it had at most."""

    system: str
    megabytes: float
    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    tokens: int


def family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from family(int(child))


def proportional_bytes(pid: int) -> int:
    """Return a process's memory, pages shared by n processes counted 1/n; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def measure(system: str, text: Path, tokenizer: Path, workers: int) -> Run:
    """Run a system's script in a process of its own, with an empty directory for what it writes."""
    with tempfile.TemporaryDirectory(prefix="corpus-building-") as directory:
        environment = os.environ | {"HF_HOME": directory, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        arguments = [
            sys.executable,
            "-c",
            CLOCKS + SYSTEMS[system],
            str(text),
            str(tokenizer),
            f"{directory}/out",
            str(workers),
        ]
        process = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True)
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(proportional_bytes, family(process.pid))))
            time.sleep(SECONDS_BETWEEN_SAMPLES)
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{system} failed")
    seconds, cpu_seconds, tokens = output.split()
    return Run(system, text.stat().st_size / 1e6, float(seconds), float(cpu_seconds), peak / 1e6, int(tokens))


def write_text(source: Path, megabytes: int, target: Path) -> Path:
    """Write ``megabytes`` of the source, whole lines, repeated if it is shorter."""
    with target.open("wb") as file:
        while file.tell() < megabytes * 1e6:
            with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as lines:
                for line in lines:
                    file.write(line)
                    if file.tell() >= megabytes * 1e6:
                        break
    return target


def train_tokenizer(text: Path, directory: Path) -> Path:
    """Train a lower-cased WordPiece tokenizer of 30,522 entries."""
    trainer = BertWordPieceTokenizer()
    trainer.train(str(text), vocab_size=30522, show_progress=False)
    vocabulary = trainer.get_vocab()
    Tokenizer.build(sorted(vocabulary, key=vocabulary.__getitem__), lowercase=True).save(directory)
    return directory


def report(runs: list[Run]) -> None:
    """Print a line for each system and size: medians, the spread of the time, and how many times bertsmith's it is."""
    print(f"{'system':14}{'MB':>6}{'seconds':>9}{'min–max':>15}{'times':>7}{'CPU s':>8}{'times':>7}", end="")
    print(f"{'MB/s':>8}{'tokens/s':>12}{'peak MB':>9}")
    for megabytes in sorted({run.megabytes for run in runs}):
        base = None
        for system in SYSTEMS:
            some = [run for run in runs if run.system == system and run.megabytes == megabytes]
            if not some:
                continue
            times = [run.seconds for run in some]
            seconds, cpu_seconds = statistics.median(times), statistics.median(run.cpu_seconds for run in some)
            base = base or (seconds, cpu_seconds)
            spread = f"{min(times):.2f}–{max(times):.2f}"
            print(f"{system:14}{megabytes:6.0f}{seconds:9.2f}{spread:>15}{seconds / base[0]:7.2f}", end="")
            print(f"{cpu_seconds:8.2f}{cpu_seconds / base[1]:7.2f}{megabytes / seconds:8.1f}", end="")
            print(f"{some[0].tokens / seconds:12,.0f}{max(run.peak_megabytes for run in some):9.0f}")


def main() -> None:
    """Measure what the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="text, one sentence a line, plain or .gz")
    parser.add_argument("--tokenizer", type=Path, help="its directory; default: one trained on the text")
    parser.add_argument("--megabytes", default="20", help="amounts of text, e.g. 6,600")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--json", type=Path, help="write every run here")
    flags = parser.parse_args()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="corpus-text-") as directory:
        tokenizer = flags.tokenizer
        for megabytes in map(int, flags.megabytes.split(",")):
            text = write_text(flags.text, megabytes, Path(directory, f"{megabytes}.txt"))
            tokenizer = tokenizer or train_tokenizer(text, Path(directory, "tokenizer"))
            for _ in range(flags.repeats):
                runs += [measure(system, text, tokenizer, flags.workers) for system in flags.systems.split(",")]
            text.unlink()
    report(runs)
    if flags.json:
        flags.json.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")


if __name__ == "__main__":
    main()

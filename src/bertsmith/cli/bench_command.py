"""``bertsmith bench``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.standard_input import with_standard_input
from bertsmith.config import Config, JsonFlag, Positional
from bertsmith.errors import UsageError
from bertsmith.progress import TerminalProgress
from bertsmith.sources.streams import input_name

_USUAL_LENGTHS = (32, 128, 512)
_TEXTS_OF_A_FILE = 256


class BenchConfig(Config):
    """Measure a model on this machine: tokens a second, latency of one text and peak memory, in each precision."""

    model: Positional[Path]
    """Model directory."""
    lengths: tuple[Annotated[int, pydantic.Field(gt=0)], ...] = ()
    """Lengths of the texts in tokens, each measured alone; by default 32, 128 and 512, as far as the model reads."""
    file: Path | None = None
    """File whose lengths to measure as well: .txt with a text a line, .jsonl, .csv, .tsv, .parquet; - for standard input."""
    field: str = "text"
    """Key or column of the text in such a file."""
    precision: tuple[Literal["float32", "bf16", "int8"], ...] = ()
    """Precisions to measure; by default all that the machine has instructions for. Training has no int8."""
    threads: int | None = pydantic.Field(default=None, gt=0)
    """Threads to compute with; by default as many as PyTorch uses."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU where there is one, else the CPU."""
    train: bool = False
    """Measure optimiser steps, of the model's task or else of pre-training, instead of answers."""
    seconds: float = pydantic.Field(default=3.0, gt=0)
    """Time for each measurement; at least one batch, or one pass over the file."""
    as_json: JsonFlag = False
    """Print one JSON array."""


def run(arguments: Sequence[str]) -> None:
    """Measure and print a table."""
    config = parse(BenchConfig, arguments, "bench")

    from bertsmith.machine import choose_device
    from bertsmith.measure import Job, measure, precisions

    inputs = _inputs(config)
    there_are = precisions(choose_device(config.device, 0), config.train)
    if "int8" in config.precision and "int8" not in there_are:
        raise UsageError("--precision int8 is for answers, on a CPU with VNNI or AMX instructions; leave it out here")
    chosen = config.precision or there_are
    rows: list[dict[str, Any]] = []
    with TerminalProgress().task("Measuring", len(inputs) * len(chosen), "measurements") as shown:
        for name, lengths in inputs.items():
            for precision in chosen:
                job = Job(config.model, config.device, precision, lengths, config.threads, config.train, config.seconds)
                rows.append({"input": name, "precision": precision, **asdict(measure(job))})
                shown.advance(1)
    if config.as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        _print(rows)


def _inputs(config: BenchConfig) -> dict[str, tuple[int, ...]]:
    """Return the lengths of the texts of each measurement."""
    from bertsmith.artifacts.configuration import read_shape
    from bertsmith.artifacts.directory import verify_directory

    verify_directory(config.model)
    longest = read_shape(config.model).max_positions
    if beyond := [length for length in config.lengths if length > longest]:
        raise UsageError(f"--lengths {beyond[0]}: {config.model} reads at most {longest} tokens")
    lengths = config.lengths or tuple(length for length in _USUAL_LENGTHS if length <= longest) or (longest,)
    inputs: dict[str, tuple[int, ...]] = {f"{length} tokens": (length,) for length in lengths}
    if config.file is None:
        return inputs
    own = _lengths_of_file(config, config.file, longest)
    return {
        **(inputs if config.lengths else {}),
        f"{input_name(config.file.name)}, {sum(own) / len(own):.0f} tokens a text": own,
    }


def _lengths_of_file(config: BenchConfig, file: Path, longest: int) -> tuple[int, ...]:
    """Return the lengths of texts from all over the file, as the model reads them."""
    from bertsmith.sources.file_patterns import find_files
    from bertsmith.text.readers import ReaderConfig, read_documents
    from bertsmith.text.tokenizer import Tokenizer

    reader = ReaderConfig(documents="line", field=config.field)
    with with_standard_input([file]) as files:
        texts = [document.text for document in read_documents(find_files([str(one) for one in files]), reader)]
    sample = texts[:: -(-len(texts) // _TEXTS_OF_A_FILE)]
    return tuple(min(len(ids) + 2, longest) for ids in Tokenizer.load(config.model).token_ids(sample))


def _print(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    trained = rows[0]["latency"] is None
    table = Table()
    table.add_column("texts", no_wrap=True)
    table.add_column("precision")
    for heading in ("tokens/s", "of the rate", *([] if trained else ["one text, ms", "95 %, ms"]), "peak MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        latencies = [] if trained else [f"{1000 * row[name]:.1f}" for name in ("latency", "latency_95")]
        speed = [f"{row['tokens_per_second']:,.0f}", f"{row['share']:.0%}"]
        table.add_row(row["input"], row["precision"], *speed, *latencies, f"{row['peak_memory'] / 1e6:,.0f}")
    console = Console(file=sys.stdout, highlight=False)
    console.print(table)
    console.print("of the rate: operations a second as a share of those that PyTorch makes here in large matrix products")

"""How fast are pre-training steps and inference on one GPU, against transformers and ModernBERT's encoder on uneven lengths?

    python benchmarks/gpu.py [--device cuda] [--rounds 3] [--json FILE] [--only base 512]
    python benchmarks/gpu.py --device cpu --tiny        # a dry run: tiny models, every line of this script, no figures to keep

Everything in bf16 from random weights; the texts are made up, with lengths as sentences (inference) and sentence pairs
(pre-training) of film reviews have them, so no files are needed. Every system runs in a process of its own, the systems in
turn, round after round; what counts is real tokens a second, padding not counted. transformers gets its best chance: compiled,
with fused attention and with flash attention 2 where that is installed, the same shape for every batch of training, and for
inference texts sorted by length. ModernBERT has its own layers at BERT's width and depth, and as much in its feed-forward; with
flash attention 2 it gets texts without padding, as bertsmith does, without it padded.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertsmith.batches.packing import pack
from bertsmith.machine import matrix_product_rate
from bertsmith.measure import peak_memory
from bertsmith.model.bert import PRETRAINING, Bert, Heads, initialise, uninitialised
from bertsmith.model.model_config import ModelConfig, preset
from bertsmith.pretraining.fixed_shape import FixedShape
from bertsmith.pretraining.trainer import Trainer
from bertsmith.training.meter import encoder_operations, step_operations
from bertsmith.training.parallel import Ranks
from bertsmith.training.precision import apply_precision
from bertsmith.training.settings import Optimisation
from bertsmith.training.stepper import compile_layers
from bertsmith.types import PackedBatch, PretrainingBatch
from gpu_peers import moved, packed_inputs, padded_inputs, peer, pinned

SYSTEMS = {
    "bertsmith, compiled": {"model": "bertsmith", "compile": True},
    "bertsmith": {"model": "bertsmith", "compile": False},
    "transformers, SDPA, compiled": {"model": "bert", "attention": "sdpa", "compile": True},
    "transformers, SDPA": {"model": "bert", "attention": "sdpa", "compile": False},
    "transformers, flash attention 2, compiled": {"model": "bert", "attention": "flash_attention_2", "compile": True},
    "ModernBERT, SDPA, compiled": {"model": "modernbert", "attention": "sdpa", "compile": True},
    "ModernBERT unpadded, flash attention 2": {"model": "modernbert", "attention": "flash_attention_2", "compile": False},
}
WORKS = [("training", size, length) for size in ("base", "large") for length in (128, 512)]
WORKS += [("inference", size, 512) for size in ("base", "large")]
MASKED_SHARE = 0.15
WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Run:
    """One system at one kind of work: ``tokens`` at a time, padding counted, of texts up to ``length``."""

    system: str
    work: str
    size: str
    length: int
    device: str
    seconds: float
    tokens: int
    n_texts: int
    vocabulary_size: int

    @property
    def settings(self) -> dict[str, Any]:
        """How the system is set."""
        return SYSTEMS[self.system]

    @property
    def config(self) -> ModelConfig:
        """The shape of its BERT."""
        return preset(self.size, self.vocabulary_size)


@dataclass(frozen=True, slots=True)
class Part:
    """A batch's work: its real tokens, the operations that these need, and what does it."""

    tokens: int
    operations: float
    do: Callable[[], object]


def main() -> None:
    """Run the systems in turn and print a table for each kind of work."""
    arguments = _arguments()
    if arguments.run:
        print(json.dumps(_measure(Run(**json.loads(arguments.run)))))
        return
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here; run with --device cpu --tiny for a dry run")
        return
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    report: dict[str, Any] = {"device": name, "torch": torch.__version__, "matrix_rates": _matrix_rates(device), "works": {}}
    print(f"{name}, PyTorch {torch.__version__}; bf16 matrix products, TFLOP/s: ", end="")
    print(", ".join(f"{shape} {rate / 1e12:,.1f}" for shape, rate in report["matrix_rates"].items()))
    for work, size, length in [("training", "tiny", 64), ("inference", "tiny", 64)] if arguments.tiny else WORKS:
        title = f"{work}, {size}, {length}"
        rows = _rows(work, size, length, arguments)
        report["works"][title] = rows
        if rows:
            _print_table(title, rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a dry run on tiny models, once, nothing compiled")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="measured time of a system in a round")
    parser.add_argument("--tokens", type=int, default=32768, help="tokens of a batch, padding counted")
    parser.add_argument(
        "--only", nargs="*", default=[], help="only what has all of these words in work, size, length or system"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


def _matrix_rates(device: torch.device) -> dict[str, float]:
    """Return the rate on BERT's shapes, which shares are of, and on a GPU on the large squares of data sheets."""
    rates = {"BERT-base's feed-forward": matrix_product_rate(device, torch.bfloat16)}
    if device.type == "cuda":
        square = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
        part = Part(0, 2.0 * 8192**3, lambda: square @ square)
        _, operations, seconds = _timed([part], device, 1.0)
        rates["8,192 square"] = operations / seconds
    return rates


def _rows(work: str, size: str, length: int, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the medians of each system's rounds; what a system fails at is said and left out."""
    tiny = arguments.tiny
    runs: dict[str, list[dict[str, float]]] = {}
    for number in range(1 if tiny else arguments.rounds):
        for system in SYSTEMS:
            if not all(word in f"{work} {size} {length} {system}" for word in arguments.only) or not _is_possible(system):
                continue
            run = Run(
                system,
                work,
                size,
                length,
                arguments.device,
                0.1 if tiny else arguments.seconds,
                512 if tiny else arguments.tokens,
                64 if tiny else 10_000,
                1000 if tiny else 30522,
            )
            if (result := _in_process(run, tiny)) is not None:
                runs.setdefault(system, []).append(result)
                speed = f"{result['tokens_per_second']:,.0f} tokens/s"
                print(f"round {number + 1}: {work}, {size}, {length}: {system}: {speed}", file=sys.stderr, flush=True)
    return {system: _summary(results) for system, results in runs.items()}


def _is_possible(system: str) -> bool:
    from transformers.utils import is_flash_attn_2_available

    return SYSTEMS[system].get("attention") != "flash_attention_2" or is_flash_attn_2_available()


def _in_process(run: Run, tiny: bool) -> dict[str, float] | None:
    command = [sys.executable, __file__, "--run", json.dumps(asdict(run))]
    variables = {**os.environ, **({"TORCH_COMPILE_DISABLE": "1"} if tiny else {})}
    finished = subprocess.run(command, check=False, stdout=subprocess.PIPE, env=variables)
    if finished.returncode:
        print(f"{run.work}, {run.size}, {run.length}: {run.system} failed, as said above", file=sys.stderr)
        return None
    result: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return result


def _measure(run: Run) -> dict[str, float]:
    device = torch.device(run.device)
    torch.set_float32_matmul_precision("high")
    is_ours = run.settings["model"] == "bertsmith"
    if run.work == "training":
        parts = list((_bertsmith_training if is_ours else _transformers_training)(run, device))
    else:
        parts = list((_bertsmith_inference if is_ours else _transformers_inference)(run, device))
    tokens, operations, seconds = _timed(parts, device, run.seconds)
    return {
        "tokens_per_second": tokens / seconds,
        "share": operations / seconds / matrix_product_rate(device, torch.bfloat16),
        "peak_gigabytes": peak_memory(device) / 1e9,
    }


def _timed(parts: Sequence[Part], device: torch.device, seconds: float) -> tuple[int, float, float]:
    """Do all parts again and again for the time; return tokens, operations and seconds, the first rounds not counted."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for part in islice(cycle(parts), max(WARM_UP, len(parts))):  # by then all shapes are compiled
        part.do()
    wait()
    n_tokens, operations, start = 0, 0.0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for part in parts:
            part.do()
            n_tokens += part.tokens
            operations += part.operations
        wait()
    return n_tokens, operations, time.perf_counter() - start


def _pair_lengths(count: int, longest: int) -> np.ndarray:
    """Return lengths of sentence pairs: most fill what there is room for to a sentence, a tenth and documents' ends do not."""
    random = np.random.default_rng(0)
    full = random.uniform(0.75, 1.0, count) * longest
    short = random.uniform(min(8, longest) / longest, 1.0, count) * longest
    return np.where(random.random(count) < 0.15, short, full).astype(np.int64)


def _sentence_lengths(count: int, longest: int) -> np.ndarray:
    """Return lengths of sentences of reviews: half below 22 tokens, one in a hundred above 100."""
    drawn = np.random.default_rng(0).lognormal(np.log(22), 0.65, count)
    return np.clip(drawn, 4, longest).astype(np.int64)


def _random_batch(lengths: np.ndarray, vocabulary_size: int, seed: int) -> PretrainingBatch:
    random = np.random.default_rng(seed)
    total = int(lengths.sum())
    token_ids = random.integers(1, vocabulary_size, total)
    positions = np.sort(random.permutation(total)[: round(MASKED_SHARE * total)])
    return PretrainingBatch(
        PackedBatch.from_arrays(token_ids, np.zeros(total, np.int64), lengths),
        torch.from_numpy(positions),
        torch.from_numpy(token_ids[positions]),
        torch.from_numpy(random.integers(0, 2, len(lengths))),
    )


def _model(run: Run, heads: Heads) -> Bert:
    model = uninitialised(run.config, heads)
    initialise(model, seed=0)
    return model


def _counted(run: Run) -> Bert:
    """Return a model without weights, whose operations are counted."""
    with torch.device("meta"):
        return Bert(run.config, PRETRAINING)


def _bertsmith_training(run: Run, device: torch.device) -> Iterator[Part]:
    lengths = _pair_lengths(8 * run.tokens // run.length, run.length)
    compiled = run.settings["compile"]
    shape = FixedShape.of(run.tokens, MASKED_SHARE) if compiled else None
    trainer = Trainer(_model(run, PRETRAINING), Optimisation(), 0, Ranks(), device, torch.bfloat16, compiled, shape)
    counted = _counted(run)
    for number, places in enumerate(pack(lengths, run.tokens)[:-1]):
        batch = _random_batch(lengths[places], run.vocabulary_size, number)

        def step(batch: PretrainingBatch = batch, number: int = number) -> None:
            counts = len(batch.masked_positions), batch.inputs.n_sequences
            trainer.step(number, [trainer.moved(batch)], *counts, 1e-4)

        yield Part(batch.inputs.n_tokens, step_operations(counted, batch), step)


def _transformers_training(run: Run, device: torch.device) -> Iterator[Part]:
    """Yield steps on batches of as many sequences as fit, each padded to the longest there may be."""
    size = run.tokens // run.length
    lengths = _pair_lengths(8 * size, run.length)
    model = peer(run.config, is_training=True, **_kind(run)).to(device).train()
    forward = torch.compile(model, dynamic=False) if run.settings["compile"] else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    has_pairs = run.settings["model"] == "bert"
    is_packed, counted = _is_packed(run), _counted(run)
    for number in range(8):
        batch = _random_batch(lengths[number * size : (number + 1) * size], run.vocabulary_size, number)
        values = packed_inputs(batch, has_labels=True) if is_packed else padded_inputs(batch, run.length, has_labels=True)
        if has_pairs:
            values |= {
                "next_sentence_label": batch.next_sentence_labels,
                "token_type_ids": torch.zeros_like(values["input_ids"]),
            }
        values = pinned(values, device)

        def step(values: dict[str, Any] = values) -> None:
            with torch.autocast(device.type, torch.bfloat16):
                loss = forward(**moved(values, device)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        yield Part(batch.inputs.n_tokens, step_operations(counted, batch), step)


def _bertsmith_inference(run: Run, device: torch.device) -> Iterator[Part]:
    model = _model(run, Heads()).to(device).eval()
    precision = apply_precision(model, device, torch.bfloat16)
    if run.settings["compile"]:
        compile_layers(precision.compute, attention_too=device.type == "cuda", dynamic=True)
    counted = _counted(run)
    for inputs in _sorted_batches(run, padded=False):

        @torch.inference_mode()
        def encode(inputs: PackedBatch = inputs) -> None:
            with precision.context():
                precision.compute.encoder(inputs.to(device))

        yield Part(inputs.n_tokens, encoder_operations(counted.encoder, inputs.cu_seqlens.diff()), encode)


def _transformers_inference(run: Run, device: torch.device) -> Iterator[Part]:
    model = peer(run.config, is_training=False, **_kind(run)).to(device, torch.bfloat16).eval()
    forward = torch.compile(model, dynamic=True) if run.settings["compile"] else model
    is_packed, counted = _is_packed(run), _counted(run)
    for inputs in _sorted_batches(run, padded=not is_packed):
        batch = PretrainingBatch(inputs, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), None)
        values = packed_inputs(batch) if is_packed else padded_inputs(batch, inputs.max_seqlen)
        values = pinned(values, device)

        @torch.inference_mode()
        def encode(values: dict[str, Any] = values) -> None:
            forward(**moved(values, device))

        yield Part(inputs.n_tokens, encoder_operations(counted.encoder, inputs.cu_seqlens.diff()), encode)


def _sorted_batches(run: Run, *, padded: bool) -> Iterator[PackedBatch]:
    """Yield the texts, the longest first, in batches of as many tokens as may be; ``padded`` counts padding."""
    lengths = np.sort(_sentence_lengths(run.n_texts, run.length))[::-1]
    start = 0
    while start < len(lengths):
        remaining = lengths[start:]
        sizes = np.arange(1, len(remaining) + 1) * remaining[0] if padded else np.cumsum(remaining)
        stop = start + max(1, int(np.searchsorted(sizes, run.tokens, side="right")))
        yield _random_batch(lengths[start:stop], run.vocabulary_size, start).inputs
        start = stop


def _kind(run: Run) -> dict[str, str]:
    return {name: run.settings[name] for name in ("model", "attention")}


def _is_packed(run: Run) -> bool:
    return _kind(run) == {"model": "modernbert", "attention": "flash_attention_2"}


def _summary(results: Sequence[dict[str, float]]) -> dict[str, float]:
    speeds = [result["tokens_per_second"] for result in results]
    medians = {name: statistics.median(result[name] for result in results) for name in results[0]}
    return {**medians, "slowest": min(speeds), "fastest": max(speeds)}


def _print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}\n\n| system | real tokens/s | spread | of the matrix rate | peak GB |\n|---|---:|---:|---:|---:|")
    for name, row in rows.items():
        spread = f"{row['slowest']:,.0f}-{row['fastest']:,.0f}"
        figures = [f"{row['tokens_per_second']:,.0f}", spread, f"{row['share']:.1%}", f"{row['peak_gigabytes']:.2f}"]
        print(f"| {' | '.join([name, *figures])} |")


if __name__ == "__main__":
    main()

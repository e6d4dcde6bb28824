"""How fast is one pre-training step (MLM + NSP, dropout, clipping, AdamW) against transformers on the same machine and pairs?

    python benchmarks/pretraining_step.py CORPUS [--model base] [--rounds 3] [--json FILE]

Every system runs in a process of its own, the systems in turn, round after round, on the same next-sentence pairs of uneven
lengths; what counts is real tokens a second, padding not counted. transformers gets its best chance: bf16 autocast, eager and
fused attention, compiled and not, many and few sequences a step, a fused optimiser, padding only to the longest of a batch
whose sequences are sorted by length. Its default is float32.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

SYSTEMS = {
    "bertsmith bf16": {"tokens": 8192, "precision": "bf16"},
    "bertsmith float32": {"tokens": 8192, "precision": "float32"},
    "transformers float32 (default), small batches": {"tokens": 1024, "attention": "sdpa"},
    "transformers bf16 sdpa": {"tokens": 8192, "attention": "sdpa", "autocast": True},
    "transformers bf16 eager": {"tokens": 8192, "attention": "eager", "autocast": True},
    "transformers bf16 sdpa, small batches": {"tokens": 1024, "attention": "sdpa", "autocast": True},
    "transformers bf16 eager, small batches": {"tokens": 1024, "attention": "eager", "autocast": True},
    "transformers bf16 sdpa, compiled": {"tokens": 1024, "attention": "sdpa", "autocast": True, "compile": True},
    "transformers bf16 eager, compiled": {"tokens": 1024, "attention": "eager", "autocast": True, "compile": True},
}
LEARNING_RATE, MAX_NORM = 1e-4, 1.0
WARM_UP_STEPS = 3  # by then the allocator has the pages it needs


def main() -> None:
    """Run the systems in turn and print a table."""
    arguments = _arguments()
    if arguments.run:
        print(json.dumps(_measure(arguments)))
        return
    names = [name for name in SYSTEMS if not arguments.systems or any(part in name for part in arguments.systems)]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for round_number in range(arguments.rounds):
        for name in names:
            result = _in_process(name, arguments)
            results[name].append(result)
            print(f"round {round_number + 1}: {name}: {result['tokens_per_second']:.0f} tokens/s", file=sys.stderr, flush=True)
    rows = {name: _summary(runs) for name, runs in results.items()}
    _print_table(rows, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time of a system in a round, at least one step")
    parser.add_argument("--systems", nargs="*", help="only systems with one of these words in their names")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_process(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, str(arguments.corpus), "--model", arguments.model, "--run", name]
    command += ["--max-length", str(arguments.max_length), "--seconds", str(arguments.seconds)]
    finished = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    )
    result: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return result


def _measure(arguments: argparse.Namespace) -> dict[str, float]:
    settings = SYSTEMS[arguments.run]
    make = _bertsmith_step if arguments.run.startswith("bertsmith") else _transformers_step
    step, batches = make(settings, arguments)
    for batch in islice(batches, WARM_UP_STEPS):
        step(batch)
    tokens, started = 0, time.perf_counter()
    while time.perf_counter() - started < arguments.seconds:
        batch = next(batches)
        step(batch)
        tokens += batch.inputs.n_tokens
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tokens_per_second": tokens / seconds, "peak_megabytes": peak, "matrix_rate": _matrix_rate(settings)}


def _matrix_rate(settings: dict[str, Any]) -> float:
    import torch

    from bertsmith.training.hardware import matrix_product_rate

    is_float32 = settings.get("precision") == "float32" or not (settings.get("autocast") or "precision" in settings)
    return matrix_product_rate(torch.device("cpu"), torch.float32 if is_float32 else torch.bfloat16) / 1e9


def _batches(settings: dict[str, Any], arguments: argparse.Namespace) -> tuple[Any, Any]:
    from bertsmith.batches.loader import PretrainingLoader
    from bertsmith.batches.masking import Masking
    from bertsmith.batches.next_sentence import NextSentence
    from bertsmith.batches.order import split_documents
    from bertsmith.corpus.store import Corpus
    from bertsmith.training.pretrain import special_ids

    corpus = Corpus.open(arguments.corpus, verify=False)
    tokenizer = corpus.tokenizer()
    documents, _ = split_documents(corpus, 0.0, 2)
    objective = NextSentence(arguments.max_length)
    loader = PretrainingLoader(corpus, documents, objective, Masking(), special_ids(tokenizer), settings["tokens"], seed=0)
    return (batch for _, batch in loader.iterate(0)), tokenizer


def _bertsmith_step(settings: dict[str, Any], arguments: argparse.Namespace) -> tuple[Callable[[Any], None], Any]:
    import torch

    from bertsmith.model.bert import PRETRAINING, initialise, uninitialised
    from bertsmith.model.config import preset
    from bertsmith.training.config import Optimisation
    from bertsmith.training.hardware import keep_pages
    from bertsmith.training.parallel import Ranks
    from bertsmith.training.trainer import Trainer

    keep_pages()
    batches, tokenizer = _batches(settings, arguments)
    model = uninitialised(preset(arguments.model, tokenizer.vocabulary_size), PRETRAINING)
    initialise(model, seed=0)
    dtype = torch.bfloat16 if settings["precision"] == "bf16" else torch.float32
    trainer = Trainer(model, Optimisation(), 0, Ranks(), torch.device("cpu"), dtype, compiled=False)
    number = 0

    def step(batch: Any) -> None:
        nonlocal number
        number += 1
        trainer.step(number, [batch], len(batch.masked_positions), len(batch.next_sentence_labels), LEARNING_RATE)

    return step, batches


def _transformers_step(settings: dict[str, Any], arguments: argparse.Namespace) -> tuple[Callable[[Any], None], Any]:
    import torch
    from transformers import BertConfig, BertForPreTraining

    from bertsmith.artifacts.configuration import configuration_values
    from bertsmith.model.bert import PRETRAINING
    from bertsmith.model.config import preset

    batches, tokenizer = _batches(settings, arguments)
    values = configuration_values(
        preset(arguments.model, tokenizer.vocabulary_size), PRETRAINING, tokenizer.pad_id, is_tied=True
    )
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(**values, attn_implementation=settings["attention"])).train()
    forward = torch.compile(model, dynamic=True) if settings.get("compile") else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True)

    def step(batch: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bool(settings.get("autocast"))):
            loss = forward(**_padded(batch, tokenizer.pad_id)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step, batches


def _padded(batch: Any, pad_id: int) -> dict[str, Any]:
    """Return the batch as transformers wants it: padded to its longest sequence, -100 where nothing is to be predicted."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    lengths = batch.inputs.cu_seqlens.diff().tolist()
    labels = torch.full_like(batch.inputs.token_ids, -100)
    labels[batch.masked_positions] = batch.masked_token_ids

    def padded(values: torch.Tensor, padding: int) -> torch.Tensor:
        return pad_sequence(list(values.split(lengths)), batch_first=True, padding_value=padding)

    return {
        "input_ids": padded(batch.inputs.token_ids, pad_id),
        "token_type_ids": padded(batch.inputs.segment_ids, 0),
        "attention_mask": padded(torch.ones_like(batch.inputs.token_ids), 0),
        "labels": padded(labels, -100),
        "next_sentence_label": batch.next_sentence_labels,
    }


def _summary(runs: list[dict[str, float]]) -> dict[str, float]:
    rates = [run["tokens_per_second"] for run in runs]
    return {
        "tokens_per_second": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "peak_megabytes": statistics.median(run["peak_megabytes"] for run in runs),
        "matrix_rate_gflops": statistics.median(run["matrix_rate"] for run in runs),
    }


def _print_table(rows: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    print(f"BERT-{arguments.model}, pairs up to {arguments.max_length}, medians of {arguments.rounds} rounds\n")
    print("| system | real tokens/s | spread | peak MB | matrix products, GFLOP/s |\n|---|---:|---:|---:|---:|")
    for name, row in rows.items():
        cells = [
            name,
            f"{row['tokens_per_second']:.0f}",
            f"{row['slowest']:.0f}-{row['fastest']:.0f}",
            f"{row['peak_megabytes']:.0f}",
            f"{row['matrix_rate_gflops']:.0f}",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

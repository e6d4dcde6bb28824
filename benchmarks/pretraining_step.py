"""How fast is one pre-training step (MLM + NSP, dropout, clipping, AdamW), and how much memory does it take?

    python benchmarks/pretraining_step.py CORPUS [--model base] [--rounds 3] [--json FILE]

Against transformers, on the same next-sentence pairs of uneven lengths; what counts is real tokens a second, padding not
counted. transformers gets its best chance: bf16 autocast, eager and fused attention, compiled and not, many and few tokens a
step, a fused optimiser, padding only to the longest of a batch whose sequences are sorted by length. Its default is float32.
Memory is compared at equal tokens a step, with transformers' best setting.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from common import Measurement, add_shares, compare, parser, report, spread


@dataclass(frozen=True)
class System:
    """How a step is computed: ``attention`` is transformers' kind, None of bertsmith."""

    tokens: int
    precision: str
    attention: str | None = None
    is_compiled: bool = False


MANY, FEW = 8192, 1024
SYSTEMS = {
    "bertsmith bf16": System(MANY, "bf16"),
    "bertsmith bf16, small steps": System(FEW, "bf16"),
    "bertsmith float32": System(MANY, "float32"),
    "transformers float32 (default), small steps": System(FEW, "float32", "sdpa"),
    "transformers bf16 sdpa": System(MANY, "bf16", "sdpa"),
    "transformers bf16 eager": System(MANY, "bf16", "eager"),
    "transformers bf16 eager, compiled": System(MANY, "bf16", "eager", is_compiled=True),
    "transformers bf16 sdpa, small steps": System(FEW, "bf16", "sdpa"),
    "transformers bf16 eager, small steps": System(FEW, "bf16", "eager"),
    "transformers bf16 sdpa, compiled, small steps": System(FEW, "bf16", "sdpa", is_compiled=True),
    "transformers bf16 eager, compiled, small steps": System(FEW, "bf16", "eager", is_compiled=True),
}
LEARNING_RATE, MAX_NORM = 1e-4, 1.0
WARM_UP_STEPS = 3  # by then the allocator has the pages it needs


def main() -> None:
    """Run the systems in turn and print a table."""
    flags = parser(__doc__)
    flags.add_argument("corpus", type=Path)
    flags.add_argument("--model", default="base", help="a preset")
    flags.add_argument("--max-length", type=int, default=128)
    flags.add_argument("--seconds", type=float, default=20.0, help="measured time of a system in a round, at least one step")
    arguments = flags.parse_args()
    rows = compare(arguments, SYSTEMS, _measure)
    add_shares(rows, SYSTEMS)
    columns = {
        "tokens a step": lambda row: f"{row['tokens']:,}",
        "real tokens/s": lambda row: f"{row['tokens_per_second']:,.0f}",
        "spread": lambda row: spread(row, "tokens_per_second"),
        "share of ceiling": lambda row: f"{row['share']:.0%}",
        "peak MB": lambda row: f"{row['peak_megabytes']:,.0f}",
    }
    report(f"A pre-training step of BERT-{arguments.model}, pairs up to {arguments.max_length}", rows, columns, arguments)


def _measure(_name: str, system: System, arguments: argparse.Namespace) -> Measurement:
    import torch

    from bertsmith.model.bert import PRETRAINING, Bert
    from bertsmith.training.meter import step_operations

    make = _transformers_step if system.attention else _bertsmith_step
    step, batches, config = make(system, arguments)
    with torch.device("meta"):
        counted = Bert(config, PRETRAINING)
    for batch in islice(batches, WARM_UP_STEPS):
        step(batch)
    tokens, operations, started = 0, 0.0, time.perf_counter()
    while time.perf_counter() - started < arguments.seconds:
        batch = next(batches)
        step(batch)
        tokens += batch.inputs.n_tokens
        operations += step_operations(counted, batch)
    seconds = time.perf_counter() - started
    return {"tokens": system.tokens, "tokens_per_second": tokens / seconds, "gflops": operations / seconds / 1e9}


def _batches(system: System, arguments: argparse.Namespace) -> tuple[Any, Any]:
    from bertsmith.batches.loader import PretrainingLoader
    from bertsmith.batches.masking import Masking
    from bertsmith.batches.next_sentence import NextSentence
    from bertsmith.batches.order import split_documents
    from bertsmith.corpus.store import Corpus
    from bertsmith.pretraining.run import special_ids

    corpus = Corpus.open(arguments.corpus, verify=False)
    tokenizer = corpus.tokenizer()
    documents, _ = split_documents(corpus, 0.0, 2)
    objective = NextSentence(arguments.max_length)
    loader = PretrainingLoader(corpus, documents, objective, Masking(), special_ids(tokenizer), system.tokens, seed=0)
    return (batch for _, batch in loader.iterate(0)), tokenizer


def _bertsmith_step(system: System, arguments: argparse.Namespace) -> tuple[Callable[[Any], None], Any, Any]:
    import torch

    from bertsmith.machine import keep_pages
    from bertsmith.model.bert import PRETRAINING, initialise, uninitialised
    from bertsmith.model.model_config import preset
    from bertsmith.pretraining.trainer import Trainer
    from bertsmith.training.parallel import Ranks
    from bertsmith.training.settings import Optimisation

    keep_pages()
    batches, tokenizer = _batches(system, arguments)
    config = preset(arguments.model, tokenizer.vocabulary_size)
    model = uninitialised(config, PRETRAINING)
    initialise(model, seed=0)
    dtype = torch.bfloat16 if system.precision == "bf16" else torch.float32
    trainer = Trainer(model, Optimisation(), 0, Ranks(), torch.device("cpu"), dtype, compiled=False)
    number = 0

    def step(batch: Any) -> None:
        nonlocal number
        number += 1
        trainer.step(number, [batch], len(batch.masked_positions), len(batch.next_sentence_labels), LEARNING_RATE)

    return step, batches, config


def _transformers_step(system: System, arguments: argparse.Namespace) -> tuple[Callable[[Any], None], Any, Any]:
    import torch
    from transformers import BertConfig, BertForPreTraining

    from bertsmith.artifacts.configuration import configuration_values
    from bertsmith.model.bert import PRETRAINING
    from bertsmith.model.model_config import preset

    batches, tokenizer = _batches(system, arguments)
    config = preset(arguments.model, tokenizer.vocabulary_size)
    values = configuration_values(config, PRETRAINING, tokenizer.pad_id, is_tied=True)
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(**values, attn_implementation=system.attention)).train()
    forward = torch.compile(model, dynamic=True) if system.is_compiled else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True)

    def step(batch: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=system.precision == "bf16"):
            loss = forward(**_padded(batch, tokenizer.pad_id)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step, batches, config


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


if __name__ == "__main__":
    main()

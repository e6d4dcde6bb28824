"""Does everything that makes training fast leave what is learnt unchanged?

    python benchmarks/training_equality.py CORPUS [--model mini] [--steps 200] [--seeds 3] [--json FILE]

The plain way: float32, attention one sequence at a time in plain operations, PyTorch's own dropout. The fast ways: attention in
blocks, cheap dropout masks, matrices in float32 or bf16. Compared are, from the same weights on the same batches and without
dropout, hidden states and gradients of one batch and the loss of every step; and with dropout the held-out loss after the same
tokens, over several seeds. Exits with 1 where a bound is exceeded.
"""

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from bertsmith.batches.loader import PretrainingLoader
from bertsmith.batches.masking import Masking
from bertsmith.batches.next_sentence import NextSentence
from bertsmith.batches.order import split_documents
from bertsmith.corpus.store import Corpus
from bertsmith.model.attention import EagerAttention
from bertsmith.model.bert import PRETRAINING, Bert, initialise, set_dropout, uninitialised
from bertsmith.model.block_attention import BlockAttention
from bertsmith.model.dropout import Dropout
from bertsmith.model.model_config import preset
from bertsmith.pretraining.losses import Tally, n_pairs, pretraining_loss
from bertsmith.pretraining.run import special_ids
from bertsmith.pretraining.trainer import Trainer
from bertsmith.training.parallel import Ranks
from bertsmith.training.precision import apply_precision
from bertsmith.training.settings import Optimisation
from bertsmith.types import PretrainingBatch
from common import table

Way = tuple[type, torch.dtype]
PLAIN: Way = (EagerAttention, torch.float32)
FAST: dict[str, Way] = {"float32": (BlockAttention, torch.float32), "bf16": (BlockAttention, torch.bfloat16)}
CPU = torch.device("cpu")
DROPOUT, RATE, WARM_UP, HELD_OUT_TOKENS = 0.1, 1e-3, 0.1, 20_000
# Relative differences of one batch's hidden states and gradients (in norm) and of the mean loss over all steps.
BOUNDS = {
    "float32": {"hidden states": 1e-5, "gradients": 1e-5, "loss": 1e-5},
    "bf16": {"hidden states": 2e-2, "gradients": 2e-2, "loss": 1e-3},
}


def main() -> None:
    """Compare, print two tables, and say whether all bounds hold."""
    arguments = _arguments()
    corpus = Corpus.open(arguments.corpus, verify=False)
    loader = _loader(corpus, arguments)
    config = preset(arguments.model, corpus.tokenizer().vocabulary_size)
    print(f"BERT-{arguments.model}, {arguments.steps} steps of {arguments.batch_tokens:,} tokens\n", flush=True)
    differences = _differences(_model(config, 0, 0.0), loader, arguments.steps)
    checks = {
        f"{what}, {name}": {"difference": value, "bound": BOUNDS[name][what]}
        for name, values in differences.items()
        for what, value in values.items()
    }
    columns = {"difference": lambda row: f"{row['difference']:.1e}", "bound": lambda row: f"{row['bound']:.0e}"}
    table(checks, columns, "relative to the plain way")
    losses = _held_out_losses(config, loader, arguments)
    columns = {f"seed {seed}": lambda row, seed=seed: f"{row['losses'][seed]:.4f}" for seed in range(arguments.seeds)}
    columns |= {"mean": lambda row: f"{row['mean']:.4f}", "standard deviation": lambda row: f"{row['deviation']:.4f}"}
    print()
    table(losses, columns, "held-out loss, with dropout")
    if arguments.json:
        arguments.json.write_text(json.dumps({"checks": checks, "held_out": losses}, indent=2) + "\n", encoding="utf-8")
    sys.exit(any(check["difference"] > check["bound"] for check in checks.values()))


def _arguments() -> argparse.Namespace:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("corpus", type=Path)
    flags.add_argument("--model", default="mini", help="a preset")
    flags.add_argument("--steps", type=int, default=200)
    flags.add_argument("--batch-tokens", type=int, default=1024)
    flags.add_argument("--seeds", type=int, default=3)
    flags.add_argument("--json", type=Path)
    return flags.parse_args()


def _loader(corpus: Corpus, arguments: argparse.Namespace) -> PretrainingLoader:
    documents, _ = split_documents(corpus, 0.0, 2)
    objective = NextSentence(min(128, arguments.batch_tokens))
    special = special_ids(corpus.tokenizer())
    return PretrainingLoader(corpus, documents, objective, Masking(), special, arguments.batch_tokens, seed=0)


def _model(config: Any, seed: int, dropout: float) -> Bert:
    model = uninitialised(config, PRETRAINING)
    initialise(model, seed)
    set_dropout(model, dropout)
    return model


@contextmanager
def _attention(kind: type) -> Iterator[None]:
    """Make every encoder attend with this backend."""
    with patch("bertsmith.model.encoder.plan_attention", lambda batch, *_: kind(batch)):
        yield


def _differences(model: Bert, loader: PretrainingLoader, steps: int) -> dict[str, dict[str, float]]:
    """Return how far each fast way is from the plain way, without dropout."""
    batches = [batch for _, batch in islice(loader.iterate(0), steps)]
    hidden, gradients = _one_pass(model, batches[0], PLAIN)
    losses = _train(copy.deepcopy(model), batches, PLAIN)
    differences = {}
    for name, way in FAST.items():
        fast_hidden, fast_gradients = _one_pass(model, batches[0], way)
        fast_losses = _train(copy.deepcopy(model), batches, way)
        differences[name] = {
            "hidden states": max(map(_relative, fast_hidden, hidden)),
            "gradients": _relative(fast_gradients, gradients),
            "loss": abs(statistics.mean(fast_losses) / statistics.mean(losses) - 1),
        }
    return differences


def _one_pass(model: Bert, batch: PretrainingBatch, way: Way) -> tuple[Sequence[Tensor], Tensor]:
    """Return the hidden states of all layers, and the gradients of all parameters end to end."""
    attention, dtype = way
    model = copy.deepcopy(model)
    precision = apply_precision(model, CPU, dtype)
    with _attention(attention):
        with torch.no_grad():
            layers = precision.compute(batch.inputs, positions=batch.masked_positions, want_layers=True).layers
        output = precision.compute.logits(batch.inputs, positions=batch.masked_positions)
        pretraining_loss(output, batch, len(batch.masked_positions), n_pairs(batch), Tally(CPU)).backward()
    precision.collect()
    return layers, torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def _relative(value: Tensor, plain: Tensor) -> float:
    return float((value.float() - plain).norm() / plain.norm())


def _train(model: Bert, batches: Sequence[PretrainingBatch], way: Way, seed: int = 0) -> list[float]:
    """Train in place and return the loss of every step."""
    attention, dtype = way
    trainer = Trainer(model, Optimisation(), seed, Ranks(), CPU, dtype, compiled=False)
    losses = []
    with _attention(attention):
        for number, batch in enumerate(batches, 1):
            rate = RATE * min(1.0, number / (WARM_UP * len(batches)))
            tally, _ = trainer.step(number, [batch], len(batch.masked_positions), n_pairs(batch), rate)
            means = tally.means()
            losses.append(means["mlm_loss"] + means["nsp_loss"])
    return losses


def _held_out_losses(config: Any, loader: PretrainingLoader, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the masked-token loss on other batches after training with dropout, of each seed."""
    held_out = loader.fixed(HELD_OUT_TOKENS)
    rows = {}
    for name, way in {"plain": PLAIN, **{f"fast, {name}": way for name, way in FAST.items()}}.items():
        losses = []
        for seed in range(arguments.seeds):
            model = _model(config, seed, DROPOUT)
            if way is PLAIN:
                _use_plain_dropout(model)
            batches = [batch for _, batch in islice(loader.iterate(0), len(held_out), len(held_out) + arguments.steps)]
            _train(model, batches, way, seed)
            losses.append(_measured(model, held_out))
        deviation = statistics.stdev(losses) if len(losses) > 1 else 0.0
        rows[name] = {"losses": losses, "mean": statistics.mean(losses), "deviation": deviation}
    return rows


def _use_plain_dropout(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.rate))


def _measured(model: Bert, batches: Sequence[PretrainingBatch]) -> float:
    """Return the masked-token loss in float32, the plain way."""
    with _attention(EagerAttention):
        return (
            Trainer(model, Optimisation(), 0, Ranks(), CPU, torch.float32, compiled=False).measure(batches).means()["mlm_loss"]
        )


if __name__ == "__main__":
    main()

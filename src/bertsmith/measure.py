"""A model's speed and memory on this machine, each figure taken in a process of its own.

Only lengths matter to speed, so token ids are drawn at random; tokenisation is not counted.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bertsmith.artifacts.directory import heads_if_known, load_model
from bertsmith.batches.packing import pack
from bertsmith.engine import engine as inference
from bertsmith.engine.kernels import Precision
from bertsmith.errors import BertsmithError
from bertsmith.machine import (
    choose_device,
    choose_dtype,
    has_bf16,
    has_int8,
    int8_product_rate,
    keep_pages,
    matrix_product_rate,
)
from bertsmith.model.bert import PRETRAINING, Bert, Heads
from bertsmith.pretraining.losses import n_pairs
from bertsmith.pretraining.options import PretrainOptimisation
from bertsmith.pretraining.trainer import Trainer
from bertsmith.tasks.saved import load_task_model
from bertsmith.threads import set_up_threads
from bertsmith.training.meter import encoder_operations, step_operations
from bertsmith.training.parallel import Ranks
from bertsmith.training.settings import Optimisation
from bertsmith.training.stepper import Stepper
from bertsmith.types import PackedBatch, PretrainingBatch

_LATENCY_RUNS = 200
_SEQUENCES_A_STEP = 32
_MASKED_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure: a model at work on texts of these lengths, for about so many seconds.

    ``threads`` None leaves them as PyTorch sets them; ``training`` measures optimiser steps instead of answers.
    """

    model: Path
    device: Literal["auto", "cpu", "cuda"]
    precision: Precision
    lengths: tuple[int, ...]
    threads: int | None
    training: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it.

    tokens_per_second    in batches, or in optimiser steps
    share                of the rate at which the machine multiplies matrices in this precision
    latency, latency_95  seconds of one text alone: the median, and what 95 of 100 stay below; None of training
    peak_memory          bytes of the process, on a GPU of PyTorch's tensors there
    """

    tokens_per_second: float
    share: float
    latency: float | None
    latency_95: float | None
    peak_memory: int


@dataclass(frozen=True, slots=True)
class _Work:
    """A batch's work: its tokens, the operations of its matrix products, and what does it."""

    tokens: int
    operations: float
    do: Callable[[], object]


def precisions(device: torch.device, training: bool) -> list[Precision]:
    """Return the precisions that the device has instructions for; there is no training in int8."""
    are_there: dict[Precision, bool] = {"float32": True, "bf16": has_bf16(device), "int8": has_int8(device) and not training}
    return [precision for precision, is_there in are_there.items() if is_there]


def measure(job: Job) -> Figures:
    """Measure in a new process, so that memory is that of this job alone.

    Raises:
        BertsmithError: the process was ended, for lack of memory most likely; or what loading the model raises.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure_here, job).result()
        except BrokenProcessPool:
            raise BertsmithError(
                f"measuring {job.precision} at up to {max(job.lengths)} tokens was killed; memory may have run out"
            ) from None


def measure_here(job: Job) -> Figures:
    """Measure in this process; memory is that of all it has done."""
    keep_pages()
    set_up_threads()
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    device = choose_device(job.device, 0)
    rate = _product_rate(job.precision, device)
    latencies: list[float] = []
    if job.training:
        works = _training(job, device)
    else:
        answer, model, budget = _answering(job, device)
        works = [_answer(answer, model, lengths) for lengths in _packed(job.lengths, budget)]
        latencies = _latencies([_answer(answer, model, [length]) for length in job.lengths], device, job.seconds)
    tokens, operations, seconds = _throughput(works, device, job.seconds)
    peak = peak_memory(device)
    rate = max(rate, _product_rate(job.precision, device))  # on a machine that others use as well, once may be too slow
    return Figures(
        tokens / seconds,
        operations / seconds / rate,
        float(np.median(latencies)) if latencies else None,
        float(np.quantile(latencies, 0.95)) if latencies else None,
        peak,
    )


def _answering(job: Job, device: torch.device) -> tuple[Callable[[PackedBatch], Tensor], Bert, int]:
    """Return what answers for a batch, its model and its token budget: with the task's logits, else with hidden states."""
    heads = heads_if_known(job.model)
    has_task = heads is not None and heads.task is not None
    model = load_task_model(job.model)[1] if has_task else load_model(job.model, Heads())
    engine = inference.Engine(model, device, job.precision)
    return (engine.logits if has_task else lambda batch: engine(batch).hidden), model, engine.token_budget


def _answer(answer: Callable[[PackedBatch], Tensor], model: Bert, lengths: Sequence[int]) -> _Work:
    batch = _batch(lengths, model)
    operations = encoder_operations(model.encoder, batch.cu_seqlens.diff(), _n_rows(model, batch))
    return _Work(batch.n_tokens, operations, partial(answer, batch))


def _n_rows(model: Bert, batch: PackedBatch) -> int:
    """Return the tokens at which the model needs its last layer: of heads that read first tokens alone one a sequence."""
    return batch.n_sequences if model.task is not None and model.task.reads == "first tokens" else batch.n_tokens


def _training(job: Job, device: torch.device) -> list[_Work]:
    """Return optimiser steps of the model's task; of a model without one, of pre-training."""
    heads = heads_if_known(job.model)
    dtype = choose_dtype(job.precision, device)
    if heads is not None and heads.task is not None:
        return _finetuning(job, load_task_model(job.model)[1], device, dtype)
    pretrained = heads is not None and heads.masked_token
    model = load_model(job.model) if pretrained else load_model(job.model, PRETRAINING)
    trainer = Trainer(model, Optimisation(), 0, Ranks(), device, dtype, compiled=False)
    works = []
    for lengths in _packed(job.lengths, PretrainOptimisation().batch_tokens):
        batch = _pretraining_batch(lengths, model)
        step = partial(trainer.step, 1, [batch.to(device)], len(batch.masked_positions), n_pairs(batch), 1e-6)
        works.append(_Work(batch.inputs.n_tokens, step_operations(model, batch), step))
    return works


def _finetuning(job: Job, model: Bert, device: torch.device, dtype: torch.dtype) -> list[_Work]:
    stepper = Stepper(model, Optimisation(), 0, Ranks(), device, dtype, compiled=False)

    def step(batch: PackedBatch) -> None:
        stepper.accumulate(0, 0, partial(loss, batch))
        stepper.gather()
        stepper.update(1e-6)

    def loss(batch: PackedBatch) -> Tensor:
        logits = stepper.compute.logits(batch.to(device)).task_logits
        assert logits is not None
        return logits.float().square().mean()  # stands for the task's own, which costs as little

    works = []
    repeated = list(islice(cycle(job.lengths), max(len(job.lengths), _SEQUENCES_A_STEP)))
    for first in range(0, len(repeated), _SEQUENCES_A_STEP):
        batch = _batch(sorted(repeated[first : first + _SEQUENCES_A_STEP], reverse=True), model)
        operations = 3 * encoder_operations(model.encoder, batch.cu_seqlens.diff(), _n_rows(model, batch))
        works.append(_Work(batch.n_tokens, operations, partial(step, batch)))
    return works


def _packed(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield the lengths of each batch: those given, repeated to a full batch where they are fewer."""
    repeated = list(islice(cycle(lengths), max(len(lengths), budget // max(1, round(sum(lengths) / len(lengths))))))
    ordered = np.array(sorted(repeated, reverse=True))
    for places in pack(ordered, max(budget, int(ordered[0]))):
        yield ordered[places].tolist()


def _batch(lengths: Sequence[int], model: Bert) -> PackedBatch:
    total = sum(lengths)
    token_ids = np.random.default_rng(total).integers(0, model.config.vocabulary_size, total)
    return PackedBatch.from_arrays(token_ids, np.zeros(total, np.int64), np.array(lengths))


def _pretraining_batch(lengths: Sequence[int], model: Bert) -> PretrainingBatch:
    inputs = _batch(lengths, model)
    positions = torch.arange(0, inputs.n_tokens, round(1 / _MASKED_SHARE))
    labels = torch.zeros(inputs.n_sequences, dtype=torch.int64) if model.next_sentence is not None else None
    return PretrainingBatch(inputs, positions, inputs.token_ids[positions], labels)


def _throughput(works: Sequence[_Work], device: torch.device, seconds: float) -> tuple[int, float, float]:
    """Do all of the works again and again until the time is up; return tokens, operations and seconds."""
    for work in islice(cycle(works), 2):  # by then memory is there and what is made at first use is made
        _seconds(work, device)
    n_tokens, operations, taken = 0, 0.0, 0.0
    while taken < seconds:
        taken += sum(_seconds(work, device) for work in works)
        n_tokens += sum(work.tokens for work in works)
        operations += sum(work.operations for work in works)
    return n_tokens, operations, taken


def _latencies(works: Sequence[_Work], device: torch.device, seconds: float) -> list[float]:
    """Return the seconds that single texts take, one after the other."""
    end = time.perf_counter() + seconds
    for work in islice(cycle(works), 3):
        _seconds(work, device)
    found = [_seconds(works[0], device)]
    for work in islice(cycle(works), _LATENCY_RUNS):
        if time.perf_counter() > end:
            break
        found.append(_seconds(work, device))
    return found


def _seconds(work: _Work, device: torch.device) -> float:
    start = time.perf_counter()
    work.do()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _product_rate(precision: Precision, device: torch.device) -> float:
    return int8_product_rate() if precision == "int8" else matrix_product_rate(device, choose_dtype(precision, device))


def peak_memory(device: torch.device) -> int:
    """Return the most memory that this process has had, in bytes; on a GPU that of PyTorch's tensors there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        # Unlike what getrusage says, it does not begin with the peak of the process that started this one.
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

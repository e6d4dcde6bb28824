"""What this machine has, how fast it is, what each command would choose on it and why, and what would be faster."""

import inspect
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tokenizers
import torch

from bertsmith import __version__, machine
from bertsmith.engine.avx512 import Avx512Encoder, is_built, suits_processor
from bertsmith.engine.engine import Engine, Wanted, choose_precision
from bertsmith.finetuning.grid import FinetuneConfig
from bertsmith.inference.pipelines import pipeline
from bertsmith.model.attention import plan_attention
from bertsmith.model.attention_plan import AttentionPlan
from bertsmith.model.bert import Bert, Heads, uninitialised
from bertsmith.model.model_config import ModelConfig, preset
from bertsmith.pretraining.options import PretrainConfig
from bertsmith.training.precision import apply_precision
from bertsmith.types import PackedBatch


@dataclass(frozen=True, slots=True)
class CommandChoice:
    """What a command does on this machine unless flags say otherwise; ``why`` says so of each in a sentence."""

    device: str
    precision: str
    attention: str
    threads: int
    batch_tokens: int
    why: dict[str, str]


def examine(answering: tuple[str, Wanted]) -> dict[str, Any]:
    """Return what there is to know: ``machine``, ``rates`` (operations and bytes a second), ``commands`` and ``faster``.

    ``answering`` is the device and the precision that commands which answer have by default.
    """
    rates = _rates(machine.choose_device("auto", 0))
    return {
        "machine": _machine(),
        "rates": rates,
        "commands": {command: asdict(choice) for command, choice in _choices(*answering).items()},
        "faster": _faster(machine.cores(), rates),
    }


def _machine() -> dict[str, Any]:
    total, available = machine.memory()
    return {
        "processor": platform.machine(),
        "instruction_sets": [name for flag, name in machine.INSTRUCTION_SETS.items() if flag in machine.cpu_flags()],
        "cores": {**asdict(machine.cores()), "usable": machine.cores().usable},
        "threads": torch.get_num_threads(),
        "memory": {"total": total, "available": available},
        "gpus": [asdict(gpu) for gpu in machine.gpus()],
        "allocator_keeps_pages": machine.can_keep_pages(),
        "versions": {
            "bertsmith": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }


def _rates(device: torch.device) -> dict[str, float | None]:
    """Measure the device that commands choose; None for products that it has no instructions for."""
    return {
        "float32": machine.matrix_product_rate(device, torch.float32),
        "bf16": machine.matrix_product_rate(device, torch.bfloat16) if machine.has_bf16(device) else None,
        "int8": machine.int8_product_rate() if machine.has_int8(device) else None,
        "memory_bandwidth": machine.memory_bandwidth(device),
    }


def _choices(device: str, precision: Wanted) -> dict[str, CommandChoice]:
    """Ask the functions that the commands use, with the settings that the commands have by default."""
    pretrain, finetune = PretrainConfig.model_fields, FinetuneConfig.model_fields
    fill = inspect.signature(pipeline).parameters
    training, tuning = pretrain["machine"].default, finetune["machine"].default
    answering = _answering(device, precision)
    return {
        "pretrain": _training(training.device, training.precision, pretrain["optimisation"].default.batch_tokens),
        "finetune": _training(tuning.device, tuning.precision, finetune["recipe"].default.batch_tokens),
        "evaluate": answering,
        "predict": answering,
        "fill": _answering(fill["device"].default, fill["precision"].default),
    }


def _training(wanted_device: str, wanted_precision: str, batch_tokens: int) -> CommandChoice:
    device = machine.choose_device(wanted_device, 0)
    dtype = machine.choose_dtype(wanted_precision, device)
    precision = apply_precision(_small_model().to(device), device, dtype)
    name = "bf16" if dtype == torch.bfloat16 else "float32"
    asked = wanted_device, wanted_precision
    attention = _attention(device, dtype, ModelConfig().attention_dropout)
    return _choice(asked, device, name, precision, attention, batch_tokens)


def _answering(wanted_device: str, wanted_precision: Wanted) -> CommandChoice:
    device = machine.choose_device(wanted_device, 0)
    engine = Engine(_small_model(), device, choose_precision(wanted_precision, device))
    encoder, dtype = engine.model.encoder, torch.float32 if engine.precision == "float32" else torch.bfloat16
    attention = encoder if isinstance(encoder, Avx512Encoder) else _attention(device, dtype, 0.0)
    return _choice((wanted_device, wanted_precision), device, engine.precision, engine, attention, engine.token_budget)


def _small_model() -> Bert:
    return uninitialised(preset("tiny", 1), Heads())


def _attention(device: torch.device, dtype: torch.dtype, dropout: float) -> AttentionPlan:
    ones = torch.ones(2, dtype=torch.int64, device=device)
    two_texts = PackedBatch(ones, ones, ones, torch.arange(3, dtype=torch.int32, device=device), 1)
    return plan_attention(two_texts, dtype, dropout, False)


def _choice(
    wanted: tuple[str, str], device: torch.device, name: str, precision: object, attention: object, batch_tokens: int
) -> CommandChoice:
    wanted_device, wanted_precision = wanted
    found = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU that PyTorch finds"
    instructions = " and ".join(
        machine.INSTRUCTION_SETS[flag] for flag in machine.BF16_INSTRUCTIONS if flag in machine.cpu_flags()
    )
    has = {
        "cpu": f"the processor has {instructions or 'no bf16 instructions'}",
        "cuda": f"the GPU multiplies {'bf16 matrices' if name == 'bf16' else 'no bf16 matrices'}",
    }
    return CommandChoice(
        device=str(device),
        precision=name,
        attention=type(attention).__name__,
        threads=torch.get_num_threads(),
        batch_tokens=batch_tokens,
        why={
            "device": found if wanted_device == "auto" else "as the command always does",
            "precision": (f"{has[device.type]}. " if wanted_precision == "auto" else "As the command always does. ")
            + _summary(precision),
            "attention": _summary(attention),
            "threads": f"{machine.cores().usable} may be at work at a time, and PyTorch is set to {torch.get_num_threads()}",
        },
    )


def _summary(chosen: object) -> str:
    """Return the first sentence that stands in the code about what was chosen."""
    return (inspect.getdoc(type(chosen)) or type(chosen).__name__).partition("\n")[0]


def _faster(cores: machine.Cores, rates: dict[str, float | None]) -> list[str]:
    """Return what would make the commands faster here, most telling first."""
    device, threads = machine.choose_device("auto", 0), torch.get_num_threads()
    whole = min(cores.usable, cores.physical or cores.usable)
    float32, bf16 = rates["float32"] or 0.0, rates["bf16"]
    on_cpu = device.type == "cpu"
    has_driver = Path("/proc/driver/nvidia/version").exists()
    variable = os.environ.get("OMP_NUM_THREADS")
    advice = [
        (
            on_cpu and has_driver and torch.version.cuda is None,
            "An NVIDIA GPU is here, but this PyTorch is built for CPUs alone: install one built for CUDA.",
        ),
        (
            on_cpu and has_driver and torch.version.cuda is not None,
            f"This PyTorch is built for CUDA {torch.version.cuda}, but finds no GPU: the driver may be older than that.",
        ),
        (
            not on_cpu,
            "Train with --compile, which joins the GPU's many small steps into few; it takes a minute or two at the start.",
        ),
        (
            on_cpu and threads < whole,
            f"PyTorch is set to {threads} of the {whole} cores that it may use: "
            + (f"set OMP_NUM_THREADS={whole}." if variable is None else f"unset OMP_NUM_THREADS, which is {variable}."),
        ),
        (
            threads > cores.usable,
            f"PyTorch runs {threads} threads where {cores.usable} can be at work: set OMP_NUM_THREADS={cores.usable}.",
        ),
        (
            cores.usable < cores.logical,
            f"This process is kept from all but {cores.usable} of {cores.logical} processors, by taskset or by its container.",
        ),
        (
            not machine.has_bf16(device),
            f"It is float32, for lack of bf16 instructions: a {'processor' if on_cpu else 'GPU'} with them is much faster.",
        ),
        (
            bf16 is not None and bf16 < 1.2 * float32,
            "Products in bf16 are no faster here than in float32: install a newer PyTorch, or use --precision float32.",
        ),
        (
            on_cpu and suits_processor() and not is_built(),
            "bertsmith's own code for this processor is not built: install a C++ compiler (g++), then bertsmith again.",
        ),
        (
            on_cpu and not machine.can_keep_pages(),
            "The C library is not glibc, so freed memory goes back to the system and is cleared anew in every step.",
        ),
    ]
    return [sentence for applies, sentence in advice if applies]

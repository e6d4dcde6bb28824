"""``bertsmith doctor``."""

import inspect
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from bertsmith.cli.flags import parse
from bertsmith.config import Config

if TYPE_CHECKING:
    import torch

    from bertsmith.inference.pipelines import Wanted
    from bertsmith.machine import Cores
    from bertsmith.model.attention import AttentionPlan
    from bertsmith.model.bert import Bert


class DoctorConfig(Config):
    """Say what this machine has, how fast it is, what each command would choose on it and why, and what would be faster."""

    as_json: Annotated[bool, arg(name="json")] = False
    """Print one JSON object."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a command does on this machine unless flags say otherwise; ``why`` says so of each in a sentence."""

    device: str
    precision: str
    attention: str
    threads: int
    batch_tokens: int | None
    why: dict[str, str]


def run(arguments: Sequence[str]) -> None:
    """Print the facts of the machine and the choices that follow from them."""
    config = parse(DoctorConfig, arguments, "doctor")
    report = examine()
    if config.as_json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _print(report)


def examine() -> dict[str, Any]:
    """Return what there is to know: ``machine``, ``rates`` (operations and bytes a second), ``commands`` and ``faster``."""
    from bertsmith.machine import choose_device, cores

    rates = _rates(choose_device("auto", 0))
    return {
        "machine": _machine(),
        "rates": rates,
        "commands": {command: asdict(choice) for command, choice in _choices().items()},
        "faster": _faster(cores(), rates),
    }


def _machine() -> dict[str, Any]:
    import tokenizers
    import torch

    import bertsmith
    from bertsmith.machine import INSTRUCTION_SETS, can_keep_pages, cores, cpu_flags, gpus, memory

    total, available = memory()
    return {
        "processor": platform.machine(),
        "instruction_sets": [name for flag, name in INSTRUCTION_SETS.items() if flag in cpu_flags()],
        "cores": {**asdict(cores()), "usable": cores().usable},
        "threads": torch.get_num_threads(),
        "memory": {"total": total, "available": available},
        "gpus": [asdict(gpu) for gpu in gpus()],
        "allocator_keeps_pages": can_keep_pages(),
        "versions": {
            "bertsmith": bertsmith.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }


def _rates(device: "torch.device") -> dict[str, float | None]:
    """Measure the device that commands choose; None for products that it has no instructions for."""
    import torch

    from bertsmith.machine import has_bf16, has_int8, int8_product_rate, matrix_product_rate, memory_bandwidth

    return {
        "float32": matrix_product_rate(device, torch.float32),
        "bf16": matrix_product_rate(device, torch.bfloat16) if has_bf16(device) else None,
        "int8": int8_product_rate() if has_int8(device) else None,
        "memory_bandwidth": memory_bandwidth(device),
    }


def _choices() -> dict[str, Choice]:
    """Ask the functions that the commands use, with the settings that the commands have by default."""
    from bertsmith.cli.model_on_file import ModelOnFile
    from bertsmith.finetuning.grid import FinetuneConfig
    from bertsmith.inference.pipelines import pipeline
    from bertsmith.pretraining.options import PretrainConfig

    pretrain, finetune, predict = PretrainConfig.model_fields, FinetuneConfig.model_fields, ModelOnFile.model_fields
    fill = inspect.signature(pipeline).parameters
    training, tuning = pretrain["machine"].default, finetune["machine"].default
    answering = _answering(predict["device"].default, predict["precision"].default)
    return {
        "pretrain": _training(training.device, training.precision, pretrain["optimisation"].default.batch_tokens),
        "finetune": _training(tuning.device, tuning.precision, finetune["recipe"].default.batch_tokens),
        "evaluate": answering,
        "predict": answering,
        # A number of texts at a time, whatever their tokens.
        "fill": replace(_answering(fill["device"].default, fill["precision"].default), batch_tokens=None),
    }


def _training(wanted_device: str, wanted_precision: str, batch_tokens: int) -> Choice:
    import torch

    from bertsmith.machine import choose_device, choose_dtype
    from bertsmith.model.model_config import ModelConfig
    from bertsmith.training.precision import apply_precision

    device = choose_device(wanted_device, 0)
    dtype = choose_dtype(wanted_precision, device)
    precision = apply_precision(_small_model().to(device), device, dtype)
    name = "bf16" if dtype == torch.bfloat16 else "float32"
    asked = wanted_device, wanted_precision
    attention = _attention(device, dtype, ModelConfig().attention_dropout)
    return _choice(asked, device, name, precision, attention, batch_tokens)


def _answering(wanted_device: str, wanted_precision: "Wanted") -> Choice:
    import torch

    from bertsmith.engine.avx512 import Avx512Encoder
    from bertsmith.engine.engine import Engine, choose_precision
    from bertsmith.machine import choose_device

    device = choose_device(wanted_device, 0)
    engine = Engine(_small_model(), device, choose_precision(wanted_precision, device))
    encoder, dtype = engine.model.encoder, torch.float32 if engine.precision == "float32" else torch.bfloat16
    attention = encoder if isinstance(encoder, Avx512Encoder) else _attention(device, dtype, 0.0)
    return _choice((wanted_device, wanted_precision), device, engine.precision, engine, attention, engine.token_budget)


def _small_model() -> "Bert":
    from bertsmith.model.bert import Heads, uninitialised
    from bertsmith.model.model_config import preset

    return uninitialised(preset("tiny", 1), Heads())


def _attention(device: "torch.device", dtype: "torch.dtype", dropout: float) -> "AttentionPlan":
    import torch

    from bertsmith.model.attention import plan_attention
    from bertsmith.types import PackedBatch

    ones = torch.ones(2, dtype=torch.int64, device=device)
    two_texts = PackedBatch(ones, ones, ones, torch.arange(3, dtype=torch.int32, device=device), 1)
    return plan_attention(two_texts, dtype, dropout, False)


def _choice(
    wanted: tuple[str, str], device: "torch.device", name: str, precision: object, attention: object, batch_tokens: int
) -> Choice:
    import torch

    from bertsmith.machine import BF16_INSTRUCTIONS, INSTRUCTION_SETS, cores, cpu_flags

    wanted_device, wanted_precision = wanted
    found = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU that PyTorch finds"
    instructions = " and ".join(INSTRUCTION_SETS[flag] for flag in BF16_INSTRUCTIONS if flag in cpu_flags())
    has = {
        "cpu": f"the processor has {instructions or 'no bf16 instructions'}",
        "cuda": f"the GPU multiplies {'bf16 matrices' if name == 'bf16' else 'no bf16 matrices'}",
    }
    return Choice(
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
            "threads": f"{cores().usable} may be at work at a time, and PyTorch is set to {torch.get_num_threads()}",
        },
    )


def _summary(chosen: object) -> str:
    """Return the first sentence that stands in the code about what was chosen."""
    return (inspect.getdoc(type(chosen)) or type(chosen).__name__).partition("\n")[0]


def _faster(cores: "Cores", rates: dict[str, float | None]) -> list[str]:
    """Return what would make the commands faster here, most telling first."""
    import torch

    from bertsmith.engine.avx512 import is_built, suits_processor
    from bertsmith.machine import can_keep_pages, choose_device, has_bf16

    device, threads = choose_device("auto", 0), torch.get_num_threads()
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
            not has_bf16(device),
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
            on_cpu and not can_keep_pages(),
            "The C library is not glibc, so freed memory goes back to the system and is cleared anew in every step.",
        ),
    ]
    return [sentence for applies, sentence in advice if applies]


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    machine, rates = report["machine"], report["rates"]
    for title, facts in (("This machine", _facts(machine)), ("Measured", _speeds(rates))):
        console.print(f"[bold]{title}[/]")
        for name, value in facts.items():
            console.print(f"  {name:<22}{value}", markup=False)
        console.print()
    table = Table("command", "device", "precision", "attention", "threads", "tokens at a time")
    for command, choice in report["commands"].items():
        names = ("device", "precision", "attention", "threads")
        batch_tokens = f"{choice['batch_tokens']:,}" if choice["batch_tokens"] else "any"
        table.add_row(command, *(str(choice[name]) for name in names), batch_tokens)
    console.print("[bold]What each command would choose[/]")
    console.print(table)
    reasons: dict[str, list[str]] = {}
    for command, choice in report["commands"].items():
        for name, why in choice["why"].items():
            reasons.setdefault(f"{name} {choice[name]}: {why}", []).append(command)
    for reason, commands in sorted(reasons.items()):
        console.print(f"  {reason} ({', '.join(commands)})", markup=False)
    console.print("\n[bold]What would be faster[/]")
    for sentence in report["faster"] or ["Nothing that bertsmith knows of."]:
        console.print(f"  {sentence}", markup=False)


def _facts(machine: dict[str, Any]) -> dict[str, str]:
    cores, versions = machine["cores"], machine["versions"]
    physical = f"{cores['physical']} cores" if cores["physical"] else f"{cores['logical']} processors"
    gpus = [
        f"{gpu['name']}, {gpu['memory'] / 1e9:.0f} GB ({gpu['free'] / 1e9:.0f} GB free), capability {gpu['capability']}, "
        + ("bf16" if gpu["has_bf16"] else "no bf16")
        for gpu in machine["gpus"]
    ]
    return {
        "processor": f"{machine['processor']}, {physical}; this process may use {cores['usable']} of {cores['logical']}",
        "instruction sets": ", ".join(machine["instruction_sets"]) or "unknown",
        "memory": f"{machine['memory']['total'] / 1e9:.1f} GB, {machine['memory']['available'] / 1e9:.1f} GB available",
        "GPU": "; ".join(gpus) or "none that PyTorch finds",
        "allocator": "keeps freed pages" if machine["allocator_keeps_pages"] else "returns freed pages to the system",
        "software": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def _speeds(rates: dict[str, float | None]) -> dict[str, str]:
    products = {
        f"{name} products": "no instructions for them" if rate is None else f"{rate / 1e9:,.0f} GFLOP/s"
        for name, rate in rates.items()
        if name != "memory_bandwidth"
    }
    return {**products, "memory": f"{(rates['memory_bandwidth'] or 0.0) / 1e9:,.1f} GB/s"}

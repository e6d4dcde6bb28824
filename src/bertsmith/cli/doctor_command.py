"""``bertsmith doctor``."""

import json
from collections.abc import Sequence
from typing import Any

from bertsmith.cli.flags import parse
from bertsmith.config import Config, JsonFlag


class DoctorConfig(Config):
    """Say what this machine has, how fast it is, what each command would choose on it and why, and what would be faster."""

    as_json: JsonFlag = False
    """Print one JSON object."""


def run(arguments: Sequence[str]) -> None:
    """Print the facts of the machine and the choices that follow from them."""
    config = parse(DoctorConfig, arguments, "doctor")

    from bertsmith.cli.model_on_file import ModelOnFile
    from bertsmith.diagnosis import examine

    fields = ModelOnFile.model_fields
    report = examine((fields["device"].default, fields["precision"].default))
    if config.as_json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _print(report)


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
        table.add_row(command, *(str(choice[name]) for name in names), f"{choice['batch_tokens']:,}")
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

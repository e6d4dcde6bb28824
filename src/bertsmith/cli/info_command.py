"""``bertsmith info``."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertsmith import files
from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.config import Config, JsonFlag, Positional, read_toml
from bertsmith.errors import ArtifactError, DamagedError
from bertsmith.hub import hint


class InfoConfig(Config):
    """Say what a directory of bertsmith's, or a BERT directory of another tool's, is and what is in it."""

    path: Positional[Path]
    """The directory."""
    as_json: JsonFlag = False
    """Print one JSON object."""


def run(arguments: Sequence[str]) -> None:
    """Print the facts of a directory."""
    config = parse(InfoConfig, arguments, "info")
    facts = describe(config.path)
    if config.as_json:
        print(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        sys.stdout.write(visible(_readable(facts)))


def describe(path: Path) -> dict[str, Any]:
    """Return what there is to know about a directory; :class:`ArtifactError` when it is none that bertsmith knows."""
    if not (is_there := files.exists(path)) or not path.is_dir():
        raise ArtifactError(f"{path} is not a directory{'' if is_there else hint(path)}")
    kind = files.read_json(path / files.MANIFEST).get("kind") if (path / files.MANIFEST).exists() else None
    if kind == "corpus":
        from bertsmith.corpus.store import describe as describe_corpus

        return describe_corpus(path)
    if kind in ("vocabulary", "feature cache", "text-index", "word comparison"):
        manifest = files.read_manifest(path, kind)
        return {name: value for name, value in manifest.items() if name not in ("format", "files")}
    if kind == "multi":
        from bertsmith.artifacts.directory import task_directories

        return {"kind": kind, "tasks": {name: _describe_model(directory) for name, directory in task_directories(path).items()}}
    if (path / "config.toml").exists() and (path / "environment.json").exists():
        files.check_digests(path)
        settings = read_toml(path / "config.toml")
        if "variants" in settings:
            return {"kind": "comparison", "variants": _variants(path / "table.json")}
        return _describe_run(path) if "corpus" in settings else _describe_finetuning(path)
    if kind == "model" or (path / "config.json").exists():
        return _describe_model(path)
    raise ArtifactError(f"{path} is no vocabulary, corpus, run, comparison, model or index directory")


def _variants(table: Path) -> dict[str, Any]:
    """Return what a comparison found of each variant; nothing before the first is finished."""
    if not table.exists():
        return {}
    found = files.read_sealed(table).get("variants")
    if not isinstance(found, list) or not all(isinstance(one, dict) and isinstance(one.get("variant"), str) for one in found):
        raise DamagedError(
            f"{table} is not what bertsmith compare writes; run the same comparison again to have it written anew"
        )
    return {one.pop("variant"): one for one in found}


def _describe_model(path: Path) -> dict[str, Any]:
    from bertsmith.artifacts.directory import load_model_or_encoder
    from bertsmith.text.tokenizer import Tokenizer

    model = load_model_or_encoder(path)
    tokenizer = Tokenizer.load(path)
    state = files.read_json(path / "state.json") if (path / "state.json").exists() else {}
    task = files.read_json(path / "task.json") if (path / "task.json").exists() else {}
    return {
        "kind": "checkpoint" if state else "model",
        **{name: state[name] for name in ("step", "tokens") if name in state},
        "heads": [name for name in ("pooler", "masked_token", "next_sentence", "task") if getattr(model.heads, name)],
        **{name: task[name] for name in ("task", "settings") if name in task},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **model.config.model_dump(),
        "lowercase": tokenizer.lowercase,
        "tokenizer_digest": tokenizer.digest,
    }


def _describe_run(path: Path) -> dict[str, Any]:
    from bertsmith.training.checkpoints import checkpoints
    from bertsmith.training.run_directory import RunDirectory

    run = RunDirectory(path)
    return {
        "kind": "run",
        "state": "finished" if run.final.exists() else "unfinished",
        "checkpoints": [checkpoint.name for checkpoint in checkpoints(run.checkpoints)],
        "last_step": run.last("train"),
        "last_held_out": run.last("held_out"),
        "environment": files.read_json(path / "environment.json"),
    }


def _describe_finetuning(path: Path) -> dict[str, Any]:
    from bertsmith.finetuning.results import RESULT, read_result

    results = {file.parent.name: read_result(file.parent) for file in sorted(path.glob(f"trials/*/{RESULT}"))}
    return {
        "kind": "fine-tuning run",
        "state": "finished" if (path / "final").exists() else "unfinished",
        "trials": {name: {"dev": result.dev, "test": result.test or "none"} for name, result in results.items()},
        "environment": files.read_json(path / "environment.json"),
    }


def _readable(facts: Mapping[str, Any], indent: str = "") -> str:
    lines = ""
    for name, value in facts.items():
        label = f"{indent}{name.replace('_', ' ')}:"
        if isinstance(value, Mapping) and value:
            lines += f"{label}\n{_readable(value, indent + '  ')}"
        elif isinstance(value, Mapping | list):
            lines += f"{label} {', '.join(str(item) for item in value) or 'none'}\n"
        else:
            lines += f"{label} {f'{value:,}' if type(value) is int else value}\n"
    return lines

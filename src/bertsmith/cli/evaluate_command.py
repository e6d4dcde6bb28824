"""``bertsmith evaluate``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.model_on_file import ModelOnFile, open_pipeline
from bertsmith.cli.screen import visible
from bertsmith.config import JsonFlag
from bertsmith.errors import InputError, MismatchError, UsageError
from bertsmith.progress import TerminalProgress

if TYPE_CHECKING:
    from bertsmith.inference.pipelines import TaskPipeline
    from bertsmith.tasks.scoring.significance import Interval
    from bertsmith.tasks.task import Floats, Task


class EvaluateConfig(ModelOnFile):
    """Score a model on a labelled file, with bootstrap intervals; against another model, with a paired test."""

    against: Path | None = None
    """Another model of the same task, to be compared with on the same examples."""
    rounds: int = pydantic.Field(default=1000, ge=100)
    """Samples drawn for the intervals and the test."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Determines these samples."""
    as_json: JsonFlag = False
    """Print one JSON object."""


def run(arguments: Sequence[str]) -> None:
    """Print the scores."""
    config = parse(EvaluateConfig, arguments, "evaluate")

    from bertsmith.tasks.scoring.significance import bootstrap, paired_test

    pipe = open_pipeline(config, config.model)
    task, other_pipe = pipe.task, _comparable(config, pipe.task)
    examples = _examples(config, task)
    outcomes = _outcomes(pipe, examples, config.model)
    found: dict[str, Any] = {
        "examples": len(outcomes),
        "precision": pipe.engine.precision,
        **({"compared": task.scored_by} if task.scored_by else {}),
        "scores": bootstrap(outcomes, task.scores, rounds=config.rounds, seed=config.seed),
    }
    if config.against is not None and other_pipe is not None:
        other_outcomes = _outcomes(other_pipe, examples, config.against)
        found["against"] = bootstrap(other_outcomes, other_pipe.task.scores, rounds=config.rounds, seed=config.seed)
        found["metric"] = task.main_metric
        if task.main_metric not in found["scores"]:
            raise UsageError(
                f"models are compared by their {task.main_metric}, but {config.file} has none; "
                f"its examples have {', '.join(found['scores'])}"
            )
        found["difference"] = paired_test(
            outcomes, other_outcomes, task.scores, task.main_metric, rounds=config.rounds, seed=config.seed
        )
    print(json.dumps(_plain(found), indent=2) if config.as_json else visible(_readable(found)))


def _comparable(config: EvaluateConfig, task: "Task") -> "TaskPipeline | None":
    """Return the pipeline of the other model, if one is named."""
    if config.against is None:
        return None
    other = open_pipeline(config, config.against)
    if _meaning(other.task) != _meaning(task):
        raise MismatchError(f"{config.model} and {config.against} are not of the same task with the same labels and scores")
    return other


def _meaning(task: "Task") -> tuple[Any, ...]:
    """Return what the outcomes of two models must have in common to be compared."""
    return task.kind, *(getattr(task, name, None) for name in ("labels", "positive", "scheme", "scorer"))


def _examples(config: EvaluateConfig, task: "Task") -> list[Any]:
    examples = list(task.read(config.file, labelled=True, format=config.format))
    if not examples:
        raise InputError(f"{config.file} holds no examples")
    task.check_to_score(examples, config.file)
    return examples


def _outcomes(pipe: "TaskPipeline", examples: Sequence[Any], model: Path) -> "Floats":
    """Return the outcomes of a model's predictions."""
    predictions = []
    with TerminalProgress().task(f"Evaluating {model.name}", len(examples), "examples") as shown:
        for _, prediction in pipe.predict(examples):
            predictions.append(prediction)
            shown.advance(1)
    return pipe.task.outcomes(examples, predictions)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value if isinstance(value, str | int) else asdict(value)


def _readable(found: dict[str, Any]) -> str:
    compared = f"; compared {found['compared']}" if "compared" in found else ""
    lines = [f"{found['examples']:,} examples, computed in {found['precision']}{compared}", *_table(found["scores"])]
    if "difference" in found:
        difference = found["difference"]
        lines += ["against", *_table(found["against"])]
        lines.append(
            f"difference in {found['metric']}: {difference.difference:+.4f} "
            f"[{difference.low:+.4f}, {difference.high:+.4f}], p = {difference.p_value:.4f}"
        )
    return "\n".join(lines)


def _table(scores: "dict[str, Interval]") -> list[str]:
    return [f"  {name:20} {one.value:8.4f}  [{one.low:.4f}, {one.high:.4f}]" for name, one in scores.items()]

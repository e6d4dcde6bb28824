"""``bertsmith data``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.cli.verbs import nearest_name
from bertsmith.config import Config, Flag, JsonFlag, Positional
from bertsmith.errors import InputError, UsageError

if TYPE_CHECKING:
    from bertsmith.tasks.task import Task

Kind = Literal["classify", "multilabel", "regress", "tag", "answer", "choose", "rank", "embed"]
_USUAL: Kind = "classify"


class DataConfig(Config):
    """Say what labelled files hold, and what is doubtful in them, before a model is trained on them."""

    train: Positional[str]
    """Labelled file to learn from; of classes, labels, numbers and choices also hub:NAME:SPLIT."""
    dev: str | None = None
    """Labelled file to choose the best model by."""
    test: str | None = None
    """Labelled file to score."""
    kind: Annotated[Kind, Flag(name="task")] = _USUAL
    """What the files are for, as bertsmith finetune has it; further flags are those of the task."""
    model: Path | None = None
    """Directory with the tokenizer to count tokens with, such as the model to start from."""
    format: str | None = None
    """Format of the files, if their extensions do not say it."""
    strict: bool = False
    """Fail where there is a warning."""
    as_json: JsonFlag = False
    """Print one JSON object."""
    out: Path | None = None
    """HTML page to write, with the labels and the lengths as charts."""


def run(arguments: Sequence[str]) -> None:
    """Print what is found."""
    from bertsmith.tasks.saved import TASKS

    kind = _named_task(arguments)
    made = pydantic.create_model(
        "DataOfTask", __base__=DataConfig, __doc__=DataConfig.__doc__, task=(TASKS[kind], TASKS[kind]())
    )
    config: Any = parse(made, arguments, "data")
    if config.kind != kind:
        raise UsageError(f"the task {config.kind} is named in a file; name it on the command line: --task {config.kind}")

    from bertsmith.examining.data_page import write_data_page
    from bertsmith.examining.examine import examine, refuse_warnings
    from bertsmith.text.tokenizer import Tokenizer

    tokenizer = None if config.model is None else Tokenizer.load(config.model)
    task, splits = _read(config, config.task)
    report = examine(task, splits, tokenizer)
    if config.strict:
        refuse_warnings([report])
    if config.out is not None:
        write_data_page(config.out, Path(config.train).name, report)
    if config.as_json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=2))
    else:
        print(visible("\n".join([*report.lines(), *(f"warning: {warning}" for warning in report.warnings)])))


def _named_task(arguments: Sequence[str]) -> str:
    """Return the task that the arguments name, on which the other flags depend."""
    name: str = _USUAL
    for place, argument in enumerate(arguments):
        if argument == "--task" and place + 1 < len(arguments):
            name = arguments[place + 1]
        elif argument.startswith("--task="):
            name = argument.removeprefix("--task=")
    if name not in get_args(Kind):
        raise UsageError(f"--task {name} is no task; {nearest_name(name, get_args(Kind), 'the tasks are')}")
    return name


def _read(config: DataConfig, task: "Task") -> "tuple[Task, dict[str, list[Any]]]":
    """Return the task, fitted to the training file, and the examples of each file."""
    splits = {}
    for name, path in (("train", config.train), ("dev", config.dev), ("test", config.test)):
        if path is None:
            continue
        splits[name] = list(task.read(path, labelled=True, format=config.format))
        if not splits[name]:
            raise InputError(f"{path} holds no examples")
    task = task.fitted(splits["train"])
    for name, path in (("dev", config.dev), ("test", config.test)):
        if path is not None:
            task.check_to_score(splits[name], path)
    return task, splits

"""A look at labelled files."""

from pathlib import Path
from typing import Annotated, Any

import pydantic

from bertsmith.config import Config, Flag, JsonFlag, Positional
from bertsmith.errors import InputError, UsageError
from bertsmith.examining.data_page import write_data_page
from bertsmith.examining.data_report import DataReport
from bertsmith.examining.examine import examine, refuse_warnings
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer


class DataConfig(Config):
    """Say what labelled files hold, and what is doubtful in them, before a model is trained on them."""

    train: Positional[str]
    """Labelled file to learn from; of classes, labels, numbers and choices also hub:NAME:SPLIT."""
    dev: str | None = None
    """Labelled file to choose the best model by."""
    test: str | None = None
    """Labelled file to score."""
    kind: Annotated[str, Flag(name="task")] = "classify"
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


def data_config_of(kind: type[Task]) -> type[DataConfig]:
    """Return the class of configurations for files of a task: with its settings as ``task``."""
    made: type[DataConfig] = pydantic.create_model(
        f"DataOf{kind.__name__}",
        __base__=DataConfig,
        __doc__=DataConfig.__doc__,
        task=(kind, kind()),
    )
    return made


def examine_files(config: DataConfig) -> DataReport:
    """Return what the files hold, and write the page where one is wanted.

    Raises:
        UsageError: the task named is another than the one whose settings there are.
        InputError: a file is empty or not what the task reads, dev or test have labels that training lacks, or there is a
            warning and ``config.strict``.
        ArtifactError: the model has no tokenizer.
        StorageError: the page cannot be written.
    """
    task: Task = config.task  # type: ignore[attr-defined]
    if config.kind != task.kind:
        raise UsageError(f"the task {config.kind} is named in a file; name it on the command line: --task {config.kind}")
    tokenizer = None if config.model is None else Tokenizer.load(config.model)
    paths = {"train": config.train, "dev": config.dev, "test": config.test}
    splits = {name: _read(config, task, path) for name, path in paths.items() if path is not None}
    task = task.fitted(splits["train"])
    for name in splits.keys() - {"train"}:
        task.check_to_score(splits[name], str(paths[name]))
    report = examine(task, splits, tokenizer)
    if config.strict:
        refuse_warnings([report])
    if config.out is not None:
        write_data_page(config.out, Path(config.train).name, report)
    return report


def _read(config: DataConfig, task: Task, path: str) -> list[Any]:
    examples = list(task.read(path, labelled=True, format=config.format))
    if not examples:
        raise InputError(f"{path} holds no examples")
    return examples

"""The labelled examples of a fine-tuning run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from typing_extensions import TypeVar

from bertsmith.artifacts.weights import weights_digest
from bertsmith.errors import InputError, UsageError
from bertsmith.files import sha256
from bertsmith.finetuning.grid import ALONE, GridConfig, LabelledFiles
from bertsmith.finetuning.splits import Splitter, hold_out
from bertsmith.tasks.task import Task

Kind = TypeVar("Kind", bound=Task, default=Task)
log = logging.getLogger("bertsmith")


@dataclass(frozen=True, slots=True)
class LabelledData(Generic[Kind]):
    """The labelled examples of a task, and the task with what it has learnt from those for training.

    ``split`` says how those to choose by were held out of the training file; it is empty where they have a file.
    """

    task: Kind
    train: Sequence[Any]
    dev: Sequence[Any]
    test: Sequence[Any] | None
    split: str = ""

    def __str__(self) -> str:
        """Return how many there are."""
        test = f", {len(self.test):,} to test" if self.test else ""
        labels = f"; {len(labels)} labels" if (labels := self.task.classes) else ""
        scored = f"; predictions are compared {by}" if (by := self.task.scored_by) else ""
        return f"{len(self.train):,} examples to train on, {len(self.dev):,} to choose by{test}{labels}{scored}"


def read_data(files: LabelledFiles, task: Kind) -> LabelledData[Kind]:
    """Read the files of a task and fit it to the training examples.

    Raises:
        InputError: a file is empty or not what the task reads, or dev or test have labels that training lacks.
    """
    train, dev, test = (_read(files, task, path) for path in (files.train, files.dev, files.test))
    assert train is not None
    task = task.fitted(train)
    # Held out behind the fit, which so knows labels of which all examples are held out.
    split = ""
    if dev is None:
        n_examples = len(train)
        train, dev, how = hold_out(task, train, files)
        split = f"{len(dev):,} of {n_examples:,} examples ({len(dev) / n_examples:.0%}), {how}"
        log.info("no --dev file: held out of %s are %s", source_name(files.train), split)
    task.check_to_score(dev, files.dev or f"what is held out of {files.train}")
    if test and files.test:
        task.check_to_score(test, files.test)
    return LabelledData(task, train, dev, test, split)


def read_folds(files: LabelledFiles, task: Kind, n_folds: int) -> list[LabelledData[Kind]]:
    """Read the files of a task, and hold out each of ``n_folds`` parts of the training file in turn.

    Raises:
        InputError: as :func:`read_data`; the file is too small.
        UsageError: there is a dev file.
    """
    if files.dev:
        raise UsageError(
            f"--folds holds out parts of {files.train} in turn, so that {files.dev} would not be read; leave one out"
        )
    examples, test = _read(files, task, files.train), _read(files, task, files.test)
    assert examples is not None
    task = task.fitted(examples)
    splitter = Splitter.of(task, examples, files)
    parts = splitter.parts([1 / n_folds] * n_folds)
    if not all(parts):
        raise InputError(f"{files.train} has too few examples for --folds {n_folds} ({splitter.how}); give a smaller number")
    log.info("%d folds of %s: %s", n_folds, source_name(files.train), splitter.how)
    if test and files.test:
        task.check_to_score(test, files.test)
    found = []
    for number, part in enumerate(parts, 1):
        held_out = set(part)
        train = [example for place, example in enumerate(examples) if place not in held_out]
        dev = [examples[place] for place in part]
        task.check_to_score(dev, f"fold {number} of {files.train}")
        split = f"fold {number} of {n_folds}, {len(dev):,} of {len(examples):,} examples, {splitter.how}"
        found.append(LabelledData(task, train, dev, test, split))
    return found


def _read(files: LabelledFiles, task: Task, path: str | None) -> list[Any] | None:
    if path is None:
        return None
    if not (examples := list(task.read(path, labelled=True, format=files.format))):
        raise InputError(f"{path} holds no examples")
    return examples


def digests(config: GridConfig) -> dict[str, str]:
    """Return the SHA-256 of the model and of every file that a run is made from, by what they are."""
    named: dict[str, str] = {"model": weights_digest(config.model)}
    for task, (files, _) in config.by_task().items():
        whose = "" if task == ALONE else f" of {task}"
        for what, path in (("training file", files.train), ("dev file", files.dev), ("test file", files.test)):
            if path is not None:  # what is no file is known by its name alone
                named[f"{what}{whose}"] = sha256(Path(path)) if Path(path).is_file() else path
    return {f"{name}_sha256": digest for name, digest in named.items()}


def facts(files: LabelledFiles, data: LabelledData) -> Mapping[str, Any]:
    """Return what a model card says of the files."""
    dev = (
        f"held out of {source_name(files.train)}, {data.split}"
        if data.split
        else f"{source_name(files.dev or files.train)}, {len(data.dev):,} examples"
    )
    return {
        "Training file": f"{source_name(files.train)}, {len(data.train):,} examples",
        "Dev file": dev,
        **({"Test file": f"{source_name(files.test)}, {len(data.test):,} examples"} if files.test and data.test else {}),
        **({"Predictions compared": data.task.scored_by} if data.task.scored_by else {}),
    }


def source_name(path: str) -> str:
    """Return the name of a file without its place, or the address of a dataset of the hub."""
    is_of_hub = path.startswith("hub:") and not path.startswith(("hub:/", "hub:.", "hub:~"))
    return path if is_of_hub else Path(path).name

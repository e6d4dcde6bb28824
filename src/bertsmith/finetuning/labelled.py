"""The labelled examples of a fine-tuning run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from typing_extensions import TypeVar

from bertsmith.artifacts.weights import weights_digest
from bertsmith.errors import InputError
from bertsmith.files import sha256
from bertsmith.finetuning.grid import ALONE, GridConfig, LabelledFiles
from bertsmith.finetuning.splits import hold_out
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
    train = list(task.read(files.train, labelled=True, format=files.format))
    dev = list(task.read(files.dev, labelled=True, format=files.format)) if files.dev else None
    test = list(task.read(files.test, labelled=True, format=files.format)) if files.test else None
    for path, examples in ((files.train, train), (files.dev, dev), (files.test, test)):
        if examples is not None and not examples:
            raise InputError(f"{path} holds no examples")
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

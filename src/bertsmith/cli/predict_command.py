"""``bertsmith predict``."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bertsmith.cli.flags import parse
from bertsmith.cli.model_on_file import ModelOnFile, open_pipeline
from bertsmith.errors import DivergedError
from bertsmith.progress import TerminalProgress

if TYPE_CHECKING:
    from bertsmith.tasks.task import Task


class PredictConfig(ModelOnFile):
    """Predict for every example of a file, of any size, in order: one JSON object a line."""

    submission: bool = False
    """Write the form that the task's benchmarks ask for instead of JSON lines."""
    out: Path | None = None
    """File to write; standard output unless given."""


def run(arguments: Sequence[str]) -> None:
    """Write the predictions."""
    config = parse(PredictConfig, arguments, "predict")

    from bertsmith.files import refuse_same_file
    from bertsmith.tasks.task import Submission

    if config.out is not None:
        refuse_same_file(config.out, config.file)
    pipe = open_pipeline(config, config.model)
    task = pipe.task
    form = task.submission() if config.submission else Submission(lambda example, found: _as_json(task, example, found) + "\n")
    examples = task.read(config.file, labelled=False, format=config.format)
    with _output(config.out) as file, TerminalProgress().task("Predicting", None, "examples") as shown:
        file.write(form.before)
        for number, (example, found) in enumerate(pipe.predict(examples)):
            if config.submission:
                _as_json(task, example, found)  # refuses what is no number, which a mere label does not show
            file.write((form.between if number else "") + form.line(example, found))
            shown.advance(1)
        file.write(form.behind)


def _as_json(task: "Task", example: Any, found: Any) -> str:
    try:
        return json.dumps({**task.place(example), **task.record(example, found)}, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise DivergedError(
            "the model's scores are NaN or infinite, so it cannot be used: take an earlier checkpoint, or train again with a "
            "lower learning rate"
        ) from None


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        sys.stdout.flush()  # a pipe that is closed is noticed here at the latest
        return
    from bertsmith.files import atomic_file

    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file

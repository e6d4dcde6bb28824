"""``bertsmith predict``."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from bertsmith.cli.flags import parse
from bertsmith.cli.labelled import ModelOnFile, open_pipeline
from bertsmith.progress import TerminalProgress


class PredictConfig(ModelOnFile):
    """Predict for every example of a file, of any size, in order: one JSON object a line."""

    submission: bool = False
    """Write the form that the task's benchmarks ask for instead of JSON lines."""
    out: Path | None = None
    """File to write; standard output unless given."""


def run(arguments: Sequence[str]) -> None:
    """Write the predictions."""
    config = parse(PredictConfig, arguments, "predict")

    from bertsmith.tasks.task import Submission

    pipe = open_pipeline(config, config.model)
    task = pipe.task
    as_json = Submission(lambda example, found: json.dumps(task.record(example, found), ensure_ascii=False) + "\n")
    form = task.submission() if config.submission else as_json
    examples = task.read(config.file, labelled=False, format=config.format)
    with _output(config.out) as file, TerminalProgress().task("Predicting", None, "examples") as shown:
        file.write(form.before)
        for number, (example, found) in enumerate(pipe.predict(examples)):
            file.write((form.between if number else "") + form.line(example, found))
            shown.advance(1)
        file.write(form.behind)


def _output(path: Path | None) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdout) if path is None else _new_file(path)


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    from bertsmith.files import atomic_file

    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file

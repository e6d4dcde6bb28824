"""``bertsmith predict``."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.model_on_file import ModelOnFile, open_pipeline
from bertsmith.errors import UsageError
from bertsmith.progress import TerminalProgress

if TYPE_CHECKING:
    from bertsmith.progress import ProgressTask
    from bertsmith.tasks.task import Task

_Pair = tuple[Any, Any]
"""An example and its prediction."""


class PredictConfig(ModelOnFile):
    """Predict for every example of a file, of any size, in order: one JSON object a line."""

    submission: bool = False
    """Write the form that the task's benchmarks ask for instead of JSON lines."""
    top_k: int | None = pydantic.Field(default=None, ge=1)
    """Write the likeliest so many of the classes, choices, spans or candidates alone, the likeliest first."""
    every_line: bool = False
    """Write a record for every line of the file, with nothing but its number where it has no prediction; of standard input,
    up to the last prediction."""
    out: Path | None = None
    """File to write, CSV where its name ends in .csv; standard output unless given."""


def run(arguments: Sequence[str]) -> None:
    """Write the predictions."""
    config = parse(PredictConfig, arguments, "predict")

    from bertsmith.files import refuse_same_file
    from bertsmith.tasks.records import write_submission

    if config.submission and (config.every_line or config.top_k):
        raise UsageError("--submission has a form of its own; leave it out, or --every-line and --top-k")
    if config.out is not None:
        refuse_same_file(config.out, config.file)
    pipe = open_pipeline(config, config.model)
    form = pipe.task.submission() if config.submission else None
    examples = pipe.task.read(config.file, labelled=False, format=config.format)
    with _output(config.out) as file, TerminalProgress().task("Predicting", None, "examples") as shown:
        pairs = _counted(pipe.predict(examples), shown)
        if form is None:
            _write_records(pairs, pipe.task, config, file)
        else:
            write_submission(pairs, pipe.task, form, file)


def _counted(pairs: Iterable[_Pair], shown: "ProgressTask") -> Iterator[_Pair]:
    for pair in pairs:
        yield pair
        shown.advance(1)


def _write_records(pairs: Iterable[_Pair], task: "Task", config: PredictConfig, file: TextIO) -> None:
    from bertsmith.sources.tables import count_lines
    from bertsmith.tasks.records import Record, likeliest, on_every_line, record_of, write_records

    records: Iterable[Record] = (record_of(task, *pair) for pair in pairs)
    if config.top_k is not None:
        records = map(partial(likeliest, k=config.top_k), records)
    if config.every_line:
        records = on_every_line(records, count_lines(config.file, config.format))
    write_records(records, config.out, file)


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        sys.stdout.flush()  # a pipe that is closed is noticed here at the latest
        return
    from bertsmith.files import atomic_file

    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file

"""Predictions as they are written: as JSON lines or CSV, beside what is right, the likeliest alone, one for every line."""

import csv
import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from bertsmith.errors import DivergedError, UsageError
from bertsmith.tasks.task import Submission, Task

_TEXTS = ("text", "pair", "texts", "prompt", "choices", "question", "context", "query")
_RANKED = ("candidates", "spans")
Record = Mapping[str, Any]


def record_of(task: Task, example: Any, prediction: Any) -> Record:
    """Return a prediction with the line of its example, if there is one, as a JSON object."""
    return {**task.place(example), **task.record(example, prediction)}


def judged_record(task: Task, example: Any, prediction: Any) -> Record:
    """Return a prediction beside its example: the texts, what is right, and the loss where the prediction says it.

    It is the logarithm of the probability of what is right, its sign changed; of several labels the mean over them; of numbers
    the squared error.
    """
    record, gold = record_of(task, example, prediction), task.gold(example)
    texts = {name: value for name in _TEXTS if (value := getattr(example, name, None)) is not None}
    loss = _loss(record, gold)
    return {**record, **texts, "gold": gold, **({} if loss is None else {"loss": loss})}


def _loss(record: Record, gold: Any) -> float | None:
    match record.get("probabilities", record.get("scores", record.get("score"))), gold:
        case dict() as scores, dict():
            return float(sum((scores[name] - value) ** 2 for name, value in gold.items())) / len(gold)
        case dict() as probabilities, str():
            return _surprise(probabilities.get(gold, 0.0))
        case dict() as probabilities, list():
            pairs = probabilities.items()
            return sum(_surprise(value if name in gold else 1 - value) for name, value in pairs) / len(probabilities)
        case [*probabilities], int():
            return _surprise(probabilities[gold])
        case float() as score, str() | int() | float():
            return (score - float(gold)) ** 2
    return None


def _surprise(probability: float) -> float:
    return -math.log(max(probability, sys.float_info.min))


def likeliest(record: Record, k: int) -> Record:
    """Return a record with the ``k`` likeliest of its answers, the likeliest first; of classes under ``top``.

    Raises:
        UsageError: the prediction has nothing to choose from.
    """
    if ranked := next((name for name in _RANKED if name in record), None):
        return {**record, ranked: record[ranked][:k]}
    probabilities = record.get("probabilities")
    if "number" in record:  # of the choices of a question
        probabilities = dict(enumerate(probabilities or ()))
    if not isinstance(probabilities, dict):
        raise UsageError("--top-k is for models that say how likely each of several answers is; leave it out")
    best = sorted(probabilities.items(), key=lambda pair: -pair[1])[:k]
    top = [{"label": label, "probability": probability} for label, probability in best]
    return {name: value for name, value in record.items() if name != "probabilities"} | {"top": top}


def on_every_line(records: Iterable[Record], n_lines: int) -> Iterator[Record]:
    """Yield the records, and before and behind them one with nothing but its ``line`` for each of ``n_lines`` without any.

    Raises:
        UsageError: a record has no line.
    """
    reached = 0
    for record in records:
        if "line" not in record:
            raise UsageError("--every-line is for files whose examples stand on lines of their own; leave it out")
        yield from ({"line": line} for line in range(reached + 1, record["line"]))
        yield record
        reached = record["line"]
    yield from ({"line": line} for line in range(reached + 1, n_lines + 1))


def write_records(records: Iterable[Record], path: Path | None, file: TextIO) -> None:
    """Write records as CSV where the ``path`` ends in .csv, else as JSON lines.

    Raises:
        DivergedError: a number is none.
    """
    if path is not None and path.suffix.lower() == ".csv":
        _write_csv(records, file)
        return
    for record in records:
        file.write(as_json(record) + "\n")


def write_submission(pairs: Iterable[tuple[Any, Any]], task: Task, form: Submission, file: TextIO) -> None:
    """Write examples with their predictions in a benchmark's form.

    Raises:
        DivergedError: a number is none.
    """
    file.write(form.before)
    for number, (example, found) in enumerate(pairs):
        as_json(task.record(example, found))  # a mere label does not show what is no number
        file.write((form.between if number else "") + form.line(example, found))
    file.write(form.behind)


def as_json(value: Any) -> str:
    """Return a value in one line; :class:`DivergedError` where a number in it is none."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=dataclasses.asdict)
    except ValueError:
        raise DivergedError(
            "the model's scores are NaN or infinite, so it cannot be used: take an earlier checkpoint, or train again with a "
            "lower learning rate"
        ) from None


def _write_csv(records: Iterable[Record], file: TextIO) -> None:
    """Write a row a record, under the columns of the first that has more than its line; lists are JSON."""
    file.write("\ufeff")  # without it, spreadsheets take UTF-8 for something else
    writer, waiting = None, []
    for record in records:
        cells = dict(_cells(record))
        waiting.append(cells)
        if writer is None and len(record) > 1:
            writer = csv.DictWriter(file, list(cells), restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
        if writer is not None:
            writer.writerows(waiting)
            waiting.clear()


def _cells(values: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        column = f"{before}{name}"
        if isinstance(value, dict):
            yield from _cells(value, f"{column}.")
        elif name == "top":
            yield from _cells(dict(enumerate(value, start=1)), "top.")
        elif isinstance(value, list | tuple) or (isinstance(value, float) and not math.isfinite(value)):
            yield column, as_json(value)
        else:
            yield column, value

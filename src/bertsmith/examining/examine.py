"""Looks at labelled examples before training: counts, lengths, repetitions, contradictions, overlaps."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bertsmith.errors import InputError
from bertsmith.examining.data_report import DataReport, NumberFacts, SplitFacts
from bertsmith.examining.data_warnings import warnings_of
from bertsmith.examining.token_facts import histogram_of, token_facts
from bertsmith.tasks.content import Content
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer


def examine(
    task: Task, splits: Mapping[str, Sequence[Any]], tokenizer: Tokenizer | None = None, n_steps: int | None = None
) -> DataReport:
    """Return what labelled examples are.

    Args:
        task: The task, fitted to the training examples.
        splits: The examples by the name of their part, "train" first; "dev" and "test" are compared with it.
        tokenizer: That of the model to be trained; without it nothing is said of tokens.
        n_steps: Steps of the shortest trial that is planned; without it nothing is said of steps.
    """
    contents = {name: [task.content(example) for example in examples] for name, examples in splits.items()}
    train = contents["train"]
    keys, groups = {content.key for content in train}, {content.group for content in train}
    facts = {}
    for name, own in contents.items():
        facts[name] = _facts(own)
        if name != "train":
            facts[name] = dataclasses.replace(
                facts[name],
                n_in_training=sum(bool(content.key) and content.key in keys for content in own),
                n_of_groups=sum(content.group is not None and content.group in groups for content in own),
            )
    report = DataReport(
        kind=task.kind,
        metric=task.main_metric,
        splits=facts,
        tokens=None if tokenizer is None else token_facts(train, task, tokenizer),
        n_steps=n_steps,
    )
    return dataclasses.replace(report, warnings=tuple(warnings_of(report)))


def _facts(contents: Sequence[Content]) -> SplitFacts:
    classes = Counter(label for content in contents for label in content.classes)
    numbers = [content.number for content in contents if content.number is not None]
    rights: dict[tuple[str, ...], Counter[str | None]] = defaultdict(Counter)
    for content in contents:
        if content.key:
            rights[content.key][content.right] += 1
    return SplitFacts(
        n_rows=len(contents),
        classes=dict(classes.most_common()),
        numbers=_number_facts(numbers) if numbers else None,
        n_scored=sum(content.n_scored for content in contents),
        n_repeated=sum(n - 1 for own in rights.values() for n in own.values()),
        n_conflicting=sum(own.total() for own in rights.values() if len(own) > 1),
    )


def _number_facts(numbers: Sequence[float]) -> NumberFacts:
    values = np.array(numbers)
    return NumberFacts(
        lowest=float(values.min()),
        highest=float(values.max()),
        mean=float(values.mean()),
        deviation=float(values.std()),
        n_different=len(np.unique(values)),
        histogram=histogram_of(numbers),
    )


def refuse_warnings(reports: Iterable[DataReport]) -> None:
    """Raise :class:`InputError` with all that the reports warn of, if there is anything."""
    warnings = [str(warning) for report in reports for warning in report.warnings]
    if warnings:
        raise InputError(
            "--strict does not pass over what is doubtful in the data:\n" + "\n".join(f"  {one}" for one in warnings)
        )

"""What the data of a run are, said before training."""

import logging
from collections.abc import Mapping

from bertsmith.examining.data_report import DataReport
from bertsmith.examining.examine import examine, refuse_warnings
from bertsmith.finetuning.grid import ALONE
from bertsmith.finetuning.labelled import LabelledData
from bertsmith.finetuning.objectives import Experiment
from bertsmith.finetuning.task_order import TaskOrder, shares

log = logging.getLogger("bertsmith")


def examined(experiment: Experiment, read: Mapping[str, LabelledData]) -> dict[str, DataReport]:
    """Return what is found in the data of each task, as they were ``read``, and in how many steps its shortest trial has."""
    sizes, temperature = experiment.sizes, experiment.temperature
    orders = (TaskOrder(sizes, trial.batch_size, trial.seed, trial.epochs, temperature) for trial in experiment.trials)
    n_steps, drawn = min(order.total_steps for order in orders), shares(sizes, temperature)
    reports = {}
    for name, own in read.items():
        splits = {"train": own.train, "dev": own.dev, **({"test": own.test} if own.test else {})}
        reports[name] = examine(own.task, splits, experiment.tokenizer, round(n_steps * drawn[name]))
    return reports


def announce_data(reports: Mapping[str, DataReport], *, is_strict: bool) -> None:
    """Say what was found; :class:`InputError` where there are warnings and ``is_strict``."""
    if is_strict:
        refuse_warnings(reports.values())
    for name, report in reports.items():
        whose = "" if name == ALONE else f"{name}: "
        log.info("%s", "\n".join(f"{whose}{line}" for line in report.lines()))
        for warning in report.warnings:
            log.warning("%s%s", whose, warning)

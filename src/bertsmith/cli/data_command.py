"""``bertsmith data``."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.cli.verbs import nearest_name
from bertsmith.errors import UsageError


def run(arguments: Sequence[str]) -> None:
    """Print what is found in files."""
    from bertsmith.examining.data_files import data_config_of, examine_files
    from bertsmith.tasks.saved import TASKS

    # The other flags depend on the task.
    arguments = [part for one in arguments for part in (one.split("=", 1) if one.startswith("--task=") else (one,))]
    name = arguments[arguments.index("--task") + 1] if "--task" in arguments[:-1] else "classify"
    if name not in TASKS:
        raise UsageError(f"--task {name} is no task; {nearest_name(name, TASKS, 'the tasks are')}")
    config = parse(data_config_of(TASKS[name]), arguments, "data")
    report = examine_files(config)
    if config.as_json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=2))
    else:
        print(visible("\n".join([*report.lines(), *(f"warning: {warning}" for warning in report.warnings)])))

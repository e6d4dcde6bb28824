"""``bertsmith finetune TASK``."""

import difflib
import sys
from collections.abc import Sequence

from bertsmith.cli.flags import parse
from bertsmith.errors import UsageError
from bertsmith.progress import TerminalProgress

TASKS = {
    "classify": "one of C classes for a text or a pair (GLUE's files, CSV, TSV, JSON lines)",
    "multilabel": "any of C labels for a text or a pair",
    "regress": "a number for a text or a pair (STS-B)",
    "tag": "a label for every word (CoNLL, CoNLL-U, one character a line)",
    "answer": "a span of a context that answers a question (SQuAD 1.1 and 2.0)",
    "choose": "one of several choices (SWAG)",
    "embed": "a vector for a text, from pairs, triplets or scored pairs (STS-B)",
}


def run(arguments: Sequence[str]) -> None:
    """Fine-tune a model, print the table of trials and the directory of the best."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        raise SystemExit(0 if arguments else UsageError.exit_code)
    name, *rest = arguments
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the tasks are {', '.join(TASKS)}"
        raise UsageError(f"{name!r} is not a task of bertsmith finetune; {hint}")

    from bertsmith.tasks.saved import TASKS as KINDS
    from bertsmith.training.tuning import config_of

    config = parse(config_of(KINDS[name]), rest, f"finetune {name}")

    from bertsmith.training.finetune import finetune
    from bertsmith.training.finetune_report import results_table

    final = finetune(config, TerminalProgress())
    print(results_table(config.out, config.task.main_metric), file=sys.stderr)
    print(final)


def _help() -> str:
    tasks = "\n".join(f"  {name:10} {summary}" for name, summary in TASKS.items())
    return f"""usage: bertsmith finetune TASK --model DIR --train FILE --dev FILE --out DIR ...

Fine-tune a model for a task; several rates, epochs and seeds in one command, the best kept.

{tasks}

bertsmith finetune TASK --help shows the flags of a task."""

"""``bertsmith finetune TASK``."""

import difflib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertsmith.cli.flags import parse
from bertsmith.errors import UsageError
from bertsmith.progress import TerminalProgress

if TYPE_CHECKING:
    from bertsmith.training.tuning import GridConfig

TASKS = {
    "classify": "one of C classes for a text or a pair (GLUE's files, CSV, TSV, JSON lines)",
    "multilabel": "any of C labels for a text or a pair",
    "regress": "a number for a text or a pair (STS-B)",
    "tag": "a label for every word (CoNLL, CoNLL-U, one character a line)",
    "answer": "a span of a context that answers a question (SQuAD 1.1 and 2.0)",
    "choose": "one of several choices (SWAG)",
    "rank": "candidates by their relevance to a query (WikiQA, MS MARCO)",
    "multi": "several of these on one encoder, as a file of tables says: bertsmith finetune multi tasks.toml",
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

    config = _configuration(name, rest)

    from bertsmith.training.finetune import finetune
    from bertsmith.training.finetune_report import results_table
    from bertsmith.training.lessons import MEAN
    from bertsmith.training.tuning import ALONE

    final = finetune(config, TerminalProgress())
    metric = MEAN if name == "multi" else config.by_task()[ALONE][1].main_metric
    print(results_table(config.out, metric), file=sys.stderr)
    print(final)


def _configuration(name: str, arguments: Sequence[str]) -> "GridConfig":
    if name == "multi":
        from bertsmith.training.multi import MultiConfig

        # The tables of the tasks are in a file, which is named first.
        named = ["--config"] if arguments and not arguments[0].startswith("-") else []
        return parse(MultiConfig, [*named, *arguments], "finetune multi")

    from bertsmith.tasks.saved import TASKS as KINDS
    from bertsmith.training.tuning import config_of

    config: GridConfig = parse(config_of(KINDS[name]), arguments, f"finetune {name}")
    return config


def _help() -> str:
    tasks = "\n".join(f"  {name:10} {summary}" for name, summary in TASKS.items())
    return f"""usage: bertsmith finetune TASK --model DIR --train FILE --dev FILE --out DIR ...

Fine-tune a model for a task; several rates, epochs and seeds in one command, the best kept.

{tasks}

bertsmith finetune TASK --help shows the flags of a task."""

"""``bertsmith finetune TASK``."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertsmith.cli.flags import choose, parse
from bertsmith.progress import TerminalProgress

if TYPE_CHECKING:
    from bertsmith.finetuning.grid import GridConfig

TASKS = {
    "classify": "one of C classes for a text or a pair (GLUE's files, CSV, TSV, JSON lines)",
    "multilabel": "any of C labels for a text or a pair",
    "regress": "a number for a text or a pair (STS-B)",
    "tag": "a label for every word (CoNLL, CoNLL-U, one character a line)",
    "answer": "a span of a context that answers a question (SQuAD 1.1 and 2.0)",
    "choose": "one of several choices (SWAG)",
    "rank": "candidates by their relevance to a query (WikiQA, MS MARCO)",
    "embed": "a vector for a text, from pairs, triplets or scored pairs (STS-B)",
    "multi": "several of these on one encoder, as a file of tables says: bertsmith finetune multi tasks.toml",
}


_ABOUT = "Fine-tune a model for a task; several rates, epochs and seeds in one command, the best kept."


def run(arguments: Sequence[str]) -> None:
    """Fine-tune a model, print the table of trials and the directory of the best."""
    name, rest = choose(arguments, TASKS, "task", "finetune", _ABOUT)
    config = _configuration(name, rest)

    from bertsmith.files import read_json
    from bertsmith.finetuning.grid import ALONE
    from bertsmith.finetuning.objectives import MEAN
    from bertsmith.finetuning.report import results_table
    from bertsmith.finetuning.run import finetune

    final = finetune(config, TerminalProgress())
    metric = MEAN if name == "multi" else config.by_task()[ALONE][1].main_metric
    print(results_table(config.out, metric), file=sys.stderr)
    precision = read_json(config.out / "environment.json")["precision"]
    print(f"These scores were computed in {precision}, as the model was trained.", file=sys.stderr)
    print(final)


def _configuration(name: str, arguments: Sequence[str]) -> "GridConfig":
    if name == "multi":
        from bertsmith.finetuning.multi import MultiConfig

        # The tables of the tasks are in a file, which is named first.
        named = ["--config"] if arguments and not arguments[0].startswith("-") else []
        return parse(MultiConfig, [*named, *arguments], "finetune multi")

    from bertsmith.finetuning.grid import config_of
    from bertsmith.tasks.saved import TASKS as KINDS

    config: GridConfig = parse(config_of(KINDS[name]), arguments, f"finetune {name}")
    return config

"""``bertsmith rank``."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.config import Config, JsonFlag, Positional
from bertsmith.errors import UsageError
from bertsmith.progress import ProgressTask, TerminalProgress


class RankConfig(Config):
    """Rank the candidates in a file, any number of them, by their relevance to a query."""

    model: Positional[Path]
    """Directory of a fine-tuned ranker, one of sentence-transformers' cross-encoders too."""
    query: Positional[str]
    """The query that the candidates should be relevant to."""
    file: Positional[str]
    """Candidates: a line each, or a row each of CSV, TSV or JSON lines; - for standard input."""
    field: str | None = None
    """Column of the candidates, where there are several; text unless given."""
    format: str | None = None
    """Format of the file, if its extension does not say it: txt, csv, tsv, jsonl, json."""
    top: int = pydantic.Field(default=10, gt=0)
    """Candidates shown."""
    as_json: JsonFlag = False
    """Print one JSON object a candidate instead of lines to read."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU where there is one, else the CPU."""
    precision: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """bf16 where the machine has instructions for it, else float32; int8 is faster and says how much it changes."""


def run(arguments: Sequence[str]) -> None:
    """Print the best candidates, the best first."""
    config = parse(RankConfig, arguments, "rank")
    if not config.query.strip():
        raise UsageError('the query is empty: bertsmith rank MODEL "what to look for" FILE')

    from bertsmith.inference.pipelines import TaskPipeline
    from bertsmith.machine import keep_pages
    from bertsmith.retrieval.ranking import best_candidates
    from bertsmith.tasks.kinds.rank import Rank

    keep_pages()
    pipe = TaskPipeline.load(config.model, Rank, device=config.device, precision=config.precision)
    with TerminalProgress().task("Ranking", None, "candidates") as shown:
        found = best_candidates(pipe, config.query, _candidates(config, shown), config.top)
    for one in found:
        print(
            json.dumps(asdict(one), ensure_ascii=False)
            if config.as_json
            else visible(f"{one.probability:8.2%}  {one.score:+8.3f}  {' '.join(one.text.split())}")
        )


def _candidates(config: RankConfig, shown: ProgressTask) -> Iterator[tuple[str, str]]:
    """Yield each candidate and the line that it stands on."""
    from bertsmith.sources.example_tables import read_table

    table = read_table(config.file, config.format)
    field = config.field or (table.columns[0] if len(table.columns) == 1 else "text")
    table.check_columns(field=field)
    for record in table.with_columns(field):
        text = record.text(field)
        shown.advance(1)
        yield text, record.source

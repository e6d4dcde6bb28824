"""What ``predict`` and ``evaluate`` have in common: which model, which columns of a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pydantic

from bertsmith.config import Config, Names, Positional
from bertsmith.errors import UsageError
from bertsmith.sources.example_tables import RowConfig
from bertsmith.tasks.files.questions import Candidates

if TYPE_CHECKING:
    from bertsmith.inference.pipelines import TaskPipeline


class ColumnFlags(RowConfig):
    """Where things stand in a file, if not where they stood in the training file."""

    text: str | None = None
    """Column of the text."""
    pair: str | None = None
    """Column of the second text."""
    query: str | None = None
    """Column of the query."""
    candidate: str | None = None
    """Column of the candidate."""
    prompt: str | None = None
    """Column of the text before choices."""
    question: str | None = None
    """Column of a question that is put before each choice, or is to be answered."""
    context: str | None = None
    """Column of the text that holds the answer to a question."""
    answer: str | None = None
    """Column of that answer."""
    choices: str | None = None
    """Column of the list of choices, or the columns of a choice each."""
    label: str | None = None
    """Column of the label."""
    word_column: int | None = pydantic.Field(default=None, ge=1)
    """Column of the words, counted from 1."""
    tag_column: int | None = pydantic.Field(default=None, ge=1)
    """Column of the tags, counted from 1."""
    words_key: str | None = None
    """Key of the list of words in JSON lines."""
    tags_key: str | None = None
    """Key of the list of tags in JSON lines."""
    tag_names: Names = ()
    """What tags that are numbers are called, from that of 0 on."""


class ModelOnFile(Config):
    """A fine-tuned model and a file."""

    model: Positional[Path]
    """Directory of a fine-tuned model."""
    file: Positional[str]
    """File to read, - for standard input; of classes, labels, numbers and choices also hub:NAME:SPLIT."""
    format: str | None = None
    """What the file is, whatever its extension says (csv, tsv, jsonl, txt; columns, conllu, json, text; squad, jsonl)."""
    columns: ColumnFlags = ColumnFlags()
    candidates: Candidates | None = None
    """Paragraphs of the article to look for an answer in, the question's own among them, or all."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU where there is one, else the CPU."""
    precision: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """bf16 where the machine has instructions for it, else float32; int8 is faster and says how much it changes."""


def open_pipeline(config: ModelOnFile, model: Path) -> "TaskPipeline":
    """Return the pipeline of a model, set to read the columns and paragraphs that the flags name."""
    from bertsmith.inference.pipelines import TaskPipeline
    from bertsmith.machine import keep_pages

    keep_pages()
    pipe = TaskPipeline.load(model, device=config.device, precision=config.precision)
    if config.candidates is not None:
        if "candidates" not in type(pipe.task).model_fields:
            raise UsageError(f"--candidates means nothing to a model of the task {pipe.task.kind!r}")
        pipe.task = pipe.task.model_copy(update={"candidates": config.candidates})
    changes = config.columns.model_dump(exclude_unset=True)
    if not changes:
        return pipe
    columns = getattr(pipe.task, "columns", None)
    known = set() if columns is None else set(type(columns).model_fields)
    for name in changes.keys() - known:
        raise UsageError(f"--{name.replace('_', '-')} means nothing to a model of the task {pipe.task.kind!r}")
    pipe.task = pipe.task.model_copy(update={"columns": columns.model_copy(update=changes)})  # type: ignore[union-attr]
    return pipe

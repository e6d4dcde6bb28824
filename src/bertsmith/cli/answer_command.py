"""``bertsmith answer``."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.cli.standard_input import with_standard_input
from bertsmith.config import Config, JsonFlag, Positional
from bertsmith.errors import UsageError
from bertsmith.progress import TerminalProgress
from bertsmith.sources.streams import typed_lines

if TYPE_CHECKING:
    from bertsmith.retrieval.passages import Finder
    from bertsmith.retrieval.reading import Reply

_RANKED = 100


class AnswerConfig(Config):
    """Answer questions from documents: passages are found, read together, and their spans compared under one softmax."""

    model: Positional[Path]
    """Directory of a model fine-tuned for answer, best with --paragraphs."""
    questions: Positional[tuple[str, ...]] = ()
    """Questions; without any, one a line from standard input."""
    documents: Path
    """Folder of .txt, .md, .jsonl, .csv, .tsv and .parquet files, or one such file, also compressed; - for standard input."""
    field: str = "text"
    """Key or column that has the text of a record."""
    top: int = pydantic.Field(default=5, ge=1, le=20)
    """Answers shown for each question."""
    passages: int = pydantic.Field(default=20, ge=1)
    """Passages read for each question."""
    retriever: str = "bm25"
    """What finds the passages: bm25, or a model directory, whose vectors find them."""
    ranker: Path | None = None
    """Directory of a ranker, which chooses the passages to read from those found."""
    ranked: int | None = pydantic.Field(default=None, ge=1)
    """Passages found for the ranker to choose from; 100 unless given."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU where there is one, else the CPU."""
    precision: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """bf16 where the machine has instructions for it, else float32."""
    as_json: JsonFlag = False
    """Print one JSON object a question."""


def run(arguments: Sequence[str]) -> None:
    """Print the answers to each question."""
    config = parse(AnswerConfig, arguments, "answer")
    if not all(question.strip() for question in config.questions):
        raise UsageError("a question is empty; ask something")
    if str(config.documents) == "-" and not config.questions:
        raise UsageError("standard input cannot hold the documents and the questions; give the questions as arguments")
    if config.ranked is not None and config.ranker is None:
        raise UsageError("--ranked says how many passages a ranker chooses from; name it with --ranker")

    from bertsmith.inference.pipelines import TaskPipeline
    from bertsmith.machine import keep_pages
    from bertsmith.retrieval.passages import read_passages
    from bertsmith.retrieval.reading import DocumentReader, ranker
    from bertsmith.tasks.kinds.answer import Answer

    keep_pages()
    pipe = TaskPipeline.load(config.model, Answer, device=config.device, precision=config.precision)
    scorer = None if config.ranker is None else ranker(config.ranker, config.device, config.precision)
    with with_standard_input([config.documents]) as (documents,):
        passages = read_passages(documents, config.field)
    finder = _finder(config, [passage.text for passage in passages])
    read = DocumentReader(pipe, passages, finder, scorer, config.passages, config.ranked or _RANKED)
    for question in config.questions or (line for _, line in typed_lines("question")):
        reply = read(question)
        print(_as_json(reply, config.top) if config.as_json else visible(_readable(reply, config.top)), flush=True)


def _finder(config: AnswerConfig, texts: Sequence[str]) -> "Finder":
    if config.retriever == "bm25":
        from bertsmith.text.bm25 import WordIndex

        return WordIndex(texts)

    from bertsmith.inference.pipelines import VectorPipeline
    from bertsmith.retrieval.passages import VectorFinder

    pipe = VectorPipeline.load(config.retriever, device=config.device, precision=config.precision)
    return VectorFinder(pipe, texts, TerminalProgress())


def _as_json(reply: "Reply", top: int) -> str:
    return json.dumps({**asdict(reply), "answers": [asdict(one) for one in reply.answers[:top]]}, ensure_ascii=False)


def _readable(reply: "Reply", top: int) -> str:
    lines = [reply.question]
    if reply.no_answer > 0:
        lines.append(f"  {reply.no_answer:7.2%}  (no answer)")
    lines += [
        f"  {one.probability:7.2%}  {' '.join(one.text.split())}  "
        f"[{one.document}, paragraph {one.paragraph}, characters {one.start} to {one.end}]"
        for one in reply.answers[:top]
    ]
    return "\n".join(lines)

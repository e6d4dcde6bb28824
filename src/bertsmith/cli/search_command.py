"""``bertsmith search``."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.cli.standard_input import with_standard_input
from bertsmith.config import Config, JsonFlag, Positional
from bertsmith.errors import UsageError
from bertsmith.files import is_taken
from bertsmith.progress import TerminalProgress
from bertsmith.sources.streams import typed_lines

if TYPE_CHECKING:
    from bertsmith.inference.pipelines import VectorPipeline
    from bertsmith.retrieval.search import Hit, TextIndex


class SearchConfig(Config):
    """Find the lines of a file whose vectors are nearest to a query's."""

    model: Positional[Path]
    """Model directory: one of sentence-transformers, or any other, whose mean over all tokens is taken."""
    file: Positional[Path]
    """Text to search, one text a line; also compressed; - for standard input."""
    queries: Positional[tuple[str, ...]] = ()
    """What to search for; without any, lines of standard input, at a prompt where that is a terminal."""
    index: Path | None = None
    """Directory for the lines' vectors; made if it is not there, then used again. Without it, they are made each time."""
    top: int = pydantic.Field(default=5, gt=0)
    """Lines shown for each query."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU where there is one, else the CPU."""
    precision: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """bf16 where the machine has instructions for it, else float32."""
    as_json: JsonFlag = False
    """Print one JSON object a query; queries from standard input always get this."""


def run(arguments: Sequence[str]) -> None:
    """Print the nearest lines of each query."""
    config = parse(SearchConfig, arguments, "search")
    if any(not query.strip() for query in config.queries):
        raise UsageError("a query is empty; say what to search for")
    if str(config.file) == "-" and not config.queries:
        raise UsageError("standard input cannot hold the text and the queries; give the queries as arguments")

    from bertsmith.inference.pipelines import VectorPipeline
    from bertsmith.machine import keep_pages

    keep_pages()
    pipe = VectorPipeline.load(config.model, device=config.device, precision=config.precision)
    is_dialogue = not config.queries and sys.stdin.isatty()
    as_json = config.as_json or not (config.queries or is_dialogue)
    with _opened(config, pipe) as index:
        for query in config.queries or (_asked() if is_dialogue else (line for _, line in typed_lines("query"))):
            (hits,) = index.search(pipe([query]), config.top)
            print(_as_json(query, hits) if as_json else visible(_readable(hits)), flush=True)


@contextmanager
def _opened(config: SearchConfig, pipe: "VectorPipeline") -> Iterator["TextIndex"]:
    """Open the index, which is made if need be; one without a name is gone afterwards."""
    from bertsmith.retrieval.search import TextIndex, build_index, digest

    model = digest(config.model, pipe)
    with tempfile.TemporaryDirectory(prefix="bertsmith-") as temporary, with_standard_input([config.file]) as (file,):
        path = config.index or Path(temporary) / "index"
        if not is_taken(path):
            build_index(pipe, model, file, path, TerminalProgress())
        yield TextIndex.open(path, model, file)


def _asked() -> Iterator[str]:
    """Yield what is typed at a prompt until its end."""
    while True:
        try:
            query = input("search: ")
        except EOFError:
            print()
            return
        if query.strip():
            yield query


def _as_json(query: str, hits: Sequence["Hit"]) -> str:
    return json.dumps({"query": query, "hits": [asdict(hit) for hit in hits]}, ensure_ascii=False, allow_nan=False)


def _readable(hits: Sequence["Hit"]) -> str:
    return "\n".join(f"{hit.similarity:7.4f}  {hit.line:>8,}  {hit.text}" for hit in hits)

"""``bertsmith fill``."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.config import Config, JsonFlag, Positional
from bertsmith.errors import ArtifactError, InputError
from bertsmith.sources.streams import input_name, typed_lines

if TYPE_CHECKING:
    from bertsmith.inference.pipelines import FillPipeline
    from bertsmith.tasks.fill import Filled


class FillConfig(Config):
    """Fill the [MASK]s of texts with what a model thinks likeliest."""

    model: Positional[Path]
    """Model directory."""
    texts: Positional[tuple[str, ...]] = ()
    """Texts with one or more [MASK]; without any, one a line from standard input."""
    top: int = pydantic.Field(default=5, gt=0)
    """Tokens shown for each blank."""
    as_json: JsonFlag = False
    """Print one JSON object a text instead of lines to read."""


def run(arguments: Sequence[str]) -> None:
    """Print each text with the likeliest tokens for its blanks."""
    config = parse(FillConfig, arguments, "fill")

    from bertsmith.inference.pipelines import FillPipeline, TaskPipeline, pipeline

    pipe = pipeline(config.model)
    if not isinstance(pipe, FillPipeline):
        other = (
            f"is a model of the task {pipe.task.kind!r}; use: bertsmith predict"
            if isinstance(pipe, TaskPipeline)
            else ("holds a model without a masked-token head; there is nothing to fill blanks with")
        )
        raise ArtifactError(f"{config.model} {other}")
    for filled in pipe.stream(_checked(config.texts, pipe), config.top):
        print(json.dumps(asdict(filled), ensure_ascii=False) if config.as_json else visible(_readable(filled)), flush=True)


def _checked(texts: Sequence[str], pipe: "FillPipeline") -> Iterator[str]:
    """Yield the texts, or lines of standard input; :class:`InputError` that says which of them cannot be filled."""
    numbered = enumerate(texts, start=1) if texts else typed_lines("text")
    for number, text in numbered:
        try:
            pipe.check(text)
        except InputError as error:
            place = f"text {number}" if texts else f"{input_name('-')}:{number}"
            raise InputError(f"{place}: {error}") from None
        yield text


def _readable(filled: "Filled") -> str:
    lines = [filled.text]
    for number, candidates in enumerate(filled.blanks, 1):
        if len(filled.blanks) > 1:
            lines.append(f"  blank {number}")
        lines += [f"  {candidate.probability:7.2%}  {candidate.token}" for candidate in candidates]
    return "\n".join(lines)

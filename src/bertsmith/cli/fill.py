"""``bertsmith fill``."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic
from tyro.conf import Positional

from bertsmith.cli.flags import parse
from bertsmith.config import Config

if TYPE_CHECKING:
    from bertsmith.tasks.fill import Filled


class FillConfig(Config):
    """Fill the [MASK]s of texts with what a model thinks likeliest."""

    model: Positional[Path]
    """Model directory."""
    texts: Positional[tuple[str, ...]] = ()
    """Texts with one or more [MASK]; without any, one a line from standard input."""
    top: int = pydantic.Field(default=5, gt=0)
    """Tokens shown for each blank."""
    json: bool = False  # type: ignore[assignment]  # pydantic's own deprecated method of this name is not used
    """Print one JSON object a text instead of lines to read."""


def run(arguments: Sequence[str]) -> None:
    """Print each text with the likeliest tokens for its blanks."""
    config = parse(FillConfig, arguments, "fill")

    from bertsmith.inference.pipelines import pipeline

    texts: Iterator[str] = iter(config.texts) if config.texts else (line.strip() for line in sys.stdin if line.strip())
    for filled in pipeline(config.model).stream(texts, config.top):
        print(json.dumps(asdict(filled), ensure_ascii=False) if config.json else _readable(filled), flush=True)


def _readable(filled: "Filled") -> str:
    lines = [filled.text]
    for number, candidates in enumerate(filled.blanks, 1):
        if len(filled.blanks) > 1:
            lines.append(f"  blank {number}")
        lines += [f"  {candidate.probability:7.2%}  {candidate.token}" for candidate in candidates]
    return "\n".join(lines)

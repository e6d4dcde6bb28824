"""``bertsmith similar``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.config import Config, JsonFlag, Positional
from bertsmith.errors import UsageError


class SimilarConfig(Config):
    """Say how alike texts are: the cosine of the vectors that a model makes of them."""

    model: Positional[Path]
    """Model directory: one of sentence-transformers, or any other, whose mean over all tokens is taken."""
    texts: Positional[tuple[str, ...]] = ()
    """Two texts or more; each is compared with each."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU where there is one, else the CPU."""
    precision: Literal["auto", "float32", "bf16", "int8"] = "float32"
    """float32 for the last digit; auto takes bf16 where the machine has instructions for it."""
    as_json: JsonFlag = False
    """Print one JSON object."""


def run(arguments: Sequence[str]) -> None:
    """Print the cosine of two texts, or the matrix of more."""
    config = parse(SimilarConfig, arguments, "similar")
    if len(config.texts) < 2:
        raise UsageError('two texts are needed: bertsmith similar MODEL "a text" "another"')
    if not all(text.strip() for text in config.texts):
        raise UsageError("a text is empty; there is nothing to compare")

    from bertsmith.inference.pipelines import VectorPipeline
    from bertsmith.neighbours import unit

    vectors_nD = unit(VectorPipeline.load(config.model, device=config.device, precision=config.precision)(config.texts))
    cosines_nn = (vectors_nD @ vectors_nD.T).clip(-1, 1).tolist()
    if config.as_json:
        print(json.dumps({"texts": config.texts, "cosines": cosines_nn}, ensure_ascii=False, allow_nan=False))
    elif len(config.texts) == 2:
        print(f"{cosines_nn[0][1]:.4f}")
    else:
        print(
            "\n".join(
                f"{' '.join(f'{cosine:7.4f}' for cosine in row)}  {visible(text)}"
                for row, text in zip(cosines_nn, config.texts, strict=True)
            )
        )

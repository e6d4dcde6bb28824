"""``bertsmith features``."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.config import Config, Positional
from bertsmith.files import refuse_same_file
from bertsmith.progress import TerminalProgress

if TYPE_CHECKING:
    from bertsmith.inference.feature_files import Unit, Vectors
    from bertsmith.inference.features import FeaturePipeline, TextFeatures

log = logging.getLogger("bertsmith")


class FeaturesConfig(Config):
    """Write the contextual vectors of a file of texts: of every token, of words, or one a text."""

    model: Positional[Path]
    """Model directory."""
    file: Positional[str]
    """File of texts, one a line or a row, also compressed; - for standard input."""
    out: Path
    """File to write, .npz, .safetensors, .jsonl or .parquet."""
    layers: str = "-1"
    """Which: all, numbers such as -1,-2 or 0,6 (0 the embeddings), concat-last-4, sum-last-4 (any number), sum-all."""
    words: Literal["first", "last", "mean", "none"] = "none"
    """Vectors of words instead of tokens: of the first or the last WordPiece of each, or the mean over all."""
    pool: Literal["cls", "mean", "max", "none"] = "none"
    """One vector a text instead: that of [CLS], or the mean or the most over all tokens."""
    field: str = "text"
    """Key or column that holds the text, if the file is not plain text."""
    format: Literal["txt", "jsonl", "json", "csv", "tsv", "parquet", "arrow"] | None = None
    """Format of the file, if its extension does not say it."""
    max_length: int | None = pydantic.Field(default=None, gt=2)
    """Tokens read at a time, [CLS] and [SEP] included; by default all that the model has positions for."""
    stride: int | None = pydantic.Field(default=None, gt=0)
    """Tokens from the beginning of one window of a longer text to the next; by default half of --max-length."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU where there is one, else the CPU."""
    precision: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """bf16 where the machine has instructions for it, else float32; what is written is float32."""

    @pydantic.model_validator(mode="after")
    def _words_or_texts(self) -> "FeaturesConfig":
        if self.words != "none" and self.pool != "none":
            raise ValueError("--words gives vectors of words and --pool one a text; leave one out")
        return self

    @property
    def unit(self) -> "Unit":
        """What has a vector."""
        return "texts" if self.pool != "none" else "tokens" if self.words == "none" else "words"


def run(arguments: Sequence[str]) -> None:
    """Write the vectors."""
    config = parse(FeaturesConfig, arguments, "features")

    from bertsmith.inference.feature_files import Contents, check_extension, feature_file
    from bertsmith.inference.features import FeaturePipeline
    from bertsmith.machine import keep_pages
    from bertsmith.signals import interruptible

    check_extension(config.out)
    refuse_same_file(config.out, config.file)
    keep_pages()
    pipe = FeaturePipeline.load(
        config.model,
        config.layers,
        device=config.device,
        precision=config.precision,
        max_length=config.max_length,
        stride=config.stride,
    )
    contents = Contents(config.unit, pipe.layers, pipe.layers.shape(pipe.engine.model.config.width))
    n_units = 0
    with (
        interruptible("stopped; nothing was written"),
        feature_file(config.out, contents) as writer,
        TerminalProgress().task("Reading", None, "texts") as shown,
    ):
        for found in _vectors(config, pipe):
            writer.write(found)
            n_units += len(found.vectors_NLD)
            shown.advance(1)
    n_layers, width = contents.shape
    log.info("%s: %s vectors of %s, %d layer(s) of %d", config.out, f"{n_units:,}", config.unit, n_layers, width)


def _vectors(config: FeaturesConfig, pipe: "FeaturePipeline") -> "Iterator[Vectors]":
    """Yield the vectors of each text of the file."""
    lines: deque[int] = deque()

    def texts() -> Iterator[str]:
        for line, text in _texts(config):
            lines.append(line)
            yield text

    for features in pipe.stream(texts()):
        yield _of_units(config, lines.popleft(), features)


def _texts(config: FeaturesConfig) -> Iterator[tuple[int, str]]:
    """Yield each text with its line."""
    from bertsmith.sources.example_tables import read_table

    table = read_table(config.file, config.format)
    table.check_columns(field=config.field)
    for record in table.with_columns(config.field):
        yield record.line, record.text(config.field)


def _of_units(config: FeaturesConfig, line: int, features: "TextFeatures") -> "Vectors":
    from bertsmith.inference.feature_files import Vectors

    text = features.text
    if config.pool != "none":
        return Vectors(line, text, [text], [(0, len(text))], features.pooled(config.pool)[None])
    if config.words != "none":
        spans, vectors_LWD = features.words(config.words)
        return Vectors(line, text, [text[start:end] for start, end in spans], spans, vectors_LWD.swapaxes(0, 1))
    return Vectors(line, text, features.tokens, features.offsets, features.layers_LSD.swapaxes(0, 1))

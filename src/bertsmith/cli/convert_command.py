"""``bertsmith convert``."""

from collections.abc import Sequence
from pathlib import Path

from bertsmith.cli.flags import parse
from bertsmith.config import Config, Positional


class ConvertConfig(Config):
    """Turn a directory whose weights are a pickle (pytorch_model.bin) into one with safetensors, without executing it."""

    source: Positional[Path]
    """Directory with pytorch_model.bin, config.json and the tokenizer's files."""
    destination: Positional[Path]
    """Directory to write."""


def run(arguments: Sequence[str]) -> None:
    """Convert and print the new directory."""
    config = parse(ConvertConfig, arguments, "convert")

    from bertsmith.artifacts.convert import convert

    convert(config.source, config.destination)
    print(config.destination)

"""``bertsmith demo``."""

from collections.abc import Sequence
from pathlib import Path

from bertsmith.cli.flags import parse
from bertsmith.config import Config
from bertsmith.progress import TerminalProgress


class DemoConfig(Config):
    """Go the whole way on this machine's own documentation: text, vocabulary, corpus, pre-training, filled blanks."""

    out: Path = Path("bertsmith-demo")
    """Directory for everything the demo makes; the same command again goes on where it was."""
    budget: str = "3m"
    """Time for pre-training."""


def run(arguments: Sequence[str]) -> None:
    """Run the demo."""
    config = parse(DemoConfig, arguments, "demo")

    from bertsmith.demo import demo

    demo(config.out, config.budget, lambda line: print(line, flush=True), TerminalProgress())

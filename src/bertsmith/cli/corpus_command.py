"""``bertsmith corpus``."""

from collections.abc import Sequence

from bertsmith.cli.flags import parse
from bertsmith.progress import TerminalProgress


def run(arguments: Sequence[str]) -> None:
    """Build a corpus and print its directory."""
    from bertsmith.corpus.build import CorpusConfig, build_corpus

    config = parse(CorpusConfig, arguments, "corpus")
    build_corpus(config, TerminalProgress())
    print(config.out)

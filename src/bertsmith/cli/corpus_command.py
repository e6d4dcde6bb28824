"""``bertsmith corpus``."""

from collections.abc import Sequence

from bertsmith.cli.flags import parse
from bertsmith.cli.standard_input import with_standard_input
from bertsmith.progress import TerminalProgress


def run(arguments: Sequence[str]) -> None:
    """Build a corpus and print its directory."""
    from bertsmith.corpus.build import CorpusConfig, build_corpus

    config = parse(CorpusConfig, arguments, "corpus")
    with with_standard_input(config.files) as files:
        build_corpus(config.model_copy(update={"files": files}), TerminalProgress())
    print(config.out)

"""``bertsmith vocab``."""

from collections.abc import Sequence

from bertsmith.cli.flags import parse
from bertsmith.progress import TerminalProgress


def run(arguments: Sequence[str]) -> None:
    """Learn a vocabulary and print its directory."""
    from bertsmith.text.vocabulary import VocabularyConfig, build_vocabulary

    config = parse(VocabularyConfig, arguments, "vocab")
    build_vocabulary(config, TerminalProgress())
    print(config.out)

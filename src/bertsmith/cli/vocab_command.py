"""``bertsmith vocab``."""

from collections.abc import Sequence

from bertsmith.cli.flags import parse
from bertsmith.cli.standard_input import with_standard_input
from bertsmith.progress import TerminalProgress


def run(arguments: Sequence[str]) -> None:
    """Learn a vocabulary and print its directory."""
    from bertsmith.text.vocabulary import VocabularyConfig, build_vocabulary

    config = parse(VocabularyConfig, arguments, "vocab")
    with with_standard_input(config.files) as files:
        build_vocabulary(config.model_copy(update={"files": files}), TerminalProgress())
    print(config.out)

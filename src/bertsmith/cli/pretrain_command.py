"""``bertsmith pretrain``."""

import os
from collections.abc import Sequence

from bertsmith.cli.flags import parse
from bertsmith.progress import TerminalProgress


def run(arguments: Sequence[str]) -> None:
    """Pre-train and print the directory of the final model."""
    from bertsmith.pretraining.options import PretrainConfig

    config = parse(PretrainConfig, arguments, "pretrain")
    config.check()

    from bertsmith.pretraining.run import pretrain

    final = pretrain(config, TerminalProgress())
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun starts, one is enough
        print(final)

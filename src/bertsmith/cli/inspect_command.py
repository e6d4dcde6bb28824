"""``bertsmith inspect``."""

from collections.abc import Sequence
from pathlib import Path

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.config import Config, Positional
from bertsmith.errors import UsageError
from bertsmith.progress import TerminalProgress


class InspectConfig(Config):
    """Show in the browser what a model does inside: tokens, attention, similarity, predictions; one model, or two side by side.

    With --out, one file with everything about --text is written instead, which needs no server and no network.
    """

    models: Positional[tuple[Path, ...]]
    """One or two directories of models or of runs; a run's checkpoints are shown as a film."""
    text: str | None = None
    """The text to begin with."""
    pair: str | None = None
    """A second text, as the model's second segment."""
    out: Path | None = None
    """File to write, such as page.html."""
    port: int = pydantic.Field(default=8765, ge=0, le=65535)
    """Port on this machine's loopback address; 0 for any that is free."""
    browser: bool = True
    """Open the page in the browser."""


def run(arguments: Sequence[str]) -> None:
    """Serve or write the page."""
    config = parse(InspectConfig, arguments, "inspect")
    if not 1 <= len(config.models) <= 2:
        raise UsageError("one model is shown, or two side by side: bertsmith inspect MODEL [OTHER_MODEL]")
    if config.out is not None and config.text is None:
        raise UsageError("a file holds everything about one text: say which with --text")
    if config.out is not None and config.out.is_dir():
        raise UsageError(f"--out {config.out} is a directory; name a file, such as {config.out / 'page.html'}")

    from bertsmith.inspection.gallery import Gallery
    from bertsmith.inspection.suggestions import Start

    if config.pair is not None and config.text is None:
        raise UsageError("--pair is the second text beside the first: give that with --text")
    gallery = Gallery.open(list(config.models), None if config.text is None else Start(config.text, config.pair))
    if config.out is not None:
        from bertsmith.inspection.export import export

        export(gallery, config.out, TerminalProgress())
        print(f"The page is {config.out}", flush=True)
        return
    try:
        from bertsmith.inspection.server import serve
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the page is served through {error.name}, which is not installed: pip install 'bertsmith[inspect]'; "
            "or write it to a file with --text and --out"
        ) from None
    serve(gallery, config.port, open_browser=config.browser, say=lambda line: print(line, flush=True))

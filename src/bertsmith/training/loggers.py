"""Where the figures of a run go."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from bertsmith.errors import UsageError
from bertsmith.training.parallel import Ranks
from bertsmith.training.run_directory import RunDirectory
from bertsmith.training.settings import RecordSettings

Recorder = Callable[[str, Mapping[str, Any]], None]
"""Takes a record of the kind ``train``, ``held_out``, ``blanks`` or ``dev``."""


@contextmanager
def recorder(directory: RunDirectory, settings: RecordSettings, ranks: Ranks) -> Iterator[Recorder]:
    """Give what writes records to ``metrics.jsonl``, and to TensorBoard if asked for; of several ranks the first alone does.

    Raises:
        UsageError: tensorboardX is not installed.
    """
    takers: list[Recorder] = [directory.record] if ranks.is_first else []
    with ExitStack() as at_end:
        if takers and settings.tensorboard:
            board = at_end.enter_context(closing(TensorBoardLogger(directory.path / "tensorboard")))
            takers.append(board.log)

        def record(kind: str, values: Mapping[str, Any]) -> None:
            for take in takers:
                take(kind, values)

        yield record


class TensorBoardLogger:
    """Writes TensorBoard event files; :class:`UsageError` when tensorboardX is not installed."""

    def __init__(self, directory: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UsageError("--tensorboard needs the package tensorboardX: pip install 'bertsmith[tensorboard]'") from None
        self._writer = SummaryWriter(str(directory))

    def log(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write every number of the record as a scalar ``kind/name``, or ``kind/task/name`` when the record is of one task."""
        kind = f"{kind}/{values['task']}" if "task" in values else kind
        for name, value in values.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(f"{kind}/{name}", value, values["step"])

    def close(self) -> None:
        """Flush and close the files."""
        self._writer.close()

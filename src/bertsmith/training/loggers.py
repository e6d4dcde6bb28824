"""Where the figures of a run go."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
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
    has_board = settings.tensorboard and ranks.is_first
    with closing(_event_writer(directory.path / "tensorboard")) if has_board else nullcontext() as board:

        def record(kind: str, values: Mapping[str, Any]) -> None:
            if ranks.is_first:
                directory.record(kind, values)
            if board is not None:
                _add_scalars(board, kind, values)

        yield record


def _event_writer(directory: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise UsageError("--tensorboard needs the package tensorboardX: pip install 'bertsmith[tensorboard]'") from None
    return SummaryWriter(str(directory))


def _add_scalars(board: Any, kind: str, values: Mapping[str, Any]) -> None:
    """Write every number of a record as a scalar ``kind/name``, or ``kind/task/name`` when the record is of one task."""
    whose = f"{kind}/{values['task']}" if "task" in values else kind
    for name, value in values.items():
        if isinstance(value, int | float) and name != "step":
            board.add_scalar(f"{whose}/{name}", value, values["step"])

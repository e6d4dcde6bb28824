"""Where metrics go beside ``metrics.jsonl``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from bertsmith.errors import UsageError


class Logger(Protocol):
    """Takes each record of a run."""

    def log(self, kind: str, values: Mapping[str, Any]) -> None:
        """Take a record of the kind ``train``, ``held_out``, ``blanks`` or ``dev``."""

    def close(self) -> None:
        """Finish."""


class TensorBoardLogger:
    """Writes TensorBoard event files; :class:`UsageError` when tensorboardX is not installed."""

    def __init__(self, directory: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UsageError("--tensorboard needs the package tensorboardX: pip install 'bertsmith[tensorboard]'") from None
        self._writer = SummaryWriter(str(directory))

    def log(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write every number of the record as a scalar ``kind/name``."""
        for name, value in values.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(f"{kind}/{name}", value, values["step"])

    def close(self) -> None:
        """Flush and close the files."""
        self._writer.close()

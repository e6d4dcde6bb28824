"""What files are, so that what was made of them can be told from what would be made of others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertsmith.errors import ArtifactError, InputError
from bertsmith.files import sha256
from bertsmith.progress import SILENT, Progress


def described(paths: Sequence[Path], progress: Progress = SILENT) -> list[dict[str, Any]]:
    """Return path, size and SHA-256 of each file; :class:`InputError` where one cannot be read."""
    found = []
    total = sum(path.stat().st_size for path in paths if path.is_file())
    with progress.task("Checking sources", total, "bytes") as task:
        for path in paths:
            try:
                digest = sha256(path, task.advance)
            except ArtifactError as error:
                raise InputError(str(error)) from None
            found.append({"path": str(path), "bytes": path.stat().st_size, "sha256": digest})
    return found

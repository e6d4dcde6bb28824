"""What things are made of, so that what was made of the same can be told from what was made of other things."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertsmith.errors import ArtifactError, DamagedError, InputError
from bertsmith.files import is_taken, read_manifest, refuse_existing, sha256
from bertsmith.progress import SILENT, Progress

_DIGEST = re.compile("[0-9a-f]{16,}")
_FILE = "the file "
_log = logging.getLogger("bertsmith")


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


def is_finished(directory: Path, kind: str, made_of: Mapping[str, Any]) -> bool:
    """Return whether ``directory`` is a ``kind`` that was made of the same, as its manifest has it, and log it if it is.

    Raises:
        ArtifactError: it holds anything else; of a ``kind`` made of other things each of these is named.
        DamagedError: its manifest is altered.
    """
    if not is_taken(directory):
        return False
    try:
        manifest = read_manifest(directory, kind)
    except DamagedError:
        raise
    except ArtifactError:
        refuse_existing(directory)
        return False
    changed = differences({name: manifest.get(name) for name in made_of}, made_of)
    if changed:
        listed = "".join(f"\n  {change}" for change in changed.values())
        raise ArtifactError(
            f"{directory} exists already and was made with other settings or files:{listed}\n"
            "choose another --out or remove it first"
        )
    _log.info("%s is finished already, with the same settings and files", directory)
    return True


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Say by its name of each setting, digest and file that is not as it was what it was and is; tables have dotted names."""
    old, new = _flat(before), _flat(now)
    return {name: _difference(name, old.get(name), new.get(name)) for name in old | new if old.get(name) != new.get(name)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(one, dict) and "sha256" in one for one in value):
            flat |= {f"{_FILE}{one.get('path')}": one["sha256"] for one in value}
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _difference(name: str, old: Any, new: Any) -> str:
    values = [value for value in (old, new) if value is not None]
    if not all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in values):
        return f"{name.removeprefix('settings.')} was {old!r}, is now {new!r}"
    what = name.removesuffix("_sha256").removesuffix("_digest")
    if len(values) > 1:
        return f"{what} {'has other content' if what.startswith(_FILE) else 'is another one'} now"
    return f"{what} {'is new' if old is None else 'is no longer given'}"

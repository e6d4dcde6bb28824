"""Files and directories that are either whole or absent.

Everything bertsmith writes goes to a temporary name beside its destination, is flushed to the disk and then renamed.
Directories carry a ``manifest.json`` that says what they are and holds size and SHA-256 of every file in them.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertsmith.errors import ArtifactError, BusyError, DamagedError, StorageError, UsageError

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
_STORAGE_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file would be larger than this system allows",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; choose another place or change its permissions",
    errno.EEXIST: "a file is in the way; choose another place or remove it",
    errno.ENOTDIR: "a file is in the way; choose another place or remove it",
    errno.EPERM: "not permitted; choose another place or change its permissions",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE_ERRORS:
            raise
        raise StorageError(f"cannot write {path}: {_STORAGE_ERRORS[error.errno]}") from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name; on leaving without an error, it becomes ``path``, replacing what was there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    if path.is_dir():
        raise StorageError(f"cannot write {path}: a directory is in the way; choose another place or remove it")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a new temporary directory; on leaving without an error, it becomes ``path``.

    An empty directory at ``path`` is replaced; one that holds anything is refused with an :class:`ArtifactError`
    before the body runs, so that nothing is ever lost.
    """
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)  # of a killed process whose number has come round to this one
        try:
            temporary.mkdir()
            yield temporary
            publish_directory(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def publish_directory(temporary: Path, path: Path) -> None:
    """Flush every file below ``temporary`` to the disk, then rename the directory to ``path``."""
    for file in sorted(temporary.rglob("*")):
        _flush(file)
    _flush(temporary)
    temporary.replace(path)
    _flush(path.parent)


def remove_leftovers(directory: Path) -> None:
    """Delete what killed processes left half-written in ``directory``, which this process holds alone."""
    for path in directory.glob(".*.partial"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def is_taken(path: Path) -> bool:
    """Say whether ``path`` is a file, or a directory that holds anything."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def refuse_existing(path: Path) -> None:
    """Raise :class:`ArtifactError` when ``path`` is a file or a directory that holds anything."""
    if is_taken(path):
        raise ArtifactError(f"{path} exists already; choose another --out or remove it first")


def refuse_same_file(out: Path, read: str | Path) -> None:
    """Raise :class:`UsageError` when ``out``, which is to be written, is the file that is read."""
    if out.exists() and Path(read).exists() and out.samefile(read):
        raise UsageError(f"--out {out} is the file that is read; name another")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold ``directory`` (created if need be) for this process alone; :class:`BusyError` when another holds it.

    The operating system drops the hold when the process ends, however it ends.
    """
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another process is writing into {directory}; wait for it or choose another --out") from None
        yield


def sha256(path: Path, advance: Callable[[float], None] | None = None) -> str:
    """Return the hexadecimal SHA-256 of the file's bytes, telling ``advance`` how many were read since the last time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            if advance:
                advance(len(chunk))
    return digest.hexdigest()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented UTF-8 JSON, keys in the order given, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; :class:`ArtifactError` when it is missing, :class:`DamagedError` when it is not one."""
    if not exists(path):
        raise ArtifactError(f"{path} does not exist")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise DamagedError(f"{path} holds a {type(value).__name__} where a JSON object is expected")
    return value


def exists(path: Path) -> bool:
    """Say whether ``path`` is a file or a directory; :class:`ArtifactError` for a pipe or device, which none would end."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # NUL and lone surrogates are no names
        return False
    except OSError as error:
        raise ArtifactError(f"cannot read {str(path)[:200]}: {error.strerror}") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ArtifactError(f"{path} is neither a file nor a directory; put the file in its place")
    return True


def write_manifest(
    directory: Path, kind: str, facts: Mapping[str, Any], advance: Callable[[float], None] | None = None
) -> None:
    """Write ``directory/manifest.json``: its kind, the facts given, and size and SHA-256 of every file below it.

    ``advance`` is told how many bytes were read since the last time.
    """
    files = {
        str(file.relative_to(directory)): {"bytes": file.stat().st_size, "sha256": sha256(file, advance)}
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name not in (MANIFEST, ".lock")
    }
    write_json(directory / MANIFEST, {"kind": kind, "format": 1, **facts, "files": files})


def read_manifest(directory: Path, kind: str) -> dict[str, Any]:
    """Read ``directory/manifest.json``; :class:`ArtifactError` unless it says that ``directory`` is a ``kind``."""
    if not exists(directory) or not directory.is_dir():
        raise ArtifactError(f"{directory} is not a directory; a {kind} directory is needed here")
    if not (directory / MANIFEST).exists():
        raise ArtifactError(f"{directory} is not a {kind} directory: it has no {MANIFEST}")
    manifest = read_json(directory / MANIFEST)
    if manifest.get("kind") != kind:
        raise ArtifactError(f"{directory} is a {manifest.get('kind')} directory; a {kind} directory is needed here")
    if manifest.get("format") != 1:
        raise ArtifactError(f"{directory} has format {manifest.get('format')}; this version of bertsmith reads format 1")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(map(_is_entry, files.values())):
        raise DamagedError(f"{directory / MANIFEST} does not list its files with bytes and sha256; it is damaged")
    return manifest


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and type(value.get("bytes")) is int and isinstance(value.get("sha256"), str)


def verify_manifest(directory: Path, manifest: Mapping[str, Any], advance: Callable[[float], None] | None = None) -> None:
    """Compare every file with the manifest's size and digest; :class:`DamagedError` names the first that differs.

    ``advance`` is told how many bytes were read since the last time.
    """
    for name, expected in manifest["files"].items():
        file = directory / name
        # By its name alone: in a cache of downloads, what stands in a directory are links to files elsewhere.
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DamagedError(f"{directory / MANIFEST} names a file outside its directory: {name}")
        if not exists(file) or not file.is_file():
            raise DamagedError(f"{file} is missing though {MANIFEST} lists it")
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise DamagedError(f"{file} has {size} bytes where {MANIFEST} says {expected['bytes']}: it is truncated or altered")
        if sha256(file, advance) != expected["sha256"]:
            raise DamagedError(f"{file} is altered: its SHA-256 is not the one in {MANIFEST}")

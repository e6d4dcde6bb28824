"""Files and directories that are either whole or absent.

Everything bertsmith writes goes into a new directory beside its destination, which no other process can foresee or enter by a
link, is flushed to the disk and then renamed.
Directories carry a ``manifest.json`` that says what they are and holds size and SHA-256 of every file in them.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bertsmith.errors import ArtifactError, BertsmithError, BusyError, DamagedError, StorageError, UsageError

log = logging.getLogger("bertsmith")

MANIFEST, DIGESTS = "manifest.json", "digests.json"
_CHUNK_BYTES = 1 << 20
_LONGEST_STEM = 50
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file would be larger than this system allows",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EACCES: "permission denied; choose another place or change its permissions",
    errno.EEXIST: "a file is in the way; choose another place or remove it",
    errno.ENOTDIR: "a file is in the way; choose another place or remove it",
    errno.EPERM: "not permitted; choose another place or change its permissions",
    errno.EIO: "the device reports an error; check the disk, or choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ELOOP: "a link is in the way; remove it or choose another place",
    errno.EMFILE: "this process may open no more files; raise the limit (ulimit -n)",
    errno.ENFILE: "the system may open no more files; close some programs",
}


def reason(error: OSError) -> str:
    """Return what the operating system objects to, and what to do about it."""
    known = _REASONS.get(error.errno or 0)
    return known or error.strerror or str(error) or type(error).__name__


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into a :class:`StorageError`."""
    try:
        yield
    except (BrokenPipeError, FileNotFoundError):
        raise
    except OSError as error:
        # The body may read other files.
        if isinstance(error.filename, str) and not Path(error.filename).is_relative_to(path.parent):
            raise
        raise StorageError(f"cannot write {path}: {reason(error)}") from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name; on leaving without an error, it becomes ``path``, replacing what was there.

    A pipe or device at ``path`` is not replaced: what was written goes into it.
    """
    with storage_errors(path):
        if path.is_dir():
            raise StorageError(f"cannot write {path}: a directory is in the way; choose another place or remove it")
        if path.exists() and not path.is_file():
            with TemporaryDirectory() as folder:
                yield Path(folder) / path.name
                with (Path(folder) / path.name).open("rb") as written, path.open("wb") as file:
                    shutil.copyfileobj(written, file)
            return
        with workplace(path) as place:
            temporary = place / path.name
            yield temporary
            _settle(temporary, place)
            temporary.replace(path)
            flush(path.parent)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a new temporary directory; on leaving without an error, it becomes ``path``.

    An empty directory at ``path`` is replaced; one that holds anything is refused with an :class:`ArtifactError`
    before the body runs, so that nothing is ever lost.
    """
    refuse_existing(path)
    with storage_errors(path), workplace(path) as place:
        yield place
        publish_directory(place, path)


def publish_directory(temporary: Path, path: Path) -> None:
    """Flush every file below ``temporary`` to the disk, then rename the directory to ``path``."""
    for file in sorted(temporary.rglob("*")):
        _settle(file, temporary)
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """Yield a new directory beside ``path`` that this process holds while the body runs, and that is gone afterwards.

    What killed processes left of theirs is removed first.
    """
    stem = path.name[:_LONGEST_STEM]
    path.parent.mkdir(parents=True, exist_ok=True)
    of_this = re.compile(rf"\.{re.escape(stem)}\.[0-9a-f]+\.partial")
    _remove_unheld(entry for entry in path.parent.iterdir() if of_this.fullmatch(entry.name))
    with ExitStack() as holding:
        place = _held_place(path, stem, holding)
        try:
            yield place
        finally:
            try:
                place.rmdir()  # what was made in it has gone to its place
            except OSError:
                shutil.rmtree(place, ignore_errors=True)


def _held_place(path: Path, stem: str, holding: ExitStack) -> Path:
    """Make a new directory and hold it; another, where a process took one for a leftover before it was held."""
    while True:
        place = path.with_name(f".{stem}.{secrets.token_hex(8)}.partial")
        place.mkdir()
        with suppress(FileNotFoundError, BlockingIOError):
            holding.enter_context(_held(place))
            if place.exists():
                return place


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a directory, or a file, for this process alone; ``OSError`` where another has it or it is a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Delete what killed processes left half-written in ``directory``."""
    if directory.is_dir():
        _remove_unheld(directory.glob(".*.partial"))


def _remove_unheld(leftovers: Iterable[Path]) -> None:
    for path in list(leftovers):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            continue
        with suppress(BlockingIOError, FileNotFoundError), _held(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def is_taken(path: Path) -> bool:
    """Say whether ``path`` is anything but a directory that holds nothing."""
    return any(path.iterdir()) if path.is_dir() else path.exists() or path.is_symlink()


def refuse_existing(path: Path) -> None:
    """Raise :class:`ArtifactError` when ``path`` is anything but a directory that holds nothing."""
    if is_taken(path):
        raise ArtifactError(f"{path} exists already; choose another --out or remove it first")


def refuse_same_file(out: Path, read: str | Path) -> None:
    """Raise :class:`UsageError` when ``out``, which is to be written, is the file that is read."""
    if out.exists() and Path(read).exists() and out.samefile(read):
        raise UsageError(f"--out {out} is the file that is read; name another")


def _settle(path: Path, directory: Path) -> None:
    """Flush a file to the disk, with the mode that the process gives to new files, which ``directory`` shows."""
    if path.is_file():
        path.chmod(directory.stat().st_mode & 0o666)
    flush(path)


def flush(path: Path) -> None:
    """Flush a file, or the names in a directory, to the disk."""
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
        lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another process is writing into {directory}; wait for it or choose another --out") from None
        yield
    finally:
        os.close(lock)


_OF_STORAGE = (errno.EIO, errno.ESTALE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def unreadable(path: Path, error: OSError) -> BertsmithError:
    """Return the error for a file that cannot be read: a :class:`StorageError` where the file itself may be whole."""
    kind = StorageError if error.errno in _OF_STORAGE else ArtifactError
    return kind(f"cannot read {str(path)[:200]}: {reason(error)}")


def sha256(path: Path, advance: Callable[[float], None] | None = None) -> str:
    """Return the hexadecimal SHA-256 of the file's bytes, telling ``advance`` how many were read since the last time."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                if advance:
                    advance(len(chunk))
    except OSError as error:
        raise unreadable(path, error) from error
    return digest.hexdigest()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented UTF-8 JSON, keys in the order given, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ArtifactError: it is missing.
        DamagedError: it is no JSON object.
        StorageError: the device refuses to read it.
    """
    if not exists(path):
        raise ArtifactError(f"{path} does not exist")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
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
        raise unreadable(path, error) from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ArtifactError(f"{path} is neither a file nor a directory; put the file in its place")
    return True


def write_manifest(
    directory: Path, kind: str, facts: Mapping[str, Any], advance: Callable[[float], None] | None = None
) -> None:
    """Write ``directory/manifest.json``: its kind, the facts given, size and SHA-256 of every file below it, and a seal.

    The seal is the SHA-256 of all the rest. ``advance`` is told how many bytes were read since the last time.
    """
    found = [file for file in sorted(directory.rglob("*")) if file.is_file() and file.name not in (MANIFEST, ".lock")]
    files = {str(file.relative_to(directory)): _entry(file, advance) for file in found}
    write_sealed(directory / MANIFEST, {"kind": kind, "format": 1, **facts, "files": files})


def _entry(file: Path, advance: Callable[[float], None] | None = None) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256(file, advance)}


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write ``values`` as :func:`write_json` does, with a seal: the SHA-256 of all the rest."""
    write_json(path, {**values, "seal": _seal(values)})


def _seal(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON object that may have a seal, as those of earlier versions have not; raises as :func:`read_json`.

    Raises:
        DamagedError: the seal is not that of the rest.
    """
    values = read_json(path)
    if "seal" in values and values.pop("seal") != _seal(values):
        raise DamagedError(f"{path} is altered: its seal is not that of what stands in it")
    return values


def write_digests(directory: Path, names: Iterable[str]) -> None:
    """Write size and SHA-256 of those of the named files that are there, flushed, into ``directory/digests.json``."""
    there_are = [name for name in names if (directory / name).exists()]
    for name in there_are:
        flush(directory / name)
    write_sealed(directory / DIGESTS, {"files": {name: _entry(directory / name) for name in there_are}})


def check_digests(directory: Path) -> None:
    """Compare the files of ``directory`` with its ``digests.json``, where there is one.

    Raises:
        DamagedError: a file is missing, truncated or altered.
    """
    if (directory / DIGESTS).exists():
        verify_manifest(directory, read_sealed(directory / DIGESTS), name=DIGESTS)


def read_manifest(directory: Path, kind: str) -> dict[str, Any]:
    """Read ``directory/manifest.json``; :class:`ArtifactError` unless it says that ``directory`` is a ``kind``."""
    if not exists(directory) or not directory.is_dir():
        raise ArtifactError(f"{directory} is not a directory; a {kind} directory is needed here")
    if not (directory / MANIFEST).exists():
        raise ArtifactError(f"{directory} is not a {kind} directory: it has no {MANIFEST}")
    manifest = read_sealed(directory / MANIFEST)
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


def verify_manifest(
    directory: Path,
    manifest: Mapping[str, Any],
    advance: Callable[[float], None] | None = None,
    name: str = MANIFEST,
) -> None:
    """Compare every file with the manifest's size and digest; :class:`DamagedError` names the first that differs.

    ``advance`` is told how many bytes were read since the last time; ``name`` is the manifest's.
    """
    for listed, expected in manifest["files"].items():
        file = directory / listed
        # By its name alone: in a cache of downloads, what stands in a directory are links to files elsewhere.
        if Path(listed).is_absolute() or ".." in Path(listed).parts:
            raise DamagedError(f"{directory / name} names a file outside its directory: {listed}")
        if not exists(file) or not file.is_file():
            raise DamagedError(f"{file} is missing though {name} lists it")
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise DamagedError(f"{file} has {size} bytes where {name} says {expected['bytes']}: it is truncated or altered")
        if sha256(file, advance) != expected["sha256"]:
            raise DamagedError(f"{file} is altered: its SHA-256 is not the one in {name}")

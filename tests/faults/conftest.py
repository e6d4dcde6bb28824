"""A layer under what this process asks of the system, which lets one call fail."""

import builtins
import errno
import fcntl
import io
import mmap
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

CODES = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
OF_PATHS = ["open", "mkdir", "rmdir", "unlink", "remove", "replace", "rename", "chmod", "stat", "lstat", "listdir", "scandir"]
OF_PATHS += ["link", "symlink", "truncate"]
OF_NUMBERS = ["fsync", "fdatasync", "read", "write", "ftruncate"]


class FaultLayer:
    """Counts the calls on what is below some directories, and lets one fail."""

    def __init__(self, roots: Sequence[Path], fails_at: int, code: int) -> None:
        self._roots = tuple(str(root) for root in roots)
        self._fails_at, self._code = fails_at, code
        self.calls: Counter[str] = Counter()
        self.failed = ""

    @property
    def n_calls(self) -> int:
        return self.calls.total()

    def is_below(self, path: Any) -> bool:
        return any(name == root or name.startswith(root + os.sep) for name in [_place(path)] for root in self._roots)

    def call(self, name: str, path: Any, *, is_named: bool = True) -> None:
        """Count a call on a path or on the number of an open file, and let it fail if it is its turn."""
        if not self.is_below(path):
            return
        self.calls[name] += 1
        if self.n_calls == self._fails_at:
            self.failed = f"{name} of {_place(path)}"
            raise OSError(self._code, os.strerror(self._code), *([os.fspath(path)] if is_named else []))

    def of_path(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of a path, which may be the name of an entry of an open directory, with the layer under it."""

        def call(path: Any = ".", *rest: Any, **named: Any) -> Any:
            directory = named.get("dir_fd")
            self.call(name, path if directory is None else Path(_place(directory), path), is_named=not isinstance(path, int))
            return function(path, *rest, **named)

        return call

    def of_number(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of an open file's number with the layer under it."""

        def call(number: int, *rest: Any) -> Any:
            self.call(name, number, is_named=False)
            return function(number, *rest)

        return call

    def open(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return open(), whose files call the system through the layer."""

        def opened(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not self.is_below(file):
                return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
            self.call("open", file)
            raw = _RawFile(file, mode.translate({ord("b"): None, ord("t"): None}), closefd, opener)
            raw.layer, raw.place = self, _place(file)
            if buffering == 0:
                return raw
            kind = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
            buffer: Any = kind(raw)
            text = buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)
            if text is not buffer:
                text.mode = mode
            return text

        return opened

    def save_file(self, original: Callable[..., None]) -> Callable[..., None]:
        """Return what writes safetensors, which fails as the library does, with a part of the file written."""

        def save(tensors: Any, path: Any, metadata: Any = None) -> None:
            for name in ("create", "write"):
                try:
                    self.call(f"safetensors {name}", path)
                except OSError as error:
                    if name == "write":
                        (Path(path).parent / ".tmpA1b2C3").write_bytes(b"half")
                    words = f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
                    raise safetensors.SafetensorError(words) from None
            original(tensors, path, metadata)

        return save

    def load_file(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return what reads safetensors, which fails as the library does: with an error that has no number."""

        def load(path: Any, *rest: Any, **named: Any) -> Any:
            try:
                self.call("safetensors read", path)
            except OSError as error:
                raise OSError(f"{error.strerror} (os error {error.errno})") from None
            return original(path, *rest, **named)

        return load


class _RawFile(io.FileIO):
    layer: FaultLayer
    place: str

    def _call(self, name: str) -> None:
        self.layer.call(name, self.place, is_named=False)

    def read(self, *size: Any) -> Any:
        self._call("read")
        return super().read(*size)

    def readall(self) -> bytes:
        self._call("read")
        return super().readall()

    def readinto(self, buffer: Any) -> int:
        self._call("read")
        return super().readinto(buffer)

    def write(self, content: Any) -> int:
        self._call("write")
        return super().write(content)

    def truncate(self, *size: Any) -> int:
        self._call("truncate")
        return super().truncate(*size)

    def close(self) -> None:
        is_written = not self.closed and self.writable()
        super().close()
        if is_written:
            self._call("close")


def _place(path: Any) -> str:
    """Return the absolute path of a path, or of an open file or directory by its number."""
    if isinstance(path, int):
        try:
            return str(Path(f"/proc/self/fd/{path}").readlink())
        except OSError:
            return ""
    return str(Path(os.fsdecode(path)).absolute())


@contextmanager
def _fault_layer(roots: Sequence[Path], fails_at: int = 0, code: int = 0) -> Iterator[FaultLayer]:
    layer = FaultLayer(roots, fails_at, code)

    class Mapped(mmap.mmap):
        def __new__(cls, number: int, *rest: Any, **named: Any) -> "Mapped":
            layer.call("mmap", number, is_named=False)
            return super().__new__(cls, number, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        for name in OF_PATHS:
            patch.setattr(os, name, layer.of_path(name, getattr(os, name)))
        for name in OF_NUMBERS:
            patch.setattr(os, name, layer.of_number(name, getattr(os, name)))
        patch.setattr(fcntl, "flock", layer.of_number("flock", fcntl.flock))
        patch.setattr(mmap, "mmap", Mapped)
        patch.setattr(io, "open", layer.open(io.open))
        patch.setattr(builtins, "open", layer.open(builtins.open))
        patch.setattr(safetensors.torch, "save_file", layer.save_file(safetensors.torch.save_file))
        patch.setattr(safetensors.torch, "load_file", layer.load_file(safetensors.torch.load_file))
        yield layer


@pytest.fixture
def fault_layer() -> Callable[..., Any]:
    """``fault_layer(roots, fails_at, code)`` puts the layer under this process; 0 lets no call fail."""
    return _fault_layer


@pytest.fixture
def codes() -> tuple[int, ...]:
    """The errors of the system that are tried."""
    return CODES

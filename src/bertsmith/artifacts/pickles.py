"""Read the tensors of a ``pytorch_model.bin`` without executing what stands in it; a program on the standard library alone.

    python -I -S pickles.py SOURCE DESTINATION CPU_SECONDS

A pickle may name any function in the world to be called while it is read. Here only the names in :data:`_MEANINGS` mean
anything, and they mean objects of this file, which check every number they are given; any other name ends the program. It
limits its own memory, time, files and processes before it opens the file, and writes what it finds as safetensors.

Exit codes: 0 done, 3 refused, 4 damaged, 5 the disk refused; the reason is what it prints on stderr.
"""

import collections
import json
import math
import os
import pickle
import resource
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, NamedTuple

REFUSED, DAMAGED, STORAGE = 3, 4, 5

_ZIP_MAGIC = b"PK\x03\x04"
_STREAM_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_VERSION = 1001
_SPARE_BYTES = 1 << 29
_OPEN_FILES = 16
_SHOWN_CHARACTERS = 500
_MEMORYVIEW_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Refused(Exception):
    """The file asks for something that weights have no need of."""


# Named tuples, since a pickle can alter the attributes of any other object that it holds.
class _Dtype(NamedTuple):
    name: str
    n_bytes: int


class _Storage(NamedTuple):
    key: str
    dtype: _Dtype
    n_elements: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    """Stand in for PyTorch's function of this name; the rest of its arguments concerns gradients."""
    counts = [offset, *size, *stride]
    if not isinstance(storage, _Storage) or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("a tensor is described by something other than a storage, an offset, a size and a stride")
    if len(size) != len(stride):
        raise ValueError(f"a tensor of size {size} has the stride {stride}")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    n_elements = math.prod(size)
    if n_elements and (last >= storage.n_elements or n_elements > storage.n_elements):
        raise ValueError(f"a tensor of size {size} lies outside its storage of {storage.n_elements} elements")
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: Any, *_: Any) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise ValueError("a parameter is no tensor")
    return tensor


_MEANINGS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "DoubleStorage"): _Dtype("F64", 8),
    ("torch", "FloatStorage"): _Dtype("F32", 4),
    ("torch", "HalfStorage"): _Dtype("F16", 2),
    ("torch", "BFloat16Storage"): _Dtype("BF16", 2),
    ("torch", "LongStorage"): _Dtype("I64", 8),
    ("torch", "IntStorage"): _Dtype("I32", 4),
    ("torch", "ShortStorage"): _Dtype("I16", 2),
    ("torch", "CharStorage"): _Dtype("I8", 1),
    ("torch", "ByteStorage"): _Dtype("U8", 1),
    ("torch", "BoolStorage"): _Dtype("BOOL", 1),
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _MEANINGS:
            raise Refused(f"the file wants to run {module}.{name}, which no weights need")
        return _MEANINGS[module, name]

    def persistent_load(self, reference: Any) -> _Storage:
        """Note a storage: ("storage", dtype, key, device, number of elements), and in the stream format a view, always None."""
        kind, dtype, key, _, n_elements, *view = reference
        valid = kind == "storage" and isinstance(dtype, _Dtype) and isinstance(key, str) and type(n_elements) is int
        if not valid or n_elements < 0 or view not in ([], [None]):
            raise ValueError(f"a storage is described by {reference!r}")
        storage = _Storage(key, dtype, n_elements)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"the storage {key!r} is described in two ways")
        return storage


_ReadStorage = Callable[[_Storage], bytes]


def _read_zip(file: BinaryIO) -> tuple[object, _ReadStorage]:
    """Read the format of PyTorch 1.6 and later: an uncompressed archive with the pickle and a file for each storage."""
    archive = zipfile.ZipFile(file)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise Refused("the archive is compressed, which PyTorch's never is")
    root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise Refused("the numbers are big-endian; save the file again on a little-endian machine")
    with archive.open(f"{root}data.pkl") as pickled:
        content = _Unpickler(pickled).load()  # type: ignore[arg-type]

    def read(storage: _Storage) -> bytes:
        return archive.read(f"{root}data/{storage.key}")

    return content, read


def _read_stream(file: BinaryIO) -> tuple[object, _ReadStorage]:
    """Read the format before PyTorch 1.6: five pickles, then each storage as its number of elements and its bytes."""
    if _Unpickler(file).load() != _STREAM_MAGIC or _Unpickler(file).load() != _STREAM_VERSION:
        raise ValueError("it does not begin as a file of PyTorch's does")
    if not _Unpickler(file).load()["little_endian"]:
        raise Refused("the numbers are big-endian; save the file again on a little-endian machine")
    unpickler = _Unpickler(file)
    content = unpickler.load()
    starts = {}
    for key in _Unpickler(file).load():
        storage = unpickler.storages[key]
        (n_elements,) = struct.unpack("<q", file.read(8))
        if n_elements != storage.n_elements:
            raise ValueError(f"the storage {key!r} has {n_elements} elements where {storage.n_elements} were announced")
        starts[key] = file.tell()
        file.seek(n_elements * storage.dtype.n_bytes, os.SEEK_CUR)

    def read(storage: _Storage) -> bytes:
        file.seek(starts[storage.key])
        return file.read(storage.n_elements * storage.dtype.n_bytes)

    return content, read


def _checked_tensors(content: object) -> dict[str, _Tensor]:
    if not isinstance(content, dict):
        raise Refused("the file holds no dictionary of tensors")
    tensors = {}
    # Not content.items(): a pickle can hide an OrderedDict's methods behind attributes of its own.
    for name, value in dict.items(content):
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise Refused(f"the file holds something other than a tensor under {name!r}; a plain state_dict is needed")
        tensors[name] = value
    return tensors


def _rows(elements: memoryview, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Iterator[memoryview]:
    """Yield the elements of a tensor in row-major order, as long a run at a time as lies together."""
    steps = [math.prod(size[dimension + 1 :]) for dimension in range(len(size))]
    if all(length == 1 or step == own for length, step, own in zip(size, steps, stride, strict=True)):
        yield elements[offset : offset + math.prod(size)]
    elif len(size) == 1 and stride[0]:
        yield elements[offset : offset + size[0] * stride[0] : stride[0]]
    else:
        for row in range(size[0]):
            yield from _rows(elements, offset + row * stride[0], size[1:], stride[1:])


def _write_safetensors(tensors: dict[str, _Tensor], read: _ReadStorage, file: BinaryIO) -> None:
    """Write the tensors, those with wide elements first so that all are aligned."""
    ordered = sorted(tensors.items(), key=lambda item: -item[1].storage.dtype.n_bytes)
    header, end = {}, 0
    for name, tensor in ordered:
        start, dtype = end, tensor.storage.dtype
        end += math.prod(tensor.size) * dtype.n_bytes
        header[name] = {"dtype": dtype.name, "shape": tensor.size, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    file.write(struct.pack("<Q", len(encoded)) + encoded)
    for name, (storage, offset, size, stride) in ordered:
        content = read(storage)
        if len(content) != storage.n_elements * storage.dtype.n_bytes:
            raise ValueError(f"the elements of {name} are not all there")
        elements = memoryview(content).cast(_MEMORYVIEW_FORMATS[storage.dtype.n_bytes])
        for row in _rows(elements, offset, size, stride):
            file.write(row.tobytes())


def _limit_resources(file_bytes: int, cpu_seconds: int) -> None:
    limits = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 4 * file_bytes + _SPARE_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":  # elsewhere a process may not limit its address space
        limits[resource.RLIMIT_AS] = 2 * file_bytes + _SPARE_BYTES
    for kind, wanted in limits.items():
        _, ceiling = resource.getrlimit(kind)
        limit = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
        # At the soft limit of computing time comes SIGXCPU, which tells the reason, and at the hard one SIGKILL.
        resource.setrlimit(kind, (limit, ceiling if kind == resource.RLIMIT_CPU else limit))


def main(source: str, destination: str, cpu_seconds: str) -> tuple[int, str]:
    """Write the tensors of ``source`` to ``destination``; return the exit code and what to say."""
    try:
        _limit_resources(os.stat(source).st_size, int(cpu_seconds))  # noqa: PTH116
        with open(source, "rb") as file, open(destination, "wb") as written:  # noqa: PTH123
            is_zip = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
            file.seek(0)
            content, read = _read_zip(file) if is_zip else _read_stream(file)
            _write_safetensors(_checked_tensors(content), read, written)
    except Refused as error:
        return REFUSED, str(error)
    except OSError as error:
        return STORAGE, str(error.strerror or error)
    except MemoryError:
        return REFUSED, "reading it takes more memory than its size explains"
    except Exception as error:
        # A damaged pickle can raise anything.
        return DAMAGED, f"it is truncated, altered or no file of PyTorch's ({type(error).__name__}: {error})"
    return 0, ""


if __name__ == "__main__":
    code, reason = main(*sys.argv[1:])
    # The reason may quote the file, which may hold anything.
    print("".join(character if character.isprintable() else "?" for character in reason[:_SHOWN_CHARACTERS]), file=sys.stderr)
    sys.exit(code)

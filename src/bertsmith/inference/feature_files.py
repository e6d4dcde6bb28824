"""Files of vectors, written one text at a time in bounded memory: NumPy, safetensors, Parquet and JSON lines.

``.npz`` and ``.safetensors`` hold the same flat arrays, in the order of the file that was read:

    vectors         (N, L, D) float32  a vector of every unit (token, word or text) at every layer chosen
    lines           (n,)      int64    the line, or the row, at which each of the n texts stands in the file
    layers          (K,)      int64    numbers of the layers chosen, 0 the embeddings; K = L unless they are combined

Files of tokens and words also hold

    text_offsets    (n+1,)    int64    units of text i are text_offsets[i] to text_offsets[i+1]
    starts, ends    (N,)      int64    characters of the text as the file has it; 0, 0 for [CLS] and [SEP]
    strings         (…,)      uint8    tokens, or words as the text has them, laid end to end in UTF-8
    string_offsets  (N+1,)    int64    bytes of unit j are string_offsets[j] to string_offsets[j+1]

Dimensions: N units of all texts, L layers, D width.
"""

import json
import math
import os
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from bertsmith.errors import UsageError
from bertsmith.files import atomic_file
from bertsmith.model.mixing import Layers

Floats = npt.NDArray[np.float32]
Unit = Literal["tokens", "words", "texts"]

_COPIED_AT_ONCE = 1 << 24
_HEADER_BYTES = 4096
_DTYPE_NAMES = {"<f4": "F32", "<i8": "I64", "|u1": "U8"}
_DECIMALS = 6
_ROW_GROUP_BYTES = 1 << 25
_ROW_GROUP_TEXTS = 1 << 12


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors (N, L, D) of one text's units, with their strings and characters; of the text as a whole N is 1.

    ``line`` is the number of the line, or the row, at which the text stands in its file.
    """

    line: int
    text: str
    strings: Sequence[str]
    spans: Sequence[tuple[int, int]]
    vectors_NLD: Floats  # noqa: N815


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file of vectors holds: of which units, of which layers, L and D."""

    unit: Unit
    layers: Layers
    shape: tuple[int, int]


class FeatureWriter(ABC):
    """Writes the vectors of texts; closed by the last."""

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path, self.contents = path, contents

    @abstractmethod
    def write(self, found: Vectors) -> None:
        """Write the vectors of the next text."""

    @abstractmethod
    def close(self) -> None:
        """Write what stands behind the last text."""


@contextmanager
def feature_file(path: Path, contents: Contents) -> Iterator[FeatureWriter]:
    """Yield what writes ``path``, which is there, whole, after the last text and not before.

    Raises:
        UsageError: the extension is none of those known.
        StorageError: there is no room for it.
    """
    check_extension(path)
    with atomic_file(path) as temporary, ExitStack() as files:
        temporary.touch()
        writer = _WRITERS[path.suffix](temporary, contents, files)
        yield writer
        writer.close()


def check_extension(path: Path) -> None:
    """Raise :class:`UsageError` for an extension that says no format."""
    if path.suffix not in _WRITERS:
        raise UsageError(f"--out {path}: the extension says the format; it is one of {', '.join(_WRITERS)}")


class _Flat(FeatureWriter):
    """Spools every array into a file without a name, in the folder of the file to be, to be laid end to end at last."""

    def __init__(self, path: Path, contents: Contents, files: ExitStack) -> None:
        super().__init__(path, contents)
        self._n_units = self._n_bytes = 0
        wide = ["lines", "layers"]
        if contents.unit != "texts":
            wide += ["text_offsets", "starts", "ends", "string_offsets"]
        self._dtypes: dict[str, np.dtype[Any]] = {"vectors": np.dtype(np.float32), **dict.fromkeys(wide, np.dtype(np.int64))}
        if contents.unit != "texts":
            self._dtypes["strings"] = np.dtype(np.uint8)
        self._spools = {name: files.enter_context(self._spool(name)) for name in self._dtypes}
        self._add("layers", contents.layers.numbers)
        if contents.unit != "texts":
            self._add("text_offsets", [0])
            self._add("string_offsets", [0])

    def _spool(self, name: str) -> IO[bytes]:  # noqa: ARG002
        return tempfile.TemporaryFile(dir=self.path.parent)

    def _add(self, name: str, values: npt.ArrayLike) -> None:
        self._spools[name].write(np.ascontiguousarray(values, self._dtypes[name]).data)

    def write(self, found: Vectors) -> None:
        self._n_units += len(found.vectors_NLD)
        self._add("vectors", found.vectors_NLD)
        self._add("lines", [found.line])
        if self.contents.unit == "texts":
            return
        spans = np.array(found.spans, np.int64).reshape(-1, 2)
        strings = [string.encode() for string in found.strings]
        stops = self._n_bytes + np.cumsum([len(string) for string in strings], dtype=np.int64)
        self._n_bytes += sum(map(len, strings))
        self._add("text_offsets", [self._n_units])
        self._add("starts", spans[:, 0])
        self._add("ends", spans[:, 1])
        self._add("string_offsets", stops)
        self._spools["strings"].write(b"".join(strings))

    def _shape(self, name: str) -> tuple[int, ...]:
        if name == "vectors":
            return (self._n_units, *self.contents.shape)
        return (self._spools[name].seek(0, os.SEEK_END) // self._dtypes[name].itemsize,)

    def _pour(self, name: str, into: IO[bytes]) -> None:
        self._spools[name].seek(0)
        shutil.copyfileobj(self._spools[name], into, _COPIED_AT_ONCE)


class _NumpyWriter(_Flat):
    def close(self) -> None:
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED) as archive:
            for name, dtype in self._dtypes.items():
                heading = {"descr": dtype.str, "fortran_order": False, "shape": self._shape(name)}
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array_header_2_0(file, heading)
                    self._pour(name, file)


class _SafetensorsWriter(_Flat):
    """Writes the vectors where they are to stay, behind room for the header."""

    def _spool(self, name: str) -> IO[bytes]:
        if name != "vectors":
            return super()._spool(name)
        file = self.path.open("r+b")
        file.seek(_HEADER_BYTES)
        return file

    def close(self) -> None:
        header: dict[str, Any] = {"__metadata__": {"unit": self.contents.unit, "layers": self.contents.layers.how}}
        file, stop = self._spools["vectors"], 0
        for name, dtype in self._dtypes.items():
            shape = self._shape(name)
            if name != "vectors":
                self._pour(name, file)
            start, stop = stop, stop + math.prod(shape) * dtype.itemsize
            header[name] = {"dtype": _DTYPE_NAMES[dtype.str], "shape": shape, "data_offsets": (start, stop)}
        file.seek(0)
        file.write((_HEADER_BYTES - 8).to_bytes(8, "little") + json.dumps(header).encode().ljust(_HEADER_BYTES - 8))


class _JsonWriter(FeatureWriter):
    """One object a text: its line, the text, and a list of tokens or words, or the vectors of the text as a whole."""

    def __init__(self, path: Path, contents: Contents, files: ExitStack) -> None:
        super().__init__(path, contents)
        self._file = files.enter_context(path.open("w", encoding="utf-8"))

    def write(self, found: Vectors) -> None:
        # Shorter by half than with the digits of a float32 that say nothing.
        vectors = found.vectors_NLD.astype(np.float64).round(_DECIMALS).tolist()
        content: dict[str, Any] = {"line": found.line, "text": found.text}
        if self.contents.unit == "texts":
            content["vectors"] = vectors[0]
        else:
            content[self.contents.unit] = [
                {"text": string, "start": start, "end": end, "vectors": of_layers}
                for string, (start, end), of_layers in zip(found.strings, found.spans, vectors, strict=True)
            ]
        self._file.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        pass


class _ParquetWriter(FeatureWriter):
    """One row a unit, with a column of vectors for every layer, or one for their combination."""

    def __init__(self, path: Path, contents: Contents, files: ExitStack) -> None:
        import pyarrow
        from pyarrow import parquet

        super().__init__(path, contents)
        n_layers, width = contents.shape
        names = [f"layer_{number}" for number in contents.layers.numbers] if contents.layers.how == "apart" else ["vector"]
        assert len(names) == n_layers
        vector, number = pyarrow.list_(pyarrow.float32(), width), pyarrow.int64()
        columns = {"line": number}
        if contents.unit != "texts":
            columns |= {"text_number": number, "start": number, "end": number, "string": pyarrow.string()}
        self._schema = pyarrow.schema({**columns, **dict.fromkeys(names, vector)})
        self._table = files.enter_context(parquet.ParquetWriter(path, self._schema, use_dictionary=["string"]))
        self._n_texts, self._waiting, self._n_bytes = 0, list[Any](), 0

    def write(self, found: Vectors) -> None:
        import pyarrow

        n_units, n_layers, _ = found.vectors_NLD.shape
        columns: list[Any] = [np.full(n_units, found.line)]
        if self.contents.unit != "texts":
            spans = np.array(found.spans, np.int64).reshape(-1, 2)
            columns += [np.full(n_units, self._n_texts), spans[:, 0], spans[:, 1], list(found.strings)]
        arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, self._schema, strict=False)]
        for layer in range(n_layers):
            values = np.ascontiguousarray(found.vectors_NLD[:, layer]).reshape(-1)
            arrays.append(pyarrow.FixedSizeListArray.from_arrays(values, found.vectors_NLD.shape[2]))
        self._waiting.append(pyarrow.record_batch(arrays, schema=self._schema))
        self._n_texts += 1
        self._n_bytes += found.vectors_NLD.nbytes
        if self._n_bytes >= _ROW_GROUP_BYTES or len(self._waiting) == _ROW_GROUP_TEXTS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        self._table.write_table(pyarrow.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._n_bytes = [], 0

    def close(self) -> None:
        self._flush()


_WRITERS: dict[str, Callable[[Path, Contents, ExitStack], FeatureWriter]] = {
    ".npz": _NumpyWriter,
    ".safetensors": _SafetensorsWriter,
    ".jsonl": _JsonWriter,
    ".parquet": _ParquetWriter,
}

"""Parquet and Arrow files, also compressed, as rows; only the columns that are asked for are read."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bertsmith.errors import InputError
from bertsmith.progress import ProgressTask
from bertsmith.sources.class_labels import names_of_classes, with_names
from bertsmith.sources.streams import COMPRESSIONS, Decoding, check_is_file, open_bytes

_N_ROWS = 256
_Batches = tuple[list[str], int, Callable[[Sequence[str]], Iterable[Any]]]
"""The columns of a file, the number of its rows, and what yields them in batches, with some of the columns."""
Rows = Callable[[Sequence[str]], Iterator[tuple[int, dict[str, Any]]]]
"""Yields what stands in these columns of each row, of classes their names where the file has them, with its number from 1."""


def open_columnar(path: str | Path, format: str, decoding: Decoding, progress: ProgressTask) -> tuple[list[str], int, Rows]:  # noqa: A002
    """Open a file; return its columns, the number of its rows, and what reads them.

    Raises:
        InputError: the file is missing, is something else or is damaged; from the rows also, that a text is not UTF-8 where
            the ``decoding`` is strict.
    """
    noun, open_file = COLUMNAR[format]
    if str(path) == "-":
        raise InputError(f"standard input: {noun} is not read from a pipe; give its path")
    path = Path(path)
    check_is_file(path)
    with _damage(path, noun), _unpacked(path, progress) as bare:
        columns, n_rows, batches = open_file(bare)
    # What is unpacked has been reported as read by then.
    row_bytes = 0.0 if bare != path or not n_rows else path.stat().st_size / n_rows

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        with _damage(path, noun):
            for batch in batches(wanted):
                names = batch.schema.names
                classes = names_of_classes(batch.schema.metadata)
                columns_of_values = [
                    with_names(values, classes[name]) if name in classes else values
                    for name, values in zip(
                        names, map(partial(_values, path, number, decoding), names, batch.columns), strict=True
                    )
                ]
                for row in zip(*columns_of_values, strict=True):
                    number += 1
                    yield number, dict(zip(names, row, strict=True))
                progress.advance(row_bytes * batch.num_rows)

    return columns, n_rows, rows


def _values(path: Path, n_before: int, decoding: Decoding, name: str, column: Any) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        values = column.cast("large_binary").to_pylist()
    for place, value in enumerate(values):
        try:
            values[place] = None if value is None else value.decode("utf-8", decoding.errors)
        except UnicodeDecodeError as error:
            raise decoding.error(f"{path}:{n_before + place + 1}", f"the column {name!r}", error.start, error) from None
    return list(values)


@contextmanager
def _damage(path: Path, noun: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except pyarrow.ArrowException as error:
        raise InputError(f"{path} is not {noun}, or is damaged: {error}; copy or write it again") from None


@contextmanager
def _unpacked(path: Path, progress: ProgressTask) -> Iterator[Path]:
    """Give the file to open: where the file is compressed, what is in it, on the disk, since its end is read first."""
    if path.suffix not in COMPRESSIONS:
        yield path
        return
    with open_bytes(path, progress) as compressed, tempfile.NamedTemporaryFile() as unpacked:
        shutil.copyfileobj(compressed, unpacked)
        unpacked.flush()
        yield Path(unpacked.name)


def _open_parquet(path: Path) -> _Batches:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    return file.schema_arrow.names, file.metadata.num_rows, lambda columns: file.iter_batches(_N_ROWS, columns=list(columns))


def _open_arrow(path: Path) -> _Batches:
    """Open an Arrow file, such as those of Feather, or stream, such as those of Hugging Face's ``datasets``."""
    import pyarrow
    from pyarrow import ipc

    file = pyarrow.memory_map(str(path))
    is_file = file.read(6) == b"ARROW1"
    reader = partial(ipc.open_file if is_file else ipc.open_stream, file)

    def batches(columns: Sequence[str]) -> Iterator[Any]:
        file.seek(0)
        some = reader(options=ipc.IpcReadOptions(included_fields=[*map(names.index, columns)]))
        for batch in map(some.get_batch, range(some.num_record_batches)) if is_file else some:
            yield from (batch.slice(start, _N_ROWS) for start in range(0, batch.num_rows, _N_ROWS))

    file.seek(0)
    names = reader().schema.names
    return names, sum(batch.num_rows for batch in batches(names[:1])), batches


COLUMNAR: dict[str, tuple[str, Callable[[Path], _Batches]]] = {
    "parquet": ("a Parquet file", _open_parquet),
    "arrow": ("an Arrow file", _open_arrow),
}

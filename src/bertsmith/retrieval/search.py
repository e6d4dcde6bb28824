"""Which lines of a file are nearest to a query: vectors of all lines in a directory of plain arrays, and an exact search.

The arrays are mapped, not read, and a query is compared with all of them. Nothing of the directory is ever more than numbers
and text, whoever made it.

Dimensions: n lines, Q queries, D width, k hits.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np

from bertsmith.artifacts.weights import weights_digest
from bertsmith.errors import DamagedError, InputError, MismatchError
from bertsmith.files import atomic_directory, read_manifest, sha256, verify_manifest, write_manifest
from bertsmith.inference.pipelines import Floats, VectorPipeline
from bertsmith.neighbours import nearest, unit
from bertsmith.progress import SILENT, Progress
from bertsmith.sources.tables import open_table

KIND = "text-index"
_VECTORS, _PLACES, _TEXTS = "vectors.float32", "places.int64", "texts.txt"
_LINES_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Hit:
    """A line near a query: its text, its number from 1, and the cosine of their vectors."""

    text: str
    line: int
    similarity: float


class TextIndex:
    """The lines of a file by their vectors. Make one with :func:`build_index`, or :meth:`open` one."""

    def __init__(self, path: Path, n_lines: int, width: int) -> None:
        self._vectors_nD = np.memmap(path / _VECTORS, np.float32, "r", shape=(n_lines, width))
        self._places = np.memmap(path / _PLACES, np.int64, "r", shape=(n_lines + 1, 2))  # where in the texts, which line
        self._texts = np.memmap(path / _TEXTS, np.uint8, "r")

    @classmethod
    def open(cls, path: Path, model: str, file: Path) -> Self:
        """Open the index of ``file`` made with a model of the digest ``model``.

        Raises:
            ArtifactError: the directory is no index.
            DamagedError: it is truncated or altered.
            InputError: there is no such file.
            MismatchError: it was made with another model, or of another file than this one is now.
        """
        manifest = read_manifest(path, KIND)
        verify_manifest(path, manifest)
        remedy = f"remove {path} to have it made anew, or choose another --index"
        if manifest.get("model") != model:
            raise MismatchError(f"{path} was made with another model (its digest is not this one's): {remedy}")
        if manifest.get("source_sha256") != _source_digest(file):
            raise MismatchError(f"{path} was made of another file than {file} is now: {remedy}")
        n_lines, width = manifest.get("lines"), manifest.get("width")
        vectors, places, texts = (manifest["files"].get(name, {}).get("bytes") for name in (_VECTORS, _PLACES, _TEXTS))
        if (
            isinstance(n_lines, int)
            and isinstance(width, int)
            and (vectors, places) == (4 * n_lines * width, 16 * (n_lines + 1))
            and (vectors and texts)  # what is empty cannot be mapped
        ):
            return cls(path, n_lines, width)
        raise DamagedError(f"{path}: its manifest and its arrays do not fit together; {remedy}")

    def search(self, queries_QD: Floats, top: int) -> list[list[Hit]]:
        """Return the ``top`` nearest lines of each query, the nearest first.

        Raises:
            MismatchError: the index has vectors of another width.
        """
        widths = self._vectors_nD.shape[1], queries_QD.shape[1]
        if widths[0] != widths[1]:
            raise MismatchError(f"the index holds vectors of {widths[0]} figures, and the model's have {widths[1]}")
        found = nearest(unit(queries_QD), self._vectors_nD, top)
        return [[Hit(*self._line(row), similarity) for row, similarity in of_query] for of_query in found]

    def _line(self, row: int) -> tuple[str, int]:
        (start, number), (end, _) = self._places[row : row + 2].tolist()
        line = self._texts[start:end].tobytes()
        return line.decode("utf-8", "replace").removesuffix("\n"), number


def build_index(pipe: VectorPipeline, model: str, file: Path, out: Path, progress: Progress = SILENT) -> None:
    """Write the index of the lines of ``file`` that are not blank, whole or not at all, in bounded memory.

    Args:
        pipe: Makes the vectors.
        model: Its digest (see :func:`digest`).
        file: UTF-8 text, one text a line; also compressed.
        out: The directory to write.
        progress: Shows how far it is.

    Raises:
        InputError: the file cannot be read, or holds no text.
        ArtifactError: ``out`` exists and is not empty.
    """
    source, n_lines, offset, started = _source_digest(file), 0, 0, time.monotonic()
    with (
        atomic_directory(out) as directory,
        (directory / _VECTORS).open("wb") as vectors,
        (directory / _PLACES).open("wb") as places,
        (directory / _TEXTS).open("wb") as texts,
        progress.task(f"Indexing {file.name}", file.stat().st_size, "bytes") as shown,
    ):
        lines = ((record.line, record.text("text").strip()) for record in open_table(file, "txt", progress=shown).rows)
        while chunk := list(islice(lines, _LINES_AT_ONCE)):
            vectors.write(unit(pipe([text for _, text in chunk])).tobytes())
            encoded = [f"{text}\n".encode() for _, text in chunk]
            offsets = offset + np.cumsum([0, *map(len, encoded)])
            places.write(np.stack([offsets[:-1], [number for number, _ in chunk]], axis=1).astype(np.int64).tobytes())
            texts.writelines(encoded)
            n_lines, offset = n_lines + len(chunk), int(offsets[-1])
            shown.note(f"{n_lines / (time.monotonic() - started):,.0f} lines/s")
        places.write(np.array([offset, 0], np.int64).tobytes())
        if not n_lines:
            raise InputError(f"{file} holds no text to search")
        for written in (vectors, places, texts):
            written.flush()
        facts = {"model": model, "source": file.name, "source_sha256": source, "lines": n_lines, "width": pipe.width}
        write_manifest(directory, KIND, facts)


def digest(path: Path, pipe: VectorPipeline) -> str:
    """Return the SHA-256 of all that determines the vectors that the model directory's pipeline makes."""
    head = pipe.engine.model.heads.task
    config = pipe.engine.model.config.model_dump()
    facts = [weights_digest(path), config, pipe.tokenizer.digest, repr(head), pipe.max_length]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _source_digest(file: Path) -> str:
    if not file.is_file():
        raise InputError(f"{file} is no file; give a file of text, one a line")
    return sha256(file)

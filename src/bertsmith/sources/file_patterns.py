"""The files of text that names, folders and globs mean."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from bertsmith.errors import InputError
from bertsmith.sources.streams import COMPRESSIONS, extension, known_extension

FORMATS = (".txt", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
_NAMED = ".json"  # read where the pattern names it; in folders, such files are mostly of settings
READ_AS = (*FORMATS, _NAMED)
RENAME = "rename the file, or convert it to one of these"


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files that ``patterns`` (files, folders, globs) name, sorted, each once.

    Of folders, searched recursively, only files with a known extension are taken.

    Raises:
        InputError: nothing named, or a pattern that is missing, matches nothing, or has an unknown extension.
    """
    if not patterns:
        raise InputError("no input files given")
    found: dict[str, Path] = {}
    for pattern in patterns:
        for path in _expand(pattern):
            if not os.access(path, os.R_OK):
                raise InputError(f"cannot read {path}: permission denied")
            found.setdefault(str(path.resolve()), path)
    return sorted(found.values())


def _expand(pattern: str) -> list[Path]:
    """Return the files that one pattern names, at least one."""
    path = Path(pattern)
    # Path.glob refuses absolute patterns.
    matches = [path] if path.exists() else [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    if not matches:
        what = "matches no file" if glob.has_magic(pattern) else "does not exist"
        raise InputError(f"{pattern} {what}")
    files: list[Path] = []
    for match in matches:
        if match.is_dir():
            files += [one for one in match.rglob("*") if one.is_file() and extension(one) in FORMATS and one.name[0] != "."]
        elif extension(match) in FORMATS or _NAMED in pattern or not glob.has_magic(pattern):
            known_extension(match, READ_AS, RENAME)
            files.append(match)
    if not files:
        raise InputError(f"{pattern} holds no file that is read here: {' '.join(FORMATS)}, each also {' '.join(COMPRESSIONS)}")
    return files

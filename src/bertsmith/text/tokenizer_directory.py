"""The files that hold a BERT tokenizer: ``tokenizer.json``, ``vocab.txt`` and the small ones beside them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertsmith.errors import ArtifactError, DamagedError, MismatchError
from bertsmith.files import exists, read_json, unreadable
from bertsmith.hub import hint
from bertsmith.notices import say_once
from bertsmith.text.specification import (
    ROLES,
    Specification,
    canonical_vocabulary,
    short,
    with_added_tokens,
    with_special_tokens,
)
from bertsmith.text.tokenizer_json import read_tokenizer_json, tokenizer_json
from bertsmith.text.tokenizer_settings import TokenizerSettings, read_settings

_FILE, _LINES = "tokenizer.json", "vocab.txt"
_MANY_CAPITALS = 0.05
_FOREIGN = {
    "spiece.model": "SentencePiece",
    "sentencepiece.bpe.model": "SentencePiece",
    "tokenizer.model": "SentencePiece",
    "merges.txt": "byte-pair encoding",
    "vocab.json": "byte-pair encoding",
    "bpe.codes": "byte-pair encoding",
}


def read_specification(path: Path) -> Specification:
    """Read a tokenizer from a directory, a ``tokenizer.json`` or a bare ``vocab.txt`` (uncased).

    In a directory ``tokenizer.json`` is preferred to ``vocab.txt``; switches, special names and added tokens that
    the other files state explicitly win over both, as in transformers.

    Raises:
        ArtifactError: nothing there, not a BERT tokenizer, or special tokens missing.
        DamagedError: a file is not what its name says.
        MismatchError: the ``config.json`` beside it is of a model with fewer tokens.
    """
    if not exists(path):
        raise ArtifactError(f"{path} does not exist; give a tokenizer directory, a {_FILE} or a {_LINES}{hint(path)}")
    return _read_directory(path) if path.is_dir() else with_special_tokens(_read_file(path), str(path))


def _read_directory(directory: Path) -> Specification:
    found = [directory / name for name in (_FILE, _LINES) if exists(directory / name)]
    if not found:
        foreign = [f"{name} ({kind})" for name, kind in _FOREIGN.items() if exists(directory / name)]
        beside = f"; it has {', '.join(foreign)}, which is not BERT's WordPiece" if foreign else ""
        raise ArtifactError(f"{directory} holds no tokenizer: neither {_FILE} nor {_LINES} is there{beside}")
    settings, specification = read_settings(directory), _read_file(found[0])
    _report_other_entries(specification, found)
    _report_other_switches(specification, settings, found[0])
    special = replace(specification.special, **settings.roles)
    specification = replace(specification, special=special, **settings.switches)
    _report_capitals(specification, directory)
    n_rows = _model_rows(directory / "config.json")
    tokens = (*settings.flagged, *specification.added, *settings.tokens)
    specification = with_added_tokens(specification, tokens, n_rows, str(directory))
    specification = with_special_tokens(specification, str(directory))
    if n_rows is not None and specification.size > n_rows:
        sizes = f"{specification.size:,} tokens and the model {n_rows:,}"
        raise MismatchError(f"{directory}: the tokenizer has {sizes}; they do not belong together")
    return specification


def _read_file(path: Path) -> Specification:
    return read_tokenizer_json(path) if path.suffix == ".json" else _read_lines(path)


def _read_lines(path: Path) -> Specification:
    """Read one entry a line; a bare vocabulary is uncased, which is what BERT's readers take it for."""
    entries = _entries(path)
    return Specification(canonical_vocabulary(entries), lowercase=True, strip_accents=None, split_chinese=True)


def _entries(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path} is not a vocabulary: invalid UTF-8 at byte {error.start}") from None
    # Editors put a mark at the beginning; with it, the first entry would be lost.
    return [line.rstrip() for line in text.removeprefix("\ufeff").removesuffix("\n").split("\n")]


def _model_rows(path: Path) -> int | None:
    """Return how many tokens the model beside a tokenizer has, where there is one that says so."""
    n_rows = read_json(path).get("vocab_size") if path.exists() else None
    return n_rows if type(n_rows) is int else None


def _report_other_entries(specification: Specification, files: Sequence[Path]) -> None:
    """Say that ``vocab.txt`` has other entries than ``tokenizer.json``, which holds."""
    if len(files) < 2:
        return
    entries = tuple(_entries(files[1]))
    if entries == specification.vocabulary:
        return
    ids, entries = specification.ids(), canonical_vocabulary(entries)
    others = [entry for index, entry in enumerate(entries) if entry and ids.get(entry) != index]
    if others:
        shown = ", ".join(map(short, others[:3]))
        say_once(f"{files[0]} holds, though {files[1].name} has {len(others):,} entries that it has not there, such as {shown}")


def _report_other_switches(specification: Specification, settings: TokenizerSettings, path: Path) -> None:
    """Say which switches of ``tokenizer.json`` do not hold."""
    if path.name != _FILE:
        return
    for field, value in settings.switches.items():
        if (other := getattr(specification, field)) not in (value, None):
            say_once(f"{path} means {field} = {other}; {value} holds, which tokenizer_config.json says")


def _report_capitals(specification: Specification, directory: Path) -> None:
    """Say what speaks against the lower-casing that holds: what ``config.json`` says, or entries that no text can have then."""
    model = read_json(directory / "config.json") if (directory / "config.json").exists() else {}
    if model.get("do_lower_case") is (not specification.lowercase):
        say_once(f"{directory / 'config.json'}: do_lower_case does not count there; text is {_casing(specification)}")
    n_capitals = sum(entry != entry.lower() and entry[0] != "[" for entry in specification.vocabulary)
    if specification.lowercase and n_capitals > _MANY_CAPITALS * len(specification.vocabulary):
        say_once(
            f"{directory}: text is {_casing(specification)}, though {n_capitals:,} entries of the vocabulary have capitals; "
            'if the model keeps them, write {"do_lower_case": false} into tokenizer_config.json'
        )


def _casing(specification: Specification) -> str:
    return "lower-cased" if specification.lowercase else "not lower-cased"


def write_specification(specification: Specification, directory: Path, max_length: int) -> None:
    """Write ``vocab.txt``, ``tokenizer.json`` and ``tokenizer_config.json``, the same bytes for the same tokenizer."""
    special = specification.special
    names = {f"{role}_token": name for role in ROLES if (name := getattr(special, role)) is not None}
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": specification.lowercase,
        "strip_accents": specification.strip_accents,
        "tokenize_chinese_chars": specification.split_chinese,
        "model_max_length": max_length,
        **names,
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _LINES).write_text("".join(f"{token}\n" for token in specification.vocabulary), encoding="utf-8")
    _dump(tokenizer_json(specification), directory / _FILE)
    _dump(settings, directory / "tokenizer_config.json")


def _dump(value: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

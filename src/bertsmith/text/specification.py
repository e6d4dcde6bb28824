"""Everything that determines a BERT tokenizer, and the files that hold it.

Files of others are data: ``tokenizer.json`` is read as JSON against a closed schema, never handed to the library that
would interpret it, and anything but BERT's WordPiece is refused by name.  Truncation and padding settings stored in such
a file belong to whoever stored them and do not apply.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

from bertsmith.errors import ArtifactError, DamagedError
from bertsmith.files import read_json

MAX_WORD_LENGTH = 100  # BERT's: a longer word becomes [UNK]
_MOST_TOKENS = 1 << 24
_ROLES = ("pad", "unk", "cls", "sep", "mask")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The names of the special tokens; ``mask`` is None for a foreign tokenizer without one."""

    pad: str = "[PAD]"
    unk: str = "[UNK]"
    cls: str = "[CLS]"
    sep: str = "[SEP]"
    mask: str | None = "[MASK]"

    def names(self) -> list[str]:
        """Return the names that there are."""
        return [name for name in (self.pad, self.unk, self.cls, self.sep, self.mask) if name is not None]


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token matched in the text before WordPiece sees it; the flags are those of ``tokenizers.AddedToken``."""

    id: int
    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = True


@dataclass(frozen=True, slots=True)
class Specification:
    """A BERT tokenizer as plain values.

    ``vocabulary`` holds one entry an id; the empty string marks an id that no text maps to (a blank line or an earlier
    duplicate in ``vocab.txt``). ``strip_accents`` None means the same as ``lowercase``.
    """

    vocabulary: tuple[str, ...]
    lowercase: bool
    strip_accents: bool | None
    split_chinese: bool
    clean: bool = True
    max_word_length: int = MAX_WORD_LENGTH
    special: SpecialTokens = SpecialTokens()
    added: tuple[AddedToken, ...] = ()

    def ids(self) -> dict[str, int]:
        """Return token -> id."""
        return {token: index for index, token in enumerate(self.vocabulary)}


def canonical_vocabulary(entries: Sequence[str]) -> tuple[str, ...]:
    """Blank all but the last of duplicate entries: the last is the one that counts, as in BERT's own reader."""
    last = {entry: index for index, entry in enumerate(entries)}
    return tuple(entry if last[entry] == index else "" for index, entry in enumerate(entries))


def with_special_tokens(specification: Specification, source: str) -> Specification:
    """Check that the special tokens exist and make sure that they are matched in the text.

    Raises:
        ArtifactError: names the missing ones; a missing mask token alone is allowed, since foreign models may lack it.
    """
    ids = specification.ids() | {token.content: token.id for token in specification.added}
    special = specification.special
    if special.mask not in ids:
        special = replace(special, mask=None)
    missing = [name for name in special.names() if name not in ids or not name]
    if special.unk not in specification.vocabulary and special.unk not in missing:
        missing.append(special.unk)  # WordPiece itself answers with it, so being an added token is not enough
    if missing:
        raise ArtifactError(f"{source}: the vocabulary lacks the special tokens {', '.join(missing)}")
    known = {token.content for token in specification.added}
    new = [AddedToken(ids[name], name) for name in special.names() if name not in known]
    added = sorted((*specification.added, *new), key=lambda token: token.id)
    return replace(specification, special=special, added=tuple(added))


def read_specification(path: Path) -> Specification:
    """Read a tokenizer from a directory, a ``tokenizer.json`` or a bare ``vocab.txt`` (uncased).

    In a directory ``tokenizer.json`` is preferred to ``vocab.txt``; switches and special names that
    ``tokenizer_config.json`` states explicitly win over both, as in transformers.

    Raises:
        ArtifactError: nothing there, not a BERT tokenizer, or special tokens missing.
        DamagedError: a file is not what its name says.
    """
    settings: dict[str, Any] = {}
    file = path
    if path.is_dir():
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if (path / name).exists():
                settings |= read_json(path / name)
        found = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).exists()]
        if not found:
            raise ArtifactError(f"{path} holds no tokenizer: neither tokenizer.json nor vocab.txt is there")
        file = found[0]
    elif not path.exists():
        raise ArtifactError(f"{path} does not exist; give a tokenizer directory, a tokenizer.json or a vocab.txt")
    specification = _read_tokenizer_json(file) if file.suffix == ".json" else _read_vocab_txt(file)
    return with_special_tokens(_with_settings(specification, settings, path), str(path))


def _with_settings(specification: Specification, settings: Mapping[str, Any], source: Path) -> Specification:
    """Apply what ``tokenizer_config.json`` and ``special_tokens_map.json`` say explicitly."""
    switches = {"do_lower_case": "lowercase", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_chinese"}
    changes: dict[str, Any] = {}
    for key, field in switches.items():
        value = settings.get(key)
        if type(value) is bool:
            changes[field] = value
        elif value is not None:
            raise ArtifactError(f"{source}/tokenizer_config.json: {key} = {value!r} where true or false is expected")
    names: dict[str, str] = {}
    for role in _ROLES:
        value = settings.get(f"{role}_token")
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            names[role] = value
        elif value is not None:
            raise ArtifactError(f"{source}/tokenizer_config.json: {role}_token = {value!r} where a token is expected")
    return replace(specification, special=replace(specification.special, **names), **changes)


def _read_vocab_txt(path: Path) -> Specification:
    """Read one entry a line; a bare vocabulary is uncased, which is what BERT's readers take it for."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path} is not a vocabulary: invalid UTF-8 at byte {error.start}") from None
    entries = [line.rstrip() for line in text.removesuffix("\n").split("\n")]
    return Specification(canonical_vocabulary(entries), lowercase=True, strip_accents=None, split_chinese=True)


_Types = type | tuple[type, ...]
_TOP: dict[str, _Types] = {
    "version": (str, NoneType),
    "truncation": (dict, NoneType),
    "padding": (dict, NoneType),
    "added_tokens": list,
    "normalizer": (dict, NoneType),
    "pre_tokenizer": (dict, NoneType),
    "post_processor": (dict, NoneType),
    "decoder": (dict, NoneType),
    "model": dict,
}
_ADDED: dict[str, _Types] = {
    "id": int,
    "content": str,
    "single_word": bool,
    "lstrip": bool,
    "rstrip": bool,
    "normalized": bool,
    "special": bool,
}
_PARTS: dict[str, dict[str, _Types]] = {
    "BertNormalizer": {
        "clean_text": bool,
        "handle_chinese_chars": bool,
        "strip_accents": (bool, NoneType),
        "lowercase": bool,
    },
    "BertPreTokenizer": {},
    "BertProcessing": {"sep": list, "cls": list},
    "TemplateProcessing": {"single": list, "pair": list, "special_tokens": dict},
    "WordPiece model": {
        "unk_token": str,
        "continuing_subword_prefix": str,
        "max_input_chars_per_word": int,
        "vocab": dict,
    },
    "WordPiece decoder": {"prefix": str, "cleanup": bool},
}


def _closed(value: Any, where: str, fields: Mapping[str, _Types]) -> dict[str, Any]:
    """Return ``value`` when it is an object with exactly ``fields``, each of its type."""
    if not isinstance(value, dict):
        raise ArtifactError(f"{where} is {_short(value)} where an object is expected")
    for key in value:
        if key not in fields:
            raise ArtifactError(f"{where}: unknown key {_short(key)}")
    for key, types in fields.items():
        if key not in value:
            raise ArtifactError(f"{where}: {key} is missing")
        if type(value[key]) not in (types if isinstance(types, tuple) else (types,)):
            raise ArtifactError(f"{where}: {key} is {_short(value[key])}, of the wrong type")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _part(document: Mapping[str, Any], name: str, kinds: Sequence[str], source: Path) -> dict[str, Any] | None:
    """Return the part ``name`` when it is one of ``kinds`` and well formed, or None when the file has null there."""
    part = document[name]
    if part is None:
        return None
    kind = part.get("type")
    if kind is None and name == "model":  # files written before 2021 do not say
        kind = "BPE" if "merges" in part else "Unigram" if isinstance(part.get("vocab"), list) else "WordPiece"
    if kind not in kinds:
        raise ArtifactError(f"{source}: {name} is {_short(kind)}; bertsmith reads {' or '.join(kinds)}")
    fields = _PARTS.get(kind) if kind in _PARTS else _PARTS[f"{kind} {name}"]
    assert fields is not None
    rest = {key: value for key, value in part.items() if key != "type"}
    return _closed(rest, f"{source}: {name}", fields) | {"type": kind}


def _read_tokenizer_json(path: Path) -> Specification:
    document = {"version": None, "truncation": None, "padding": None, "added_tokens": []} | read_json(path)
    document = _closed(document, str(path), _TOP)
    model = _part(document, "model", ["WordPiece"], path)
    normalizer = _part(document, "normalizer", ["BertNormalizer"], path)
    decoder = _part(document, "decoder", ["WordPiece"], path)
    processor = _part(document, "post_processor", ["TemplateProcessing", "BertProcessing"], path)
    assert model is not None
    if _part(document, "pre_tokenizer", ["BertPreTokenizer"], path) is None:
        raise ArtifactError(f"{path}: pre_tokenizer is null; bertsmith reads BertPreTokenizer")
    for prefix in (model["continuing_subword_prefix"], decoder["prefix"] if decoder else "##"):
        if prefix != "##":
            raise ArtifactError(f"{path}: pieces inside a word begin with {prefix!r}; bertsmith reads '##'")
    if not 0 < model["max_input_chars_per_word"] < _MOST_TOKENS:
        raise ArtifactError(f"{path}: max_input_chars_per_word = {model['max_input_chars_per_word']} is out of range")
    cls, sep = _processor_tokens(processor, path)
    return Specification(
        vocabulary=_vocabulary(model["vocab"], path),
        lowercase=bool(normalizer and normalizer["lowercase"]),
        strip_accents=normalizer["strip_accents"] if normalizer else None,
        split_chinese=bool(normalizer and normalizer["handle_chinese_chars"]),
        clean=bool(normalizer and normalizer["clean_text"]),
        max_word_length=model["max_input_chars_per_word"],
        special=SpecialTokens(unk=model["unk_token"], cls=cls, sep=sep),
        added=tuple(AddedToken(**_closed(token, f"{path}: added_tokens", _ADDED)) for token in document["added_tokens"]),
    )


def _vocabulary(ids: Mapping[str, Any], source: Path) -> tuple[str, ...]:
    """Return the entries by id; ids that the file skips are blank."""
    entries: dict[int, str] = {}
    for token, index in ids.items():
        if type(index) is not int or not 0 <= index < _MOST_TOKENS:
            raise ArtifactError(f"{source}: model.vocab: {_short(token)} has the id {_short(index)}")
        if index in entries:
            raise ArtifactError(f"{source}: model.vocab: {_short(token)} and {_short(entries[index])} share the id {index}")
        entries[index] = token
    return tuple(entries.get(index, "") for index in range(max(entries, default=-1) + 1))


def _processor_tokens(processor: Mapping[str, Any] | None, source: Path) -> tuple[str, str]:
    """Return the names of the first and the closing token; anything but BERT's ``[CLS] A [SEP] B [SEP]`` is refused."""
    if processor is None:
        return SpecialTokens().cls, SpecialTokens().sep
    refusal = ArtifactError(f"{source}: post_processor does not make [CLS] A [SEP] or [CLS] A [SEP] B [SEP] as BERT does")
    try:
        if processor["type"] == "BertProcessing":
            return _text(processor["cls"][0]), _text(processor["sep"][0])
        pieces = [next(iter(piece.values())) for piece in processor["pair"]]
        cls, sep = _text(pieces[0]["id"]), _text(pieces[2]["id"])
        if processor["single"] != _template(cls, sep)[:3] or processor["pair"] != _template(cls, sep):
            raise refusal
    except (IndexError, KeyError, TypeError, AttributeError, StopIteration):
        raise refusal from None
    return cls, sep


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _template(cls: str, sep: str) -> list[dict[str, Any]]:
    return [
        {"SpecialToken": {"id": cls, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": sep, "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 1}},
        {"SpecialToken": {"id": sep, "type_id": 1}},
    ]


def write_specification(specification: Specification, directory: Path, max_length: int) -> None:
    """Write ``vocab.txt``, ``tokenizer.json`` and ``tokenizer_config.json``, the same bytes for the same tokenizer."""
    special = specification.special
    names = {f"{role}_token": name for role in _ROLES if (name := getattr(special, role)) is not None}
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": specification.lowercase,
        "strip_accents": specification.strip_accents,
        "tokenize_chinese_chars": specification.split_chinese,
        "model_max_length": max_length,
        **names,
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in specification.vocabulary), encoding="utf-8")
    _dump(_tokenizer_json(specification), directory / "tokenizer.json")
    _dump(settings, directory / "tokenizer_config.json")


def _dump(value: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _tokenizer_json(specification: Specification) -> dict[str, Any]:
    special = specification.special
    ids = specification.ids() | {token.content: token.id for token in specification.added}
    cls, sep = special.cls, special.sep
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [asdict(token) for token in specification.added],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": specification.clean,
            "handle_chinese_chars": specification.split_chinese,
            "strip_accents": specification.strip_accents,
            "lowercase": specification.lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": _template(cls, sep)[:3],
            "pair": _template(cls, sep),
            "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (cls, sep)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": special.unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": specification.max_word_length,
            "vocab": specification.ids(),
        },
    }

"""``tokenizer.json``, read and written.

Files of others are data: this one is read as JSON against a closed schema, never handed to the library that would interpret
it, and anything but BERT's WordPiece is refused by name. Truncation and padding settings stored in such a file belong to
whoever stored them and do not apply.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any

from bertsmith.errors import ArtifactError
from bertsmith.files import read_json
from bertsmith.text.specification import MOST_TOKENS, AddedToken, SpecialTokens, Specification, short

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
        raise ArtifactError(f"{where} is {short(value)} where an object is expected")
    for key in value:
        if key not in fields:
            raise ArtifactError(f"{where}: unknown key {short(key)}")
    for key, types in fields.items():
        if key not in value:
            raise ArtifactError(f"{where}: {key} is missing")
        if type(value[key]) not in (types if isinstance(types, tuple) else (types,)):
            raise ArtifactError(f"{where}: {key} is {short(value[key])}, of the wrong type")
    return value


def _part(document: Mapping[str, Any], name: str, kinds: Sequence[str], source: Path) -> dict[str, Any] | None:
    """Return the part ``name`` when it is one of ``kinds`` and well formed, or None when the file has null there."""
    part = document[name]
    if part is None:
        return None
    kind = part.get("type")
    if kind is None and name == "model":  # files written before 2021 do not say
        kind = "BPE" if "merges" in part else "Unigram" if isinstance(part.get("vocab"), list) else "WordPiece"
    if kind not in kinds:
        raise ArtifactError(f"{source}: {name} is {short(kind)}; bertsmith reads {' or '.join(kinds)}")
    fields = _PARTS.get(kind) if kind in _PARTS else _PARTS[f"{kind} {name}"]
    assert fields is not None
    rest = {key: value for key, value in part.items() if key != "type"}
    return _closed(rest, f"{source}: {name}", fields) | {"type": kind}


def read_tokenizer_json(path: Path) -> Specification:
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
    if not 0 < model["max_input_chars_per_word"] < MOST_TOKENS:
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
        if type(index) is not int or not 0 <= index < MOST_TOKENS:
            raise ArtifactError(f"{source}: model.vocab: {short(token)} has the id {short(index)}")
        if index in entries:
            raise ArtifactError(f"{source}: model.vocab: {short(token)} and {short(entries[index])} share the id {index}")
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


def tokenizer_json(specification: Specification) -> dict[str, Any]:
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

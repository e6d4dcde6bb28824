"""What the small files beside a vocabulary say of a tokenizer.

``tokenizer_config.json``, ``special_tokens_map.json`` and ``added_tokens.json`` are read as transformers 5 reads them. Where
the first one lists ``added_tokens_decoder``, the other two do not count; else the second holds over the first.
What a file says is heeded, or refused by name, or said to be passed over.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertsmith.errors import ArtifactError
from bertsmith.files import read_json
from bertsmith.notices import say_once
from bertsmith.text.specification import MOST_TOKENS, NEXT_ID, ROLES, AddedToken, short

_CONFIG, _MAP, _ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
_SWITCHES = {"do_lower_case": "lowercase", "strip_accents": "strip_accents", "tokenize_chinese_chars": "split_chinese"}
# In the order in which transformers gives ids to those that the vocabulary lacks; other names ending so come behind them.
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTS = ("extra_special_tokens", "additional_special_tokens")
_MAPPINGS = ("model_specific_special_tokens", "extra_special_tokens")
# Classes that are BERT's tokenizer under other names, without "Fast" at their end.
_CLASSES = {
    *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "ConvBertTokenizer", "MobileBertTokenizer"),
    *("SqueezeBertTokenizer", "LxmertTokenizer", "RetriBertTokenizer", "RealmTokenizer", "LayoutLMTokenizer"),
    *("DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer", "DPRReaderTokenizer"),
    *("PreTrainedTokenizer", "TokenizersBackend"),  # whatever tokenizer.json says
}
# Values that mean what bertsmith does; with any other the tokenizer is another one.
_REQUIRED: dict[str, tuple[Any, ...]] = {
    "split_special_tokens": (False, None),
    "wordpieces_prefix": ("##", None),
    "word_tokenizer_type": ("basic", None),
    "subword_tokenizer_type": ("wordpiece", None),
    "auto_map": (None, {}),
}
# Values that make no difference; transformers' tokenizers do not heed others either, or only for cutting and padding.
_USUAL: dict[str, tuple[Any, ...]] = {
    "do_basic_tokenize": (True, None),
    "never_split": (None, []),
    "clean_text": (True, None),
    "truncation_side": ("right", None),
}
_FLAGS = {"single_word", "lstrip", "rstrip", "normalized", "special"}
_NEUTRAL = {
    *("tokenizer_class", "name_or_path", "_name_or_path", "special_tokens_map_file", "tokenizer_file", "vocab_file", "backend"),
    *("is_local", "local_files_only", "processor_class", "model_input_names", "model_max_length", "max_len", "max_length"),
    *("stride", "truncation_strategy", "pad_to_multiple_of", "pad_token_type_id", "padding_side", "padding", "truncation"),
    *("clean_up_tokenization_spaces", "from_slow", "use_fast", "init_inputs", "chat_template", "verbose", "errors"),
    *("_commit_hash", "added_tokens_decoder", "transformers_version", "full_tokenizer_file", "files_loaded", "_from_auto"),
    *("return_token_type_ids", "model_type", "user_agent"),
}


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """What a directory says besides its vocabulary.

    ``switches`` are fields of a :class:`~bertsmith.text.specification.Specification`, ``roles`` names of special tokens;
    ``flagged`` tokens and ``tokens`` are matched in the text whole. Of the latter, which come in the order in which those
    without an id get the next one, ``tokenizer.json`` may know more.
    """

    switches: Mapping[str, Any]
    roles: Mapping[str, str]
    flagged: tuple[AddedToken, ...]
    tokens: tuple[AddedToken, ...]


def read_settings(directory: Path) -> TokenizerSettings:
    """Read the files of ``directory``, each of which may be absent.

    Raises:
        ArtifactError: they mean a tokenizer that is not BERT's, or a value has the wrong type.
    """
    config, special, added = (_read(directory / name) for name in (_CONFIG, _MAP, _ADDED))
    _check_class(directory, config)
    _check_values(directory / _CONFIG, config)
    _report_unknown(directory, config, special)
    path, decoder = directory / _CONFIG, config.get("added_tokens_decoder")
    # Of names other than the usual ones, transformers lets plain strings of tokenizer_config.json hold, and takes them last.
    own = {key: value for key, value in config.items() if isinstance(value, str) and key not in _NAMED}
    settings = config if decoder is not None else config | special | own
    named = {key: _token(path, key, value) for key, value in settings.items() if key.endswith("_token") and value is not None}
    named.setdefault("mask_token", AddedToken(NEXT_ID, "[MASK]"))
    others = sorted(named.keys() - set(_NAMED), key=lambda key: (key in own, list(named).index(key)))
    extra = _listed(path, config)
    if decoder is None:
        extra += _listed(path, special, _LISTS[:1])
        # added_tokens.json does not say which of its tokens are special; additional ones of the map do not count here.
        names = {token.content for token in (*(named[key] for key in _NAMED if key in named), *extra)}
        flagged, placed = [], _placed_by_name(directory / _ADDED, added, names)
        extra = extra or _listed(path, special)
    else:
        flagged, placed = _placed_by_id(path, decoder), []
    specials = [*(named[key] for key in (*_NAMED, *others) if key in named), *_mapped(path, config), *extra]
    roles = {role: named[f"{role}_token"].content for role in ROLES if f"{role}_token" in named}
    found = TokenizerSettings(_switches(path, config), roles, tuple(flagged), (*placed, *specials))
    _report_contradictions(directory, found, special, added)
    return found


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _check_class(directory: Path, config: Mapping[str, Any]) -> None:
    """Refuse a tokenizer of another class than BERT's; where ``tokenizer_config.json`` names none, ``config.json`` may."""
    for path, values in ((directory / _CONFIG, config), (directory / "config.json", _read(directory / "config.json"))):
        name = values.get("tokenizer_class")
        if name is None:
            continue
        if not isinstance(name, str) or name.removesuffix("Fast") not in _CLASSES:
            raise ArtifactError(
                f"{path}: tokenizer_class = {short(name)} is not BERT's WordPiece tokenizer; bertsmith reads BertTokenizer"
            )
        return


def _check_values(path: Path, config: Mapping[str, Any]) -> None:
    for key, allowed in _REQUIRED.items():
        if config.get(key, allowed[0]) not in allowed:
            raise ArtifactError(f"{path}: {key} = {short(config[key])} is another tokenizer than BERT's, which bertsmith reads")


def _report_unknown(directory: Path, config: Mapping[str, Any], special: Mapping[str, Any]) -> None:
    for key, usual in _USUAL.items():
        if config.get(key, usual[0]) not in usual:
            say_once(f"{directory / _CONFIG}: {key} = {short(config[key])} is passed over, as in transformers' fast tokenizers")
    known = {*_NEUTRAL, *_SWITCHES, *_LISTS, *_MAPPINGS, *_REQUIRED, *_USUAL}
    for name, values in ((_CONFIG, config), (_MAP, special)):
        if unknown := [key for key in values if key not in known and not key.endswith(("_token", "_token_id"))]:
            say_once(f"{directory / name}: bertsmith passes over what it does not know: {', '.join(map(short, unknown))}")


def _switches(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    for key in _SWITCHES:
        if type(config.get(key)) not in (bool, type(None)):
            raise ArtifactError(f"{path}: {key} = {short(config[key])} where true or false is expected")
    return {field: config[key] for key, field in _SWITCHES.items() if config.get(key) is not None}


def _token(path: Path, key: str, value: Any, number: int = NEXT_ID) -> AddedToken:
    """Return a token that is given by its name, or by its name and its flags."""
    flags = dict(value) if isinstance(value, dict) else {"content": value}
    flags.pop("__type", None)
    content = flags.pop("content", None)
    is_special = flags.setdefault("special", True)
    flags.setdefault("normalized", not is_special)
    if not isinstance(content, str) or not content or not flags.keys() <= _FLAGS or not {*map(type, flags.values())} <= {bool}:
        raise ArtifactError(f"{path}: {key} = {short(value)} where a token is expected")
    return AddedToken(number, content, **flags)


def _listed(path: Path, values: Mapping[str, Any], keys: Iterable[str] = _LISTS) -> list[AddedToken]:
    """Return the tokens of the first of ``keys`` that lists any."""
    for key in keys:
        listed = values.get(key)
        if isinstance(listed, list) and listed:
            return [_token(path, key, value) for value in listed]
        if listed and not (isinstance(listed, dict) and key in _MAPPINGS):
            raise ArtifactError(f"{path}: {key} = {short(listed)} where a list of tokens is expected")
    return []


def _mapped(path: Path, values: Mapping[str, Any]) -> list[AddedToken]:
    """Return the tokens that have names of their own."""
    found = [(key, values[key]) for key in _MAPPINGS if isinstance(values.get(key), dict)]
    return [_token(path, key, value) for key, tokens in found for value in tokens.values()]


def _placed_by_name(path: Path, added: Mapping[str, Any], special: Collection[str]) -> list[AddedToken]:
    tokens = sorted((_placed(path, number, content) for content, number in added.items()), key=lambda token: token.id)
    return [replace(token, special=token.content in special, normalized=token.content not in special) for token in tokens]


def _placed_by_id(path: Path, decoder: Any) -> list[AddedToken]:
    if not isinstance(decoder, dict):
        raise ArtifactError(f"{path}: added_tokens_decoder = {short(decoder)} where an object is expected")
    numbered = ((int(key) if key.isascii() and key.isdigit() else key, value) for key, value in decoder.items())
    tokens = [
        _placed(path, number, {"special": False, "normalized": True, **value} if isinstance(value, dict) else value)
        for number, value in numbered
    ]
    return sorted(tokens, key=lambda token: token.id)


def _placed(path: Path, number: Any, value: Any) -> AddedToken:
    if type(number) is not int or not 0 <= number < MOST_TOKENS:
        raise ArtifactError(f"{path}: the added token {short(value)} has the id {short(number)}")
    return _token(path, str(number), value, number)


def _report_contradictions(
    directory: Path, found: TokenizerSettings, special: Mapping[str, Any], added: Mapping[str, Any]
) -> None:
    """Say which tokens of the files that do not count the others lack."""
    names = {token.content for token in (*found.flagged, *found.tokens)}
    path = directory / _MAP
    listed = [token.content for key in _LISTS for token in _listed(path, special, [key])]
    named = [_token(path, key, value).content for key, value in special.items() if key.endswith("_token") and value is not None]
    for file, contents in ((path, [*named, *listed]), (directory / _ADDED, added)):
        if passed_over := [content for content in contents if content not in names]:
            say_once(f"{file}: passed over, since {_CONFIG} says otherwise: {', '.join(map(short, passed_over))}")

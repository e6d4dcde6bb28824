"""How a directory of sentence-transformers says what it makes vectors of: ``modules.json`` and the files that it names.

Only plain values are taken from them. Names of classes are compared with the few that mean what bertsmith computes; no name
of a file or a class is followed anywhere else.
"""

import json
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic

from bertsmith.artifacts.configuration import read_shape
from bertsmith.config import Config
from bertsmith.errors import ArtifactError, ConfigError, DamagedError, MismatchError
from bertsmith.files import exists, read_json, write_json
from bertsmith.model.heads.pooling import Pooling, SentenceVectors
from bertsmith.notices import say_once
from bertsmith.text.specification import short
from bertsmith.text.tokenizer import Tokenizer

MODULES = "modules.json"
_TRANSFORMER_FILE, _TOKENIZER_FILE, _OWN_FILE = (
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "config_sentence_transformers.json",
)
_OWN_KEYS = {"__version__", "prompts", "default_prompt_name", "similarity_fn_name", "model_type", "requirements"}
# The names before version 6 of sentence-transformers, which every version reads, and those since.
_CLASSES = {
    "sentence_transformers.models.Transformer": "Transformer",
    "sentence_transformers.models.Pooling": "Pooling",
    "sentence_transformers.models.Normalize": "Normalize",
    "sentence_transformers.base.modules.transformer.Transformer": "Transformer",
    "sentence_transformers.sentence_transformer.modules.pooling.Pooling": "Pooling",
    "sentence_transformers.base.modules.normalize.Normalize": "Normalize",
}
_CHAIN = ["Transformer", "Pooling", "Normalize"]
_FOLDER = re.compile(r"\w[\w.-]*")
_POOLINGS: dict[str, Pooling] = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}

C = TypeVar("C", bound=Config)


class _Module(Config):
    """An entry of ``modules.json``."""

    idx: int
    name: str
    path: str
    type: str


_TEXT_ALONE = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


class _Transformer(Config):
    """``sentence_bert_config.json``; from version 6 on the length is in ``tokenizer_config.json`` alone."""

    max_seq_length: int | None = pydantic.Field(default=None, gt=2)
    do_lower_case: bool = False
    transformer_task: Literal["feature-extraction"] = "feature-extraction"
    modality_config: dict[str, dict[str, str]] = pydantic.Field(default_factory=lambda: _TEXT_ALONE)
    module_output_name: Literal["token_embeddings"] = "token_embeddings"
    unpad_inputs: bool | None = None


class _Pooling(Config):
    """``1_Pooling/config.json``: one mode by name, or before version 6 a switch for each of them."""

    embedding_dimension: int | None = None
    word_embedding_dimension: int | None = None
    pooling_mode: str | list[str] | None = None
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False
    include_prompt: Literal[True] = True


class _Normalize(Config):
    """``2_Normalize/config.json``, which is written from version 6 on."""

    module_input_name: Literal["sentence_embedding"] = "sentence_embedding"
    module_output_name: Literal["sentence_embedding"] = "sentence_embedding"


def read_sentence_modules(directory: Path) -> tuple[SentenceVectors, int | None]:
    """Return how the model directory makes a text's vector, and how many tokens of the text it reads (None: all it can).

    A directory without ``modules.json`` has the plain mean.

    Raises:
        ArtifactError: it has a part that bertsmith does not compute, such as a dense layer behind the pooling.
        DamagedError: a file is not what sentence-transformers writes.
        MismatchError: the pooling is of vectors of another width than the model's.
    """
    if not exists(directory / MODULES):
        return SentenceVectors(), None
    modules = _read_modules(directory / MODULES)
    shape = read_shape(directory)
    vectors = SentenceVectors(_read_pooling(directory / modules[1].path / "config.json", shape.width), len(modules) > 2)
    if vectors.normalised and (directory / modules[2].path / "config.json").exists():
        _read(_Normalize, directory / modules[2].path / "config.json")
    _check_own(directory / _OWN_FILE)
    return vectors, _read_length(directory, shape.max_positions)


def _read_modules(path: Path) -> list[_Module]:
    """Return the entries of ``modules.json``: the model, its pooling, and the third where it normalises."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DamagedError(f"{path} is no list of modules")
    modules = [_checked(_Module, value, f"{path}, module {number}") for number, value in enumerate(values)]
    kinds = [_CLASSES.get(module.type) for module in modules]
    if None in kinds or kinds not in (_CHAIN[:2], _CHAIN):
        raise ArtifactError(
            f"{path} names the modules {', '.join(module.type for module in modules) or 'of none'}; bertsmith computes "
            f"a {' and a '.join(_CHAIN[:2])}, with or without a {_CHAIN[2]} behind them, of sentence-transformers' own"
        )
    if modules[0].path:
        raise ArtifactError(
            f"{path} has its model in {modules[0].path!r}; bertsmith reads one that stands beside {MODULES}: move it there"
        )
    for module in modules[1:]:
        if not _FOLDER.fullmatch(module.path):
            raise ArtifactError(f"{path}: path = {module.path!r} is not the name of a folder beside it")
    return modules


def _read_pooling(path: Path, width: int) -> Pooling:
    config = _read(_Pooling, path)
    named_width = config.embedding_dimension or config.word_embedding_dimension
    if named_width not in (None, width):
        raise MismatchError(f"{path} pools vectors of width {named_width}; those of the model have width {width}")
    switched = [name.removeprefix("pooling_mode_") for name, value in config if value is True and name != "include_prompt"]
    named = config.pooling_mode or switched or "mean"
    modes = [named] if isinstance(named, str) else named
    found = [pooling for name, pooling in _POOLINGS.items() if modes in ([name], [pooling])]
    if not found:
        raise ArtifactError(f"{path}: the pooling {' + '.join(modes)} is not one of {', '.join(_POOLINGS.values())}")
    return found[0]


def _read_length(directory: Path, max_positions: int) -> int | None:
    """Return the number of tokens read of a text, special ones included, where it is said."""
    path = directory / _TRANSFORMER_FILE
    config = _read(_Transformer, path) if path.exists() else _Transformer()
    if config.modality_config != _TEXT_ALONE:
        raise ArtifactError(f"{path}: modality_config = {config.modality_config}; bertsmith reads text alone")
    if config.do_lower_case and not Tokenizer.load(directory).lowercase:
        raise ArtifactError(
            f"{path}: do_lower_case = true, though the tokenizer keeps capitals; set it in {_TOKENIZER_FILE} too"
        )
    length = config.max_seq_length
    if length is None and (directory / _TOKENIZER_FILE).exists():
        length = read_json(directory / _TOKENIZER_FILE).get("model_max_length")
    if length is None:
        return None
    # Where no length is meant, transformers writes 10^30, which it may have read back as a float.
    if not isinstance(length, int | float) or not length > 2:
        raise DamagedError(f"{directory / _TOKENIZER_FILE}: model_max_length = {length!r} is no length of a text")
    return int(min(length, max_positions))


def _check_own(path: Path) -> None:
    """Refuse a prompt before every text, and say what else is passed over."""
    values = read_json(path) if path.exists() else {}
    if values.get("similarity_fn_name") not in (None, "cosine"):
        say_once(
            f"{path}: similarity_fn_name = {short(values['similarity_fn_name'])}; bertsmith compares vectors by their cosine"
        )
    if unknown := sorted(values.keys() - _OWN_KEYS):
        say_once(f"{path}: bertsmith passes over what it does not know: {', '.join(map(short, unknown))}")
    name, prompts = values.get("default_prompt_name"), values.get("prompts")
    if isinstance(name, str) and isinstance(prompts, dict) and prompts.get(name):
        raise ArtifactError(
            f"{path}: default_prompt_name = {name!r} puts {prompts[name]!r} before every text, which bertsmith does not; "
            "set it to null and put the prompt there yourself"
        )


def _read(kind: type[C], path: Path) -> C:
    return _checked(kind, read_json(path), str(path))


def _checked(kind: type[C], values: dict[str, Any], source: str) -> C:
    try:
        return kind.from_values(values, source)
    except ConfigError as error:
        raise ArtifactError(str(error)) from None


def write_sentence_modules(directory: Path, vectors: SentenceVectors, width: int, max_length: int) -> None:
    """Write what makes a model directory one of sentence-transformers too, in the layout that all its versions read."""
    names = _CHAIN[: 3 if vectors.normalised else 2]
    folders = ["", *(f"{place}_{name}" for place, name in enumerate(names) if place)]
    modules = [
        {"idx": place, "name": str(place), "path": folder, "type": f"sentence_transformers.models.{name}"}
        for place, (name, folder) in enumerate(zip(names, folders, strict=True))
    ]
    for folder in folders:
        (directory / folder).mkdir(exist_ok=True)
    (directory / MODULES).write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    switches = {f"pooling_mode_{name}": pooling == vectors.pooling for name, pooling in _POOLINGS.items()}
    write_json(directory / folders[1] / "config.json", {"word_embedding_dimension": width, **switches})
    if vectors.normalised:
        # Without a file, no version control and no copying by files would keep the folder.
        write_json(directory / folders[2] / "config.json", dict(_Normalize()))
    write_json(directory / _TRANSFORMER_FILE, {"max_seq_length": max_length, "do_lower_case": False})
    write_json(directory / _OWN_FILE, {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"})

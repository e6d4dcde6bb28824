"""Models of the Hugging Face hub: ``hub:NAME[@REVISION]`` in place of a model directory."""

import re
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from bertsmith.errors import ArtifactError, UsageError

C = TypeVar("C", bound=pydantic.BaseModel)
_PREFIX = "hub:"
_NAME = r"[\w.-]{1,96}(?:/[\w.-]{1,96})?"
_ADDRESS = re.compile(rf"{_PREFIX}(?P<name>{_NAME})(?:@(?P<revision>[\w./-]+))?")
# The settings of commands that name a directory to read from.
_FIELDS = ("model", "models", "retriever", "ranker", "against", "tokenizer", "path", "source")
_FILES = ["*.json", "*.safetensors", "vocab.txt", "README.md"]
_PICKLES = ["pytorch_model*.bin*"]
_EXPORTS = ["onnx/*", "openvino/*", "coreml/*", "*.onnx*"]


def hint(path: Path) -> str:
    """Return what to say besides where ``path``, which does not exist, may be a model's name on the hub."""
    if str(path).startswith(_PREFIX):
        return f"; in Python, bertsmith.hub.fetch({str(path)!r}) gives the directory"
    if not re.fullmatch(_NAME, str(path)) or (path.parent != Path() and path.parent.is_dir()):
        return ""
    return f"; if it is a model of the Hugging Face hub, write {_PREFIX}{path} on the command line, which fetches it"


def with_fetched(config: C) -> C:
    """Return a command's configuration with the directories of those models that it names by their address on the hub.

    Raises:
        UsageError: an address is none, or the package that fetches is not installed.
        ArtifactError: there is no such model, or no network and the model was never fetched.
    """
    changes: dict[str, Any] = {}
    for name in set(_FIELDS) & set(type(config).model_fields):
        value = getattr(config, name)
        if isinstance(value, tuple):
            changes[name] = tuple(map(_directory, value))
        elif isinstance(value, str | Path):
            changes[name] = _directory(value)
    return config.model_copy(update={name: value for name, value in changes.items() if value != getattr(config, name)})


def _directory(place: Any) -> Any:
    return type(place)(fetch(str(place))) if str(place).startswith(_PREFIX) else place


def fetch(address: str) -> Path:
    """Return the directory of a model of the hub, fetched unless it lies in the hub's cache; raises as :func:`with_fetched`."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError(f"{address} does not say which model is meant; write hub:NAME or hub:NAME@REVISION")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UsageError(f"fetching {address} needs the huggingface_hub package: pip install 'bertsmith[hub]'") from None
    name, revision = match["name"], match["revision"]
    try:
        found = Path(snapshot_download(name, revision=revision, allow_patterns=_FILES, ignore_patterns=_EXPORTS))
        if not any(found.glob("*.safetensors")):
            snapshot_download(name, revision=revision, allow_patterns=_PICKLES)
    except (OSError, ValueError) as error:  # what the package raises for a name, a network or a permission
        reason = next((line.strip(" .") for line in str(error).splitlines() if line.strip()), type(error).__name__)
        remedy = "check the name and the network, or fetch the files elsewhere and give their directory"
        raise ArtifactError(f"cannot fetch {address}: {reason.removeprefix('Got: ')}; {remedy}") from None
    return found


def name_in_cache(directory: Path) -> str | None:
    """Return the name on the hub of a model whose directory lies in the hub's cache, ``models--OWNER--NAME/snapshots/…``."""
    for parent in directory.parents:
        if parent.name.startswith("models--") and directory.parent.name == "snapshots":
            return parent.name.removeprefix("models--").replace("--", "/", 1)
    return None

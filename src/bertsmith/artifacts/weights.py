"""The weights of a model directory: one safetensors file, or several with an index."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from bertsmith.artifacts.keymap import canonical_names
from bertsmith.errors import ArtifactError, DamagedError
from bertsmith.files import exists, read_json, sha256

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

_CONVERT = "which bertsmith never loads; run: bertsmith convert {directory} NEW_DIRECTORY"
_WITH_TRANSFORMERS = "; open it with transformers 4 (from_pretrained with from_{kind}=True) and save_pretrained it"
_SAVE = "; save its model with save_pretrained"
_ADAPTER = "; it holds no model of its own: merge it into its base model with peft (merge_and_unload) and save_pretrained that"
_EXPORTED = ", an export of a model; get the directory that it was made from"
_RENAME = "; rename it to {name}, if it holds the weights"
# What other tools leave in place of weights that can be read, and what to do about it.
_FOREIGN = {
    PICKLE: "holds its weights as a pickle ({0}), " + _CONVERT,
    PICKLE_INDEX: "holds its weights as pickles ({0}), " + _CONVERT,
    "model-*-of-*.safetensors": "has shards such as {0} without the index that lists them, " + INDEX + "; fetch it whole",
    "*adapter*": "is an adapter ({0})" + _ADAPTER,
    "tf_model*.h5": "holds its weights for TensorFlow ({0})" + _WITH_TRANSFORMERS.replace("{kind}", "tf"),
    "*.ckpt.index": "holds its weights as a checkpoint of TensorFlow ({0}); convert it with transformers 4",
    "flax_model*": "holds its weights for Flax ({0})" + _WITH_TRANSFORMERS.replace("{kind}", "flax"),
    "*.ckpt": "holds a checkpoint of a training tool ({0})" + _SAVE,
    "*.gguf": "holds {0}" + _EXPORTED,
    "*onnx": "holds {0}" + _EXPORTED,
    "openvino_model.*": "holds {0}" + _EXPORTED,
    "*.ot": "holds {0}" + _EXPORTED,
    "saved_model.pb": "holds {0}" + _EXPORTED,
    "*.safetensors": "holds {0}, not " + WEIGHTS + _RENAME.replace("{name}", WEIGHTS),
    "*.pt": "holds {0}, a file of PyTorch's own" + _SAVE,
    "*.pth": "holds {0}, a file of PyTorch's own" + _SAVE,
    "*.bin": "holds {0}, neither " + WEIGHTS + " nor " + PICKLE + _RENAME.replace("{name}", PICKLE),
}
# Other types of numbers are codes of rounded weights, not weights.
_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def find_weights(directory: Path) -> Path:
    """Return the file that holds or lists the weights.

    Raises:
        ArtifactError: there is none; the message names what is there instead.
    """
    for name in (WEIGHTS, INDEX):
        if exists(directory / name):
            return directory / name
    for pattern, words in _FOREIGN.items():
        if found := sorted(directory.glob(pattern)):
            raise ArtifactError(f"{directory} {words.format(found[0].name, directory=directory)}")
    raise ArtifactError(f"{directory} is not a model directory: it has no {WEIGHTS}")


def read_tensors(weights: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of those that an index lists, by canonical name.

    Raises:
        ArtifactError: a shard is missing.
        DamagedError: a file is no safetensors or the index is none.
    """
    return read_files(files_of(weights), weights)


def read_files(files: Iterable[Path], weights: Path) -> dict[str, Tensor]:
    """Return the tensors of several safetensors files; errors name ``weights``, which they are of, and are as above."""
    stored: dict[str, Tensor] = {}
    for file in files:
        tensors = _load(file)
        if twice := stored.keys() & tensors.keys():
            raise DamagedError(f"{weights}: {min(twice)} is in two shards, one of which is {file.name}")
        stored |= tensors
    return {name: stored[spelling] for name, spelling in canonical_names(stored).items()}


def files_of(weights: Path) -> list[Path]:
    """Return the files with tensors: the one that ``weights`` is, or those that it lists as an index."""
    if not weights.name.endswith(".index.json"):
        return [weights]
    placed = read_json(weights).get("weight_map")
    if not isinstance(placed, dict) or not placed or not all(map(_is_name, placed.values())):
        raise DamagedError(f"{weights} does not list files beside it under weight_map; it is damaged")
    files = [weights.parent / name for name in sorted(set(placed.values()))]
    if missing := [file.name for file in files if not file.is_file()]:
        raise ArtifactError(f"{weights} lists {', '.join(missing)}, which the directory lacks; fetch it whole")
    return files


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value not in ("", ".", "..") and not set(value) & {"/", "\\", "\0"} and len(value) < 256


def _load(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedError(f"{file} cannot be read as safetensors: {error}") from None


def refuse_codes(names: Iterable[str], tensors: dict[str, Tensor], weights: Path) -> None:
    """Raise :class:`ArtifactError` where one of the named tensors does not hold floats."""
    for name in names:
        if (dtype := tensors[name].dtype) not in _DTYPES:
            kind = str(dtype).removeprefix("torch.")
            raise ArtifactError(f"{weights}: {name} holds {kind} numbers, codes of rounded weights; get the weights in floats")


def weights_digest(directory: Path) -> str:
    """Return the SHA-256 of the weights of a model directory; of several files, that of their digests."""
    weights = find_weights(directory)
    digests = [sha256(file) for file in files_of(weights)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

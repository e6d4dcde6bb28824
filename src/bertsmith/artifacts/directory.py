"""Load and save model directories: ``config.json``, ``model.safetensors``, the tokenizer's files, ``README.md``."""

import logging
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from bertsmith.artifacts.configuration import configuration_values, read_configuration
from bertsmith.artifacts.keymap import canonical, sources
from bertsmith.errors import ArtifactError, DamagedError, MismatchError
from bertsmith.files import MANIFEST, atomic_directory, read_manifest, verify_manifest, write_json, write_manifest
from bertsmith.model.bert import Bert, Heads, initialise, uninitialised
from bertsmith.text.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
_TIED_DECODER = "masked_token.decoder"
_TOKEN_EMBEDDING = "encoder.embeddings.token.weight"
_SHOWN_KEYS = 8

log = logging.getLogger("bertsmith")


def load_model(path: Path, heads: Heads | None = None, seed: int = 0) -> Bert:
    """Load the model of a directory, in float32, in evaluation mode, on the CPU.

    With ``heads``, the model gets these instead of the ones that ``config.json`` names; those that the directory does
    not hold start from random weights (drawn from ``seed``), with a warning.

    Raises:
        ArtifactError: there is no such directory, it is not BERT, or it lacks weights.
        DamagedError: a file is truncated or altered.
    """
    verify_directory(path)
    config, own_heads = read_configuration(path)
    tensors = _read_tensors(path)
    if heads is None and own_heads.pooler and not any(name.startswith("bert.pooler.") for name in tensors):
        own_heads = Heads()
    model = uninitialised(config, heads or own_heads)
    if heads is not None:
        initialise(model, seed)
    new = _fill(model, tensors, path, may_be_new=heads is not None)
    if new:
        log.warning("%s has no weights for %s: they start at random", path, ", ".join(new))
    return model.eval()


def verify_directory(path: Path) -> None:
    """Check that ``path`` is a model directory whose files, where it has a manifest, are those that were written."""
    if not path.is_dir():
        raise ArtifactError(f"{path} is not a directory; a model directory is needed here")
    if (path / MANIFEST).exists():
        verify_manifest(path, read_manifest(path, "model"))
    if (path / WEIGHTS).exists():
        return
    if (path / "pytorch_model.bin").exists():
        raise ArtifactError(
            f"{path} holds its weights as a pickle (pytorch_model.bin), which bertsmith never loads; "
            f"run: bertsmith convert {path} NEW_DIRECTORY"
        )
    raise ArtifactError(f"{path} is not a model directory: it has no {WEIGHTS}")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the directory's tensors by canonical name, in float32."""
    try:
        stored = safetensors.torch.load_file(path / WEIGHTS)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedError(f"{path / WEIGHTS} cannot be read as safetensors: {error}") from None
    tensors = {}
    for name, tensor in stored.items():
        if (spelling := canonical(name)) is not None:
            tensors[spelling] = tensor.float()
    return tensors


def _fill(model: Bert, tensors: dict[str, Tensor], path: Path, may_be_new: bool) -> list[str]:
    """Copy ``tensors`` into the model; return the heads that had no weights."""
    unused, missing, new = set(tensors), [], set()
    _untie_if_told(model, tensors)
    for name, parameter in model.state_dict(keep_vars=True).items():
        wanted = sources(name)
        if name == _TIED_DECODER and parameter is model.encoder.embeddings.token.weight:
            unused.difference_update(wanted)
        elif all(source in tensors for source in wanted):
            _copy(parameter, torch.cat([tensors[source] for source in wanted]), name, path)
            unused.difference_update(wanted)
        elif may_be_new and not name.startswith("encoder."):
            new.add(name.split(".")[0])
        else:
            missing += [source for source in wanted if source not in tensors]
    if missing:
        raise ArtifactError(f"{path / WEIGHTS} lacks {_some(missing)}")
    if unused:
        log.warning("%s: not used by this model: %s", path / WEIGHTS, _some(sorted(unused)))
    return sorted(new)


def _untie_if_told(model: Bert, tensors: dict[str, Tensor]) -> None:
    """Give the masked-token head a decoder of its own when the file holds one that differs from the embedding."""
    decoder, embedding = tensors.get("cls.predictions.decoder.weight"), tensors.get("bert.embeddings.word_embeddings.weight")
    if model.masked_token is not None and decoder is not None and embedding is not None and not torch.equal(decoder, embedding):
        model.masked_token.decoder = torch.nn.Parameter(torch.empty_like(model.masked_token.decoder))


def _copy(parameter: Tensor, tensor: Tensor, name: str, path: Path) -> None:
    if parameter.shape != tensor.shape:
        shapes = f"{tuple(tensor.shape)} where config.json means {tuple(parameter.shape)}"
        raise MismatchError(f"{path / WEIGHTS}: {sources(name)[0]} has shape {shapes}")
    with torch.no_grad():
        parameter.copy_(tensor)


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN_KEYS} more" if len(names) > _SHOWN_KEYS else ""
    return ", ".join(names[:_SHOWN_KEYS]) + rest


def save_model(model: Bert, tokenizer: Tokenizer, path: Path, card: str) -> None:
    """Write a model directory, whole or not at all; ``card`` becomes its ``README.md``.

    Raises:
        ArtifactError: ``path`` exists and is not empty.
        StorageError: the disk is full or refuses.
    """
    with atomic_directory(path) as directory:
        write_model_files(model, tokenizer, directory, card)
        write_manifest(directory, "model", {})


def write_model_files(model: Bert, tokenizer: Tokenizer, directory: Path, card: str) -> None:
    """Write the files of a model directory into ``directory``, in float32."""
    write_json(directory / "config.json", configuration_values(model.config, model.heads, tokenizer.pad_id))
    safetensors.torch.save_file(_stored_tensors(model), directory / WEIGHTS, metadata={"format": "pt"})
    tokenizer.save(directory, max_length=model.config.max_positions)
    (directory / "README.md").write_text(card, encoding="utf-8")


def _stored_tensors(model: Bert) -> dict[str, Tensor]:
    prefix = "bert." if model.heads.pooler or model.heads == Heads() else ""
    tensors = {}
    for name, parameter in model.state_dict(keep_vars=True).items():
        if name == _TIED_DECODER and parameter is model.encoder.embeddings.token.weight:
            continue
        names = sources(name)
        for source, part in zip(names, parameter.detach().float().chunk(len(names)), strict=True):
            tensors[source.removeprefix(prefix)] = part.contiguous().cpu()
    return tensors

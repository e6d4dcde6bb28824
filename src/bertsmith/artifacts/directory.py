"""Load and save model directories: ``config.json``, ``model.safetensors``, the tokenizer's files, ``README.md`` and, of a
fine-tuned model, ``task.json``."""

import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from bertsmith.arguments import instance, path_of
from bertsmith.artifacts.configuration import configuration_values, read_heads, read_shape
from bertsmith.artifacts.keymap import belongs_to_task, sources
from bertsmith.artifacts.sentence_modules import write_sentence_modules
from bertsmith.artifacts.weights import WEIGHTS, find_weights, read_tensors, refuse_codes
from bertsmith.errors import ArtifactError, DamagedError, MismatchError
from bertsmith.files import (
    MANIFEST,
    atomic_directory,
    exists,
    read_json,
    read_manifest,
    verify_manifest,
    write_json,
    write_manifest,
)
from bertsmith.hub import hint
from bertsmith.model.bert import Bert, Heads, allocate, initialise_heads
from bertsmith.model.heads.pooling import SentenceVectors
from bertsmith.model.model_config import ModelConfig
from bertsmith.notices import say_once
from bertsmith.text.tokenizer import Tokenizer

TASK = "task.json"
SEVERAL = "multi"
"""The kind of directory that holds a model directory for each of several tasks."""
_DECODER = "masked_token.decoder"
_SHOWN_KEYS = 8


def load_model(path: str | Path, heads: Heads | None = None, seed: int = 0, *, may_be_new: bool = True) -> Bert:
    """Load the model of a directory, in float32, in evaluation mode, on the CPU.

    With ``heads``, the model gets these instead of the ones that ``config.json`` names; those that the directory does
    not hold, and the head of another task than its own, start from random weights (drawn from ``seed``), which is logged;
    unless they ``may_be_new``, it is an error.

    Raises:
        ArtifactError: there is no such directory, it is not BERT, or it lacks weights.
        DamagedError: a file is truncated or altered.
        MismatchError: the weights have other sizes than ``config.json`` says.
    """
    path = path_of(path)
    verify_directory(path)
    weights = find_weights(path)
    return build_model(weights, read_tensors(weights), heads, seed, may_be_new=may_be_new)


def build_model(
    weights: Path, tensors: dict[str, Tensor], heads: Heads | None = None, seed: int = 0, *, may_be_new: bool = True
) -> Bert:
    """Build the model that the ``config.json`` beside the file ``weights`` describes from that file's tensors.

    ``heads``, ``seed``, ``may_be_new`` and errors as for :func:`load_model`.
    """
    config = read_shape(weights.parent)
    named_heads = read_heads(weights.parent) if heads is None else heads_if_known(weights.parent)
    _compare_sizes(config, tensors, weights)
    named_task = None if named_heads is None else named_heads.task
    is_unknown = named_heads == Heads() or (named_heads is None and may_be_new)
    if heads is not None and (is_unknown or named_task not in (None, heads.task)):
        tensors = {name: tensor for name, tensor in tensors.items() if not belongs_to_task(name)}
    with torch.device("meta"):
        model = Bert(config, heads or _own_heads(named_heads, tensors))
    parts, new = _match(model, tensors, weights, heads if may_be_new else None)
    allocate(model)
    if new:
        initialise_heads(model, seed)
    _untie_if_told(model, tensors)
    _fill(model, parts)
    if new:
        # A task's head is expected to be new; that of pre-training is not.
        level = logging.INFO if heads is not None and heads.task is not None else logging.WARNING
        say_once(f"{weights} has no weights for {_some(new)}: they start at random", level)
    return model.eval()


def load_model_or_encoder(path: str | Path) -> Bert:
    """Load the model of a directory; its encoder alone, which is said once, where the heads that it names cannot be had.

    Errors as for :func:`load_model`.
    """
    try:
        return load_model(path)
    except (DamagedError, MismatchError):
        raise
    except ArtifactError as error:
        encoder, lacking = load_model(path, Heads()), error
    if heads_if_known(Path(path)) != Heads():  # of unknown ones it has been said
        say_once(f"{lacking}; the encoder alone is opened")
    return encoder


def heads_if_known(directory: Path) -> Heads | None:
    """Return the heads that ``config.json`` names; none of all, which is said, where bertsmith does not have them."""
    try:
        return read_heads(directory)
    except ArtifactError as error:
        read_shape(directory)  # without an encoder there is nothing to say of heads
        say_once(f"{error}; this is passed over, since the encoder alone is needed")
        return Heads()


def _compare_sizes(config: ModelConfig, tensors: Mapping[str, Tensor], weights: Path) -> None:
    """Refuse what does not fit before anything is made of it, however large ``config.json`` says it is."""
    if config.n_layers > len(tensors):
        raise MismatchError(f"{weights} holds {len(tensors)} tensors; config.json means {config.n_layers} layers")
    sizes = {
        "bert.embeddings.word_embeddings.weight": (config.vocabulary_size, config.width),
        "bert.embeddings.position_embeddings.weight": (config.max_positions, config.width),
        "bert.embeddings.token_type_embeddings.weight": (config.n_segments, config.width),
        "bert.encoder.layer.0.intermediate.dense.weight": (config.feed_forward_width, config.width),
    }
    if missing := [name for name in sizes if name not in tensors]:
        raise ArtifactError(_lacking(weights, missing, tensors, ()))
    for name, size in sizes.items():
        _check_shape(tensors[name], size, name, weights)


def _own_heads(named: Heads | None, tensors: dict[str, Tensor]) -> Heads:
    """Return the heads that ``config.json`` names; those that the tensors belong to where it names none."""
    pooler, masked_token, next_sentence = (
        any(name.startswith(prefix) for name in tensors)
        for prefix in ("bert.pooler.", "cls.predictions.", "cls.seq_relationship.")
    )
    if named is None:
        return Heads(pooler and not (masked_token or next_sentence), masked_token, next_sentence)
    return Heads() if named.pooler and not pooler else named


def verify_directory(path: Path) -> None:
    """Check that ``path`` is a model directory whose files, where it has a manifest, are those that were written."""
    if not (is_there := exists(path)) or not path.is_dir():
        raise ArtifactError(f"{path} is not a directory; a model directory is needed here{'' if is_there else hint(path)}")
    if exists(path / MANIFEST):
        if read_json(path / MANIFEST).get("kind") == SEVERAL:
            listed = ", ".join(str(directory) for directory in task_directories(path).values())
            raise ArtifactError(f"{path} holds a model for each of several tasks; name one of them: {listed}")
        verify_manifest(path, read_manifest(path, "model"))
    find_weights(path)


def task_directories(path: Path) -> dict[str, Path]:
    """Return the model directories by task that a directory of several tasks holds.

    Raises:
        ArtifactError: it is none.
        DamagedError: its manifest does not name directories in it.
    """
    names = read_manifest(path, SEVERAL).get("tasks")
    if not isinstance(names, dict) or not names or not all(Path(name).name == name not in ("", "..") for name in names):
        raise DamagedError(f"{path / MANIFEST} does not list its tasks; it is damaged")
    return {name: path / name for name in names}


def _match(
    model: Bert, tensors: dict[str, Tensor], weights: Path, wanted_heads: Heads | None
) -> tuple[dict[str, list[Tensor]], list[str]]:
    """Return the tensors that make up each of the model's, and the heads that have none."""
    parts, missing, new, unused = {}, [], set(), set(tensors)
    for name, parameter in model.state_dict().items():
        wanted = sources(name)
        unused.difference_update(wanted)
        if all(source in tensors for source in wanted):
            parts[name] = [tensors[source] for source in wanted]
            for source in wanted:
                _check_shape(tensors[source], parameter.chunk(len(wanted))[0].shape, source, weights)
        elif name == _DECODER:
            continue  # tied to the token embedding
        elif wanted_heads is not None and not name.startswith("encoder."):
            new.add(name.split(".")[0])
        else:
            missing += [source for source in wanted if source not in tensors]
    if missing:
        raise ArtifactError(_lacking(weights, missing, tensors, unused))
    refuse_codes([name for name in tensors if name not in unused], tensors, weights)
    if wanted_heads is not None:  # other heads are of no use to what is wanted, but other layers make another encoder
        unused = {name for name in unused if name.startswith(("bert.encoder.", "bert.embeddings."))}
    if unused:
        say_once(f"{weights}: not used by this model: {_some(sorted(unused))}")
    return parts, sorted(new)


def _check_shape(tensor: Tensor, expected: Sequence[int], name: str, weights: Path) -> None:
    if tensor.shape != tuple(expected):
        shapes = f"{tuple(tensor.shape)} where config.json means {tuple(expected)}"
        raise MismatchError(f"{weights}: {name} has shape {shapes}")


def _lacking(weights: Path, missing: Sequence[str], tensors: Mapping[str, Tensor], unused: Collection[str]) -> str:
    """Return what is missing, and the names that may be other words for it."""
    others = _some(sorted(unused or tensors)) or "nothing"
    return f"{weights} lacks {_some(missing)}; it has {others}"


def _untie_if_told(model: Bert, tensors: dict[str, Tensor]) -> None:
    """Give the masked-token head a decoder of its own when the file holds one that differs from the embedding."""
    decoder, embedding = tensors.get("cls.predictions.decoder.weight"), tensors["bert.embeddings.word_embeddings.weight"]
    if model.masked_token is not None and decoder is not None and not torch.equal(decoder.float(), embedding.float()):
        model.masked_token.decoder = torch.nn.Parameter(torch.empty_like(model.masked_token.decoder))


@torch.no_grad()
def _fill(model: Bert, parts: dict[str, list[Tensor]]) -> None:
    parameters = model.state_dict()
    for name, tensors in parts.items():
        for rows, tensor in zip(parameters[name].chunk(len(tensors)), tensors, strict=True):
            rows.copy_(tensor)


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN_KEYS} more" if len(names) > _SHOWN_KEYS else ""
    return ", ".join(names[:_SHOWN_KEYS]) + rest


def save_model(
    model: Bert,
    tokenizer: Tokenizer,
    path: str | Path,
    card: str | None = None,
    task: Mapping[str, Any] | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a model directory, whole or not at all; ``card`` becomes its ``README.md``, a mere title when None.

    ``task`` becomes its ``task.json``: what the model was fine-tuned for, as :func:`bertsmith.tasks.saved.task_values` has it;
    ``facts`` stand in its manifest.

    Raises:
        ArtifactError: ``path`` exists and is not empty.
        StorageError: the disk is full or refuses.
        UsageError: ``model`` is no model, ``tokenizer`` no tokenizer, or the card no text.
    """
    path = path_of(path)
    instance(model, Bert, "model", "load one: bertsmith.load(path)")
    instance(tokenizer, Tokenizer, "tokenizer", "load one: bertsmith.Tokenizer.load(path)")
    if card is not None:
        instance(card, str, "card", "write its text")
    with atomic_directory(path) as directory:
        write_model_files(model, tokenizer, directory, f"# {path.name}\n" if card is None else card, task)
        write_manifest(directory, "model", facts or {})


def write_model_files(
    model: Bert, tokenizer: Tokenizer, directory: Path, card: str, task: Mapping[str, Any] | None = None
) -> None:
    """Write the files of a model directory into ``directory``, in float32."""
    write_json(directory / "config.json", configuration_values(model.config, model.heads, tokenizer.pad_id, model.is_tied))
    write_tensors(_stored_tensors(model), directory / WEIGHTS)
    tokenizer.save(directory, max_length=model.config.max_positions)
    if isinstance(model.heads.task, SentenceVectors):
        length = model.config.max_positions if task is None else task["settings"]["max_length"]
        write_sentence_modules(directory, model.heads.task, model.config.width, length)
    (directory / "README.md").write_text(card, encoding="utf-8")
    if task is not None:
        write_json(directory / TASK, task)


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file; ``OSError`` where the system refuses, which the library hides in an error of its own."""
    try:
        safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    except safetensors.SafetensorError as error:
        if (code := re.search(r"os error (\d+)", str(error))) is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None


def _stored_tensors(model: Bert) -> dict[str, Tensor]:
    is_encoder = model.heads == Heads() or isinstance(model.heads.task, SentenceVectors)
    prefix = "bert." if model.heads.pooler or is_encoder else ""
    tensors = {}
    for name, parameter in model.state_dict().items():
        if name == _DECODER and model.is_tied:
            continue
        names = sources(name)
        for source, part in zip(names, parameter.float().chunk(len(names)), strict=True):
            tensors[source.removeprefix(prefix)] = part.contiguous().cpu()
    if not model.is_tied:
        # transformers ties the two names of the bias only together with the decoder.
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
    return tensors

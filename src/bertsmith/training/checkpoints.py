"""Checkpoints of a run, model directories that also hold the state of the optimiser and of the run; and how it resumes."""

import dataclasses
import hashlib
import logging
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors.torch

from bertsmith.artifacts.directory import write_model_files, write_tensors
from bertsmith.errors import ArtifactError
from bertsmith.files import (
    atomic_directory,
    read_json,
    read_manifest,
    remove_leftovers,
    verify_manifest,
    write_json,
    write_manifest,
)
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.optimiser import optimiser_tensors, restore_optimiser
from bertsmith.training.run_directory import RunDirectory
from bertsmith.training.stepper import Stepper

_NAME = re.compile(r"step-(\d+)")
_OPTIMISER, _STATE, _METRICS = "optimiser.safetensors", "state.json", "metrics"

log = logging.getLogger("bertsmith")


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run of any kind is: steps made and seconds spent."""

    step: int = 0
    elapsed: float = 0.0


S = TypeVar("S", bound=RunState)


def save_checkpoint(run: RunDirectory, stepper: Stepper, tokenizer: Tokenizer, state: RunState, keep: int) -> None:
    """Write ``checkpoints/step-N`` of a run, whole or not at all, then delete all but the last ``keep`` checkpoints."""
    directory = run.checkpoints
    with atomic_directory(directory / f"step-{state.step}") as temporary:
        write_model_files(stepper.master, tokenizer, temporary, f"Checkpoint of a training run after {state.step} steps.\n")
        tensors = {name: tensor.cpu() for name, tensor in optimiser_tensors(stepper.master, stepper.optimiser).items()}
        write_tensors(tensors, temporary / _OPTIMISER)
        write_json(temporary / _STATE, {**dataclasses.asdict(state), _METRICS: run.metrics_so_far()})
        write_manifest(temporary, "model", {"step": state.step})
    for old in checkpoints(directory)[:-keep]:
        _remove(old)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint; where this is killed, what is left has no checkpoint's name."""
    removed = checkpoint.with_name(f".{checkpoint.name}.{secrets.token_hex(8)}.partial")
    checkpoint.rename(removed)
    shutil.rmtree(removed)


def checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in ``directory``, the oldest first."""
    if not directory.is_dir():
        return []
    numbered = [(int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def newest_whole(directory: Path) -> Path | None:
    """Return the newest checkpoint that is whole; damaged ones are passed over with a warning."""
    found = checkpoints(directory)
    for path in reversed(found):
        try:
            verify_manifest(path, read_manifest(path, "model"))
        except ArtifactError as error:
            log.warning("%s; %s", error, "no checkpoint is left" if path == found[0] else "taking the checkpoint before it")
        else:
            return path
    return None


def resume(directory: RunDirectory, stepper: Stepper, kind: type[S]) -> S:
    """Go back to the newest whole checkpoint, or to the beginning where there is none, and return the run's state, a ``kind``.

    Later checkpoints, which are damaged, later metrics and half-written files are removed: the run writes them again.
    """
    checkpoint = newest_whole(directory.checkpoints)
    values = read_json(checkpoint / _STATE) if checkpoint else {}
    metrics = values.pop(_METRICS, None)
    state = kind(**values)
    if checkpoint:
        _restore(checkpoint, stepper)
    stepper.ranks.wait()
    if stepper.ranks.is_first:
        remove_leftovers(directory.path)
        remove_leftovers(directory.checkpoints)
        for path in checkpoints(directory.checkpoints):
            if int(path.name.removeprefix("step-")) > state.step:
                _remove(path)
        if checkpoint and metrics is None:  # of an earlier version
            directory.keep_metrics_until(state.step)
        else:
            directory.keep_metrics(metrics or {"bytes": 0, "sha256": hashlib.sha256().hexdigest()})
        if checkpoint:
            log.info("resuming from %s", checkpoint)
    return state


def _restore(path: Path, stepper: Stepper) -> None:
    stepper.load(path)
    restore_optimiser(stepper.master, stepper.optimiser, safetensors.torch.load_file(path / _OPTIMISER))

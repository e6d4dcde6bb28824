"""Checkpoints of a run: model directories that also hold the optimiser's state and the place in the run."""

import dataclasses
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors.torch

from bertsmith.artifacts.directory import load_model, write_model_files, write_tensors
from bertsmith.errors import ArtifactError
from bertsmith.files import atomic_directory, read_json, read_manifest, verify_manifest, write_json, write_manifest
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.optimiser import optimiser_tensors, restore_optimiser
from bertsmith.training.stepper import Stepper

_NAME = re.compile(r"step-(\d+)")
_OPTIMISER, _STATE = "optimiser.safetensors", "state.json"

log = logging.getLogger("bertsmith")


@dataclass(frozen=True, slots=True)
class Place:
    """The place in any run: steps made and seconds spent."""

    step: int = 0
    elapsed: float = 0.0


P = TypeVar("P", bound=Place)


@dataclass(frozen=True, slots=True)
class State(Place):
    """The place in a pre-training run: also the loader's position and tokens seen."""

    position: int = 0
    tokens: int = 0


def save_checkpoint(directory: Path, stepper: Stepper, tokenizer: Tokenizer, state: Place, keep: int) -> None:
    """Write ``directory/step-N``, whole or not at all, then delete all but the last ``keep`` checkpoints."""
    with atomic_directory(directory / f"step-{state.step}") as temporary:
        write_model_files(stepper.master, tokenizer, temporary, f"Checkpoint of a training run after {state.step} steps.\n")
        tensors = {name: tensor.cpu() for name, tensor in optimiser_tensors(stepper.master, stepper.optimiser).items()}
        write_tensors(tensors, temporary / _OPTIMISER)
        write_json(temporary / _STATE, dataclasses.asdict(state))
        write_manifest(temporary, "model", {"step": state.step})
    for old in checkpoints(directory)[:-keep]:
        shutil.rmtree(old)


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


def restore(path: Path, stepper: Stepper, kind: type[P]) -> P:
    """Bring the weights, the optimiser and the place in the run, which is a ``kind``, back from a checkpoint."""
    stepper.master.load_state_dict(load_model(path, stepper.master.heads).state_dict())
    stepper.publish()
    restore_optimiser(stepper.master, stepper.optimiser, safetensors.torch.load_file(path / _OPTIMISER))
    return kind(**read_json(path / _STATE))


def remove_damaged(directory: Path, state: Place) -> None:
    """Delete checkpoints later than ``state``: they are damaged, and the run will write them anew."""
    for path in checkpoints(directory):
        if int(path.name.removeprefix("step-")) > state.step:
            shutil.rmtree(path)

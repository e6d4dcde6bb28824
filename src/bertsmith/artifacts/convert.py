"""Turn the model directories of older tools into today's: safetensors instead of a pickle, today's names of tensors."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from bertsmith.artifacts import pickles
from bertsmith.artifacts.directory import build_model, load_model, save_model
from bertsmith.artifacts.weights import INDEX, PICKLE, PICKLE_INDEX, WEIGHTS, files_of, find_weights, read_files
from bertsmith.errors import ArtifactError, DamagedError, StorageError
from bertsmith.files import exists, sha256, storage_errors, workplace
from bertsmith.model.bert import Bert
from bertsmith.sources.digests import described, is_finished
from bertsmith.text.tokenizer import Tokenizer

_CPU_SECONDS = 300
_WALL_SECONDS = 1800
_ERRORS = {pickles.REFUSED: ArtifactError, pickles.DAMAGED: DamagedError, pickles.STORAGE: StorageError}


def convert(source: Path, destination: Path) -> None:
    """Read the BERT of ``source``, from safetensors or pickles, in one file or in several with an index, and write it anew.

    The pickle is read in a process of its own that runs nothing of what stands in it (:mod:`bertsmith.artifacts.pickles`).

    Raises:
        ArtifactError: ``source`` is no BERT directory with weights and a tokenizer, its pickle wants something run,
            or ``destination`` exists and is not empty.
        DamagedError: a file is truncated or altered.
        MismatchError: the weights or the tokenizer have other sizes than ``config.json`` says.
        StorageError: the disk is full or refuses.
    """
    if not exists(source) or not source.is_dir():
        raise ArtifactError(f"{source} is not a directory; one with {WEIGHTS} or {PICKLE} is needed here")
    made_of = {
        "made_of": [
            {"path": Path(file["path"]).name, "sha256": file["sha256"]}
            for file in described(sorted(file for file in source.iterdir() if file.is_file()))
        ]
    }
    if is_finished(destination, "model", made_of):
        return
    pickled = [source / name for name in (PICKLE, PICKLE_INDEX) if (source / name).is_file()]
    if (source / WEIGHTS).is_file() or (source / INDEX).is_file() or not pickled:
        weights = find_weights(source)
        tokenizer, model = Tokenizer.load(source), load_model(source)
    else:
        weights = pickled[0]
        tokenizer, model = Tokenizer.load(source), _load_pickled(weights, destination)
    save_model(model, tokenizer, destination, _card(weights, destination.name), facts=made_of)


def _load_pickled(weights: Path, destination: Path) -> Bert:
    with storage_errors(destination), workplace(destination) as folder:
        extracted = [(file, folder / f"{file.name}.safetensors") for file in files_of(weights)]
        for file, written in extracted:
            _extract(file, written)
        return build_model(weights, read_files([written for _, written in extracted], weights))


def _extract(weights: Path, extracted: Path) -> None:
    """Have the tensors of a pickle written as safetensors by a process that has no other rights than it needs."""
    command = [sys.executable, "-I", "-S", "-X", "utf8", pickles.__file__, str(weights.resolve()), str(extracted.resolve())]
    # Some Pythons find their own library only through this variable; nothing else of the environment is handed on.
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    try:
        child = subprocess.run(
            [*command, str(_CPU_SECONDS)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WALL_SECONDS,
            env=environment,
            cwd=extracted.parent,
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"{weights}: refused: reading it took longer than {_WALL_SECONDS} seconds") from None
    reason = child.stderr.decode("utf-8", "replace").strip()
    if child.returncode == -signal.SIGXCPU:
        raise ArtifactError(f"{weights}: refused: reading it took more than {_CPU_SECONDS} seconds of computing")
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise ArtifactError(f"{weights}: the process reading it was ended by {name}; is there memory enough?")
    if child.returncode:
        raise _ERRORS.get(child.returncode, ArtifactError)(f"cannot convert {weights}: {reason}")


def _card(weights: Path, title: str) -> str:
    """Return the source's own card, if it has one, with a word about where these weights come from."""
    readme = weights.parent / "README.md"
    card = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else f"# {title}\n"
    return f"{card.rstrip()}\n\n## Conversion\n\nWritten by bertsmith from `{weights.name}` with SHA-256 `{sha256(weights)}`.\n"

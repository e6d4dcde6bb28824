"""The models that are looked at: one, or two to compare, each with the checkpoints of the run that it is from."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertsmith.artifacts.directory import verify_directory
from bertsmith.errors import ArtifactError, Refusal
from bertsmith.inspection.arrays import GRID_SIDE
from bertsmith.inspection.cache import Cache
from bertsmith.inspection.figures.ablation import MOST_ABLATED
from bertsmith.inspection.figures.attribution import MOST_ATTRIBUTED, has_captum
from bertsmith.inspection.figures.prediction import MOST_SCORED
from bertsmith.inspection.figures.similarity import MOST_PROJECTED
from bertsmith.inspection.requests import LIMITS, TextRequest, checked
from bertsmith.inspection.subject import Reading, Subject
from bertsmith.inspection.suggestions import SUGGESTIONS, Start, Suggestions, start_for
from bertsmith.tasks.task import Explains, Task
from bertsmith.threads import set_up_threads, usual_threads
from bertsmith.training.checkpoints import checkpoints
from bertsmith.training.run_directory import RunDirectory

_CACHED_BYTES = 1 << 28
_CHECKPOINTS_LOADED = 3


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """What a model was fine-tuned for, and which scores of it are explained."""

    kind: str
    labels: list[str]
    explains: Explains | None


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a model has nothing to show in a view."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Description:
    """A model, or a checkpoint of the run that the model ``of`` is from; ``missing`` names views that it cannot fill."""

    id: str
    name: str
    role: Literal["model", "checkpoint"]
    of: str | None
    step: int | None
    n_layers: int
    n_heads: int
    width: int
    vocabulary_size: int
    max_positions: int
    n_parameters: int
    lowercase: bool
    mask_token: str | None
    task: TaskDescription | None
    missing: dict[str, Missing]


@dataclass(frozen=True, slots=True)
class Models:
    """All models, with examples and limits of what can be asked."""

    models: list[Description]
    start: Start
    examples: Suggestions
    limits: dict[str, int]
    is_export: bool
    version: int = 1


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    of: str
    step: int
    path: Path


class Gallery:
    """Models by id: "a", "b", and "a/step-1000" for checkpoints, which are loaded when they are asked for.

    Args:
        subjects: One model, or two to compare, with their names.
        runs: For each model the checkpoints of its run, the oldest first.
        start: What the page begins with.

    Raises:
        Refusal: the text to begin with is empty or too long.
    """

    def __init__(self, subjects: list[tuple[str, Subject]], runs: list[list[Path]], start: Start) -> None:
        checked(TextRequest, {"model": "a", "text": start.text, "pair": start.pair})
        self._subjects = {letter: subject for letter, (_, subject) in zip("ab", subjects, strict=False)}
        self._names = {letter: name for letter, (name, _) in zip("ab", subjects, strict=False)}
        self._checkpoints = {
            f"{letter}/{path.name}": _Checkpoint(letter, int(path.name.removeprefix("step-")), path)
            for letter, paths in zip("ab", runs, strict=False)
            for path in paths
        }
        self._runs, self._start = runs, start
        set_up_threads()
        usual_threads()  # before a worker sets its own
        self._loading = threading.Lock()
        self._loaded: Cache[Subject] = Cache(_CHECKPOINTS_LOADED, lambda _: 1)
        self._readings: Cache[Reading] = Cache(_CACHED_BYTES, self._weight)

    @classmethod
    def open(cls, paths: list[Path], start: Start | None = None, kind: type[Task] | None = None) -> "Gallery":
        """Load model directories or the models of runs, as :meth:`Subject.load` does.

        Without ``start``, the page begins with an example that suits the first of them.
        """
        found = [model_and_checkpoints(path) for path in paths]
        names = [path.name or str(path) for path in paths]
        if len(set(names)) < len(names):
            names = [str(path) for path in paths]
        subjects = [Subject.load(model, kind) for model, _ in found]
        start = start or start_for(subjects[0].tokenizer, subjects[0].reads)
        return cls(list(zip(names, subjects, strict=True)), [run for _, run in found], start)

    def thinned(self, most: int) -> "Gallery":
        """Return the same models with at most so many checkpoints of each run, evenly chosen."""
        subjects = [(self._names[letter], subject) for letter, subject in self._subjects.items()]
        return Gallery(subjects, [_evenly(run, most) for run in self._runs], self._start)

    @property
    def model_ids(self) -> list[str]:
        """The ids of the models, without checkpoints."""
        return list(self._subjects)

    def checkpoint_ids(self, model: str) -> list[str]:
        """Return the ids of the checkpoints of a model's run, the oldest first."""
        return [name for name, checkpoint in self._checkpoints.items() if checkpoint.of == model]

    @property
    def start(self) -> Start:
        """What the page begins with."""
        return self._start

    def subject(self, name: str) -> Subject:
        """Return a model by its id."""
        if name in self._subjects:
            return self._subjects[name]
        if name not in self._checkpoints:
            raise Refusal("unknown_model", f"there is no model {name!r} here", model=name)
        with self._loading:
            return self._loaded.get(name, lambda: Subject.load(self._checkpoints[name].path))

    def read(self, name: str, text: str, pair: str | None = None) -> Reading:
        """Return what a model makes of a text or a pair."""
        return self._readings.get((name, text, pair), lambda: self.subject(name).read(text, pair))

    def _weight(self, reading: Reading) -> int:
        """Return the memory that a reading takes, with the model of a checkpoint, which it may be the last to hold."""
        if any(reading.subject is subject for subject in self._subjects.values()):
            return reading.n_bytes
        return reading.n_bytes + sum(parameter.nbytes for parameter in reading.subject.model.parameters())

    def describe(self, *, is_export: bool = False) -> Models:
        """Return what there is."""
        described = [self._describe(letter, self._names[letter], "model", None, None) for letter in self._subjects]
        for name, checkpoint in self._checkpoints.items():
            label = f"{self._names[checkpoint.of]}, step {checkpoint.step:,}"
            described.append(self._describe(name, label, "checkpoint", checkpoint.of, checkpoint.step))
        limits = LIMITS | {
            "grid_side": GRID_SIDE,
            "projection_tokens": MOST_PROJECTED,
            "pseudo_perplexity_tokens": MOST_SCORED,
            "ablation_tokens": MOST_ABLATED,
            "attribution_tokens": MOST_ATTRIBUTED,
        }
        return Models(described, self._start, SUGGESTIONS, limits, is_export)

    def _describe(
        self, name: str, label: str, role: Literal["model", "checkpoint"], of: str | None, step: int | None
    ) -> Description:
        # Checkpoints are of their model's make, so that none need be loaded for this.
        subject = self._subjects[of or name]
        config, tokenizer = subject.model.config, subject.tokenizer
        task = None if subject.pipeline is None else subject.pipeline.task
        return Description(
            id=name,
            name=label,
            role=role,
            of=of,
            step=step,
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            width=config.width,
            vocabulary_size=config.vocabulary_size,
            max_positions=config.max_positions,
            n_parameters=sum(parameter.numel() for parameter in subject.model.parameters()),
            lowercase=tokenizer.lowercase,
            mask_token=None if tokenizer.mask_id is None else tokenizer.tokens[tokenizer.mask_id],
            task=None if task is None else TaskDescription(task.kind, list(task.classes), task.explains),
            missing=self._missing(subject, of or name),
        )

    def _missing(self, subject: Subject, name: str) -> dict[str, Missing]:
        """Return the views that a model cannot fill, and why."""
        found: dict[str, Missing] = {}
        model, pipeline = subject.model, subject.pipeline
        if model.masked_token is None:
            lacking = Missing("no_masked_token_head", "this model has no masked-token head")
            found |= {"predict": lacking, "pseudo-perplexity": lacking}
        if subject.tokenizer.mask_id is None:
            lacking = Missing("no_mask_token", "this model's vocabulary has no [MASK]")
            found |= {"predict": lacking, "pseudo-perplexity": lacking, "masking": lacking}
        if model.next_sentence is None:
            found["next-sentence"] = Missing("no_next_sentence_head", "this model has no next-sentence head")
        if pipeline is None:
            found["task"] = Missing("no_task_head", "this model was not fine-tuned for a task")
        has_target = "predict" not in found if pipeline is None else pipeline.task.explains is not None
        if not has_target:
            found["attribution"] = Missing(
                "no_target", "this model has no score of one text that could be traced to its tokens"
            )
            if "next-sentence" in found:
                found["ablation"] = found["ablate"] = found["attribution"]
        if has_target and not has_captum():
            found["integrated-gradients"] = Missing("no_captum", "captum is not installed: pip install 'bertsmith[inspect]'")
        if len(self._subjects) < 2:
            found["compare"] = found["cka"] = Missing("no_second_model", "there is no second model to compare with")
        if not self.checkpoint_ids(name):
            found["film"] = Missing("no_checkpoints", "this model is not from a run with checkpoints")
        return found


def _evenly(paths: list[Path], most: int) -> list[Path]:
    if len(paths) <= most:
        return paths
    return [paths[round(place * (len(paths) - 1) / (most - 1))] for place in range(most)]


def model_and_checkpoints(path: Path) -> tuple[Path, list[Path]]:
    """Return the model directory and the checkpoints of a run directory, of its final model, or of any model directory.

    Raises:
        ArtifactError: there is no model, or none yet.
    """
    is_run = (path / "config.toml").exists()
    run = RunDirectory(path if is_run else path.parent)
    found = checkpoints(run.checkpoints) if is_run or path.name == run.final.name else []
    if not is_run:
        verify_directory(path)
        return path, found
    if run.final.exists():
        verify_directory(run.final)
        return run.final, found
    if not found:
        raise ArtifactError(f"{path} is a run without a final model or a checkpoint yet; wait for its first")
    return found[-1], found

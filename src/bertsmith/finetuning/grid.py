"""The configuration of a fine-tuning run: a grid of trials, each one training from the same model."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import product, starmap
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import pydantic

from bertsmith.config import Config, Flag
from bertsmith.tasks.task import Task
from bertsmith.training.settings import CardSettings, Machine, Optimisation, RecordSettings, RunConfig

N = TypeVar("N", int, float)


def _some(values: tuple[N, ...] | None) -> tuple[N, ...] | None:
    if values == ():
        raise ValueError("give at least one value to try")
    return values


# Checked behind its values, not by their number: of a bad value pydantic would say as well that there are too few.
_Some = pydantic.AfterValidator(_some)
_COMMAS = Flag(has_commas=True)
Numbers = Annotated[tuple[Annotated[float, pydantic.Field(gt=0)], ...] | None, _Some, _COMMAS]
Counts = Annotated[tuple[Annotated[int, pydantic.Field(gt=0)], ...], _Some, _COMMAS]


class Recipe(Optimisation):
    """How the weights move."""

    head_lr: float | None = pydantic.Field(default=None, gt=0)
    """Learning rate of the task's head; the encoder's unless given, for a CRF or a BiLSTM 1e-3."""
    head_start: Literal["random", "probe"] = "probe"
    """What the task's head starts from: weights drawn at random, or a linear probe, trained on the frozen model, where the
    task has one."""
    layer_decay: float = pydantic.Field(default=1.0, gt=0, le=1)
    """Each layer learns at this share of the rate of the layer above it."""
    frozen_layers: int = pydantic.Field(default=0, ge=-1)
    """Layers, from below and with the embeddings, that stay as they are; -1 for the whole encoder."""
    fgm: float = pydantic.Field(default=0.0, ge=0)
    """Size of adversarial changes to the token embeddings, on which each step is trained as well (Miyato et al. 2017)."""
    r_drop: float = pydantic.Field(default=0.0, ge=0)
    """Weight of the disagreement of two passes with other dropout (Liang et al. 2021)."""
    batch_tokens: int = pydantic.Field(default=8192, gt=0)
    """Tokens of a batch that are in memory at a time; a larger batch is done in parts, with the same result. A loss that
    compares the examples of a batch has all of it in memory."""

    @pydantic.model_validator(mode="after")
    def _embeddings_are_trained_or_not(self) -> Self:
        if self.fgm and self.frozen_layers:
            raise ValueError("--fgm changes the token embeddings, which --frozen-layers keeps as they are; leave one out")
        return self


_FEWEST_EPOCHS, _FEWEST_STEPS, _HIGHEST_RATE = 3.0, 100, 5e-4

ALONE = ""
"""The name of the task of a run that has but one."""


class LabelledFiles(Config):
    """The files of a task."""

    train: str
    """Labelled file to learn from; of classes, labels, numbers and choices also hub:NAME:SPLIT."""
    dev: str | None = None
    """Labelled file to choose the best model by; a part of the training file unless given."""
    dev_share: float = pydantic.Field(default=0.1, gt=0, lt=1)
    """Share of the training file that is held out where there is no dev file."""
    group: str | None = None
    """Column of the training file whose rows with the same value stay together when some are held out, such as a patient."""
    test: str | None = None
    """Labelled file that every trial is scored on, and that nothing is chosen by."""
    format: str | None = None
    """Format of the files, if their extensions do not say it."""


class GridConfig(RunConfig, ABC):
    """What every fine-tuning run has, of one task or of several: a model, and the settings to try."""

    free_on_resume: ClassVar[frozenset[str]] = frozenset(
        {"model", "out", "record.log_every", "record.tensorboard", "record.keep", "record.save_every", "card.*", "strict"}
    )

    model: Path
    """Model directory to start from."""
    out: Path
    """Directory of the run; the same command on it resumes."""
    lr: Numbers = None
    """Learning rates to try, with commas between them; by the model's width unless given: 5e-5 for 768, 1e-4 for 384."""
    epochs: Numbers = None
    """Numbers of passes over the training file to try; 3 unless given, and more on a small file: as many as make 100 steps."""
    batch_size: Counts = (32,)
    """Batch sizes to try, in sequences."""
    seeds: int = pydantic.Field(default=1, gt=0)
    """Trials of each setting, which differ in the head's first weights, the order and the dropout."""
    seed: int = pydantic.Field(default=0, ge=0)
    """The first seed."""
    folds: int | None = pydantic.Field(default=None, ge=2)
    """Parts of the training file that are held out in turn, with a trial for each; the table has the means over them."""
    patience: int | None = pydantic.Field(default=None, gt=0)
    """Stop a trial after this many measurements without a better one, and keep its best model; by default, train all epochs."""
    strict: bool = False
    """Fail, before anything is written, where there is a warning about the data."""
    recipe: Recipe = Recipe()
    machine: Machine = Machine()
    record: RecordSettings = RecordSettings()
    card: CardSettings = CardSettings()

    def trials(self, usual: "Usual") -> "list[Trial]":
        """Return every combination of the settings to try with every seed and fold; what is not given is as usual."""
        seeds, batch_sizes = range(self.seed, self.seed + self.seeds), sorted(set(self.batch_size))
        by_size = {size: self.epochs or (usual.epochs(size),) for size in batch_sizes}
        passes = sorted({epochs for of_size in by_size.values() for epochs in of_size})
        folds = range(1, self.folds + 1) if self.folds else (None,)
        settings = product(sorted(set(self.lr or (usual.learning_rate,))), passes, batch_sizes, seeds, folds)
        return [trial for trial in starmap(Trial, settings) if trial.epochs in by_size[trial.batch_size]]

    @abstractmethod
    def by_task(self) -> "dict[str, tuple[LabelledFiles, Task]]":
        """Return the files and the settings of each task by its name, those of a task alone by :data:`ALONE`."""


class FinetuneConfig(GridConfig, LabelledFiles):
    """Fine-tune a model. Subclasses made by :func:`config_of` have the task's own settings as ``task``."""

    free_on_resume: ClassVar[frozenset[str]] = GridConfig.free_on_resume | {"train", "dev", "test"}

    def by_task(self) -> dict[str, tuple[LabelledFiles, Task]]:
        """Return the one task."""
        task: Task = self.task  # type: ignore[attr-defined]
        return {ALONE: (self, task)}


@dataclass(frozen=True, slots=True)
class Usual:
    """What is tried where nothing is given: a rate for the model's width, and enough steps for the number of samples.

    A wider model takes smaller steps, in inverse proportion; 5e-5 is the paper's middle for a width of 768 (appendix A.3). A
    small file is passed over more often, since a hundred steps are needed to learn anything (Zhang et al. 2021, "Revisiting
    few-sample BERT fine-tuning"). `benchmarks/small_data.py` has measured both.
    """

    width: int
    sizes: tuple[int, ...]

    @property
    def learning_rate(self) -> float:
        """The rate, to two digits."""
        return min(_HIGHEST_RATE, float(f"{5e-5 * 768 / self.width:.1e}"))

    def epochs(self, batch_size: int) -> float:
        """Return the passes over all samples, whole ones."""
        return max(_FEWEST_EPOCHS, math.ceil(_FEWEST_STEPS / sum(-(-size // batch_size) for size in self.sizes)))


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of a grid."""

    learning_rate: float
    epochs: float
    batch_size: int
    seed: int
    fold: int | None = None
    """The part of the training file that is held out, from 1; None where there are no folds."""

    @property
    def setting(self) -> str:
        """What the trials that differ in their seed and fold alone have in common."""
        return f"lr-{self.learning_rate:g}-epochs-{self.epochs:g}-batch-{self.batch_size}"

    @property
    def name(self) -> str:
        """The name of the trial's directory."""
        fold = "" if self.fold is None else f"-fold-{self.fold}"
        return f"{self.setting}-seed-{self.seed}{fold}"


def config_of(kind: type[Task]) -> Any:
    """Return the class of configurations for fine-tuning on a task: those of every task, and ``task``."""
    return pydantic.create_model(
        f"Finetune{kind.__name__}",
        __base__=FinetuneConfig,
        __doc__=f"Fine-tune a model: {(kind.__doc__ or kind.kind).partition(chr(10))[0]}",
        task=(kind, kind()),
    )

"""The configuration of a pre-training run: flags, TOML and Python in one."""

from pathlib import Path
from typing import ClassVar, Literal

import pydantic

from bertsmith.batches.masking import Masking
from bertsmith.config import Config
from bertsmith.errors import UsageError
from bertsmith.training.settings import CardSettings, Machine, MeasureSettings, Optimisation, RecordSettings, RunConfig, Share


class ExampleSettings(Config):
    """What the model learns from."""

    objective: Literal["nsp", "full-sentences"] = "nsp"
    """Pairs with next-sentence prediction as in the paper, or RoBERTa's full sentences without it."""
    max_length: int = pydantic.Field(default=128, ge=8)
    """The longest sequence, special tokens included; the paper trains 90 % of its steps at 128 and the rest at 512."""
    short_share: Share = 0.1
    """Share of pairs made shorter on purpose, so that the model sees all lengths."""
    held_out: Share = 0.01
    """Share of the documents kept out of training, to measure on; 0 measures nothing."""


class StepSettings(Config):
    """What a step is made of."""

    batch_tokens: int = pydantic.Field(default=8192, gt=0)
    """Tokens of one packed batch: what is in memory at a time."""
    accumulation: int = pydantic.Field(default=1, gt=0)
    """Packed batches of one optimiser step, shared by all ranks."""
    learning_rate: float = pydantic.Field(default=1e-4, gt=0)
    """The highest learning rate, reached after the warm-up; it falls linearly to 0 from there."""


class PretrainOptimisation(Optimisation, StepSettings):
    """How the weights move."""

    warmup: Share = 0.01
    """Share of the run over which the learning rate rises; the paper's 10,000 of 1,000,000 steps."""
    dropout: Share | None = None
    """Dropout on states and attention; the model's own (0.1 for presets) unless given."""


class HeldOutSettings(MeasureSettings):
    """When held-out documents are measured, and how many of them."""

    evaluation_tokens: int = pydantic.Field(default=100_000, gt=0)
    """Held-out tokens measured on."""


class PretrainRecord(RecordSettings, HeldOutSettings):
    """What is written down on the way."""

    evaluate_every: int = pydantic.Field(default=500, gt=0)
    """Steps between two measurements on held-out documents."""
    keep: int = pydantic.Field(default=2, gt=0)
    """Checkpoints kept; at least the last one that is whole."""
    probes: tuple[str, ...] = ()
    """Sentences with [MASK] whose blanks the report shows over time; taken from held-out text unless given."""


class PretrainConfig(RunConfig):
    """Pre-train a BERT on a corpus."""

    free_on_resume: ClassVar[frozenset[str]] = frozenset(
        {"corpus", "out", "loader_workers", "record.log_every", "record.tensorboard", "record.keep", "card.*"}
    )

    corpus: Path
    """Directory made by `bertsmith corpus`."""
    out: Path
    """Directory of the run; the same command on it resumes."""
    model: str = "base"
    """A preset (tiny, mini, small, medium, base, large), or a model directory to go on from."""
    steps: int | None = pydantic.Field(default=None, gt=0)
    """Length of the run in optimiser steps; give this, --epochs or --budget."""
    epochs: float | None = pydantic.Field(default=None, gt=0)
    """Length of the run in passes over the corpus."""
    budget: str | None = None
    """Length of the run in time, e.g. 30m, 2h, 1d; the learning rate falls with the clock."""
    seed: int = pydantic.Field(default=0, ge=0)
    """Determines order, pairs, masks, dropout and initial weights."""
    loader_workers: int = pydantic.Field(default=1, ge=0)
    """Threads that prepare batches ahead; the batches do not depend on it."""
    examples: ExampleSettings = ExampleSettings()
    masking: Masking = Masking()
    optimisation: PretrainOptimisation = PretrainOptimisation()
    machine: Machine = Machine()
    record: PretrainRecord = PretrainRecord()
    card: CardSettings = CardSettings()

    def check(self, n_ranks: int = 1) -> None:
        """Check what single fields cannot; raises :class:`UsageError`."""
        lengths = [name for name in ("steps", "epochs", "budget") if getattr(self, name) is not None]
        if len(lengths) != 1:
            given = " and ".join(f"--{name}" for name in lengths) or "none of them"
            raise UsageError(f"give exactly one of --steps, --epochs and --budget ({given} given)")
        if self.budget is not None:
            seconds(self.budget)
        if self.optimisation.accumulation % n_ranks:
            raise UsageError(f"--accumulation {self.optimisation.accumulation} cannot be shared among {n_ranks} processes")


def seconds(duration: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``30m``, ``1.5h`` or ``2d``; :class:`UsageError` if it is none."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        value = float(duration[:-1]) * units[duration[-1]]
    except (ValueError, KeyError, IndexError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"a duration is a number with s, m, h or d behind it, such as 30m; not {duration!r}")
    return value

"""The settings that every kind of training shares: flags, TOML and Python in one."""

import re
from typing import Annotated, ClassVar, Literal

import pydantic

from bertsmith.config import Config

Share = Annotated[float, pydantic.Field(ge=0, lt=1)]


class RunConfig(Config):
    """The configuration of a run that can be resumed.

    ``free_on_resume`` names what may differ then, ``*`` standing for anything: it changes where things are or how fast they
    come, never what they are (that the data, wherever it lies, is still the same is checked by its digest).
    """

    free_on_resume: ClassVar[frozenset[str]]


class Optimisation(Config):
    """How the weights move."""

    warmup: Share = 0.1
    """Share of the run over which the learning rate rises; it falls linearly to 0 from there."""
    weight_decay: float = pydantic.Field(default=0.01, ge=0)
    """Decoupled weight decay on matrices; none on biases and norms."""
    adam_beta1: Share = 0.9
    """Decay of Adam's mean of gradients."""
    adam_beta2: Share = 0.999
    """Decay of Adam's mean of squared gradients."""
    adam_epsilon: float = pydantic.Field(default=1e-6, gt=0)
    """Added to Adam's denominator."""
    max_gradient_norm: float = pydantic.Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    dropout: Share | None = None
    """Dropout on states and attention; the model's own unless given."""


class Machine(Config):
    """Where and in what precision it runs."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU where there is one, else the CPU."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """bf16 where the machine has instructions for it, else float32; master weights are always float32."""
    compile: bool = False
    """Compile the model with torch.compile: slower to start, faster steps."""


class CardSettings(Config):
    """What the model card says that no run knows by itself."""

    language: str | None = None
    """Language of the model, such as en or zh; that of the model to start from, or of the text, unless given."""
    license: str | None = None
    """Licence of the model, such as apache-2.0; that of the model to start from unless given."""

    @pydantic.field_validator("language", "license")
    @classmethod
    def _is_code(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", value):
            raise ValueError("the hub takes a code here, such as en, zh or apache-2.0")
        return value


# pydantic puts the fields of a class's last base first: with two bases, pre-training has a field of its own between them.
class MeasureSettings(Config):
    """When figures are taken."""

    log_every: int = pydantic.Field(default=10, gt=0)
    """Steps between two lines of metrics."""
    evaluate_every: int | None = pydantic.Field(default=None, gt=0)
    """Steps between two measurements on the dev file; unless given, each epoch's end, or every second or further one's where
    there would be more than ten."""


class SaveSettings(Config):
    """When checkpoints are written, and where figures go."""

    save_every: int = pydantic.Field(default=500, gt=0)
    """Steps between two checkpoints."""
    keep: int = pydantic.Field(default=1, gt=0)
    """Checkpoints kept of the trial under way."""
    tensorboard: bool = False
    """Write TensorBoard event files as well (needs the extra bertsmith[tensorboard])."""


class RecordSettings(SaveSettings, MeasureSettings):
    """What is written down on the way."""

"""Numbers as the page gets them: short ones as lists, large ones as grids, those too large to draw in blocks.

Dimensions: T tokens, S blocks of them.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic
from pydantic_core import core_schema

Floats = npt.NDArray[np.floating[Any]]
GRID_SIDE = 256
_STEPS = 65535


def _as_list(values: Floats) -> Any:
    """Return nested lists of numbers of six digits."""
    flat: list[Any] = [float(f"{value:.6g}") for value in _finite(values).ravel().tolist()]
    for size in reversed(values.shape[1:]):
        flat = [flat[first : first + size] for first in range(0, len(flat), size)]
    return flat


def _as_grid(values: Floats) -> dict[str, Any]:
    """Return shape, range and the values as 16-bit steps of the range, so exact to 1/131070 of it."""
    values = _finite(values)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    steps = np.rint((values - low) * (_STEPS / (high - low))) if high > low else np.zeros(values.shape)
    data = base64.b64encode(steps.astype("<u2").tobytes()).decode("ascii")
    return {"shape": list(values.shape), "low": low, "high": high, "data": data}


def _as_number(value: float | None) -> float | None:
    return None if value is None else float(_as_list(np.array([value]))[0])


def _six_digits(value: Any) -> Any:
    match value:
        case dict():
            return {name: _six_digits(one) for name, one in value.items()}
        case list():
            return [_six_digits(one) for one in value]
        case float():
            return _as_number(value)
    return value


def _finite(values: Floats) -> Floats:
    if not np.isfinite(values).all():
        raise ValueError("not a finite number")
    return values


_GRID_SCHEMA = {
    "type": "object",
    "description": "Values low + (high - low) * step / 65535; data is base64 of the steps, little-endian uint16, row by row.",
    "required": ["shape", "low", "high", "data"],
    "properties": {
        "shape": {"type": "array", "items": {"type": "integer"}},
        "low": {"type": "number"},
        "high": {"type": "number"},
        "data": {"type": "string", "contentEncoding": "base64"},
    },
}
_LIST_SCHEMA = {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}}


def _serialised(function: Callable[[Any], Any]) -> pydantic.GetPydanticSchema:
    serialiser = core_schema.plain_serializer_function_ser_schema(function)
    return pydantic.GetPydanticSchema(lambda _source, _handler: core_schema.any_schema(serialization=serialiser))


Listed = Annotated[Floats, _serialised(_as_list), pydantic.WithJsonSchema(_LIST_SCHEMA)]
"""An array that travels as nested lists."""
Grid = Annotated[Floats, _serialised(_as_grid), pydantic.WithJsonSchema(_GRID_SCHEMA)]
"""An array that travels as a grid."""
Number = Annotated[float, _serialised(_as_number), pydantic.WithJsonSchema({"type": "number"})]
"""A number that travels with six digits."""

ROUNDED = pydantic.WrapSerializer(lambda value, as_plain: _six_digits(as_plain(value)))
"""Annotates what others than the page made: its numbers travel with six digits."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How T tokens are brought to S ≤ T rows: block i is tokens ``edges[i]`` to ``edges[i + 1]``."""

    shown: int
    of: int
    edges: list[int]

    @classmethod
    def of_tokens(cls, n_tokens: int, side: int = GRID_SIDE) -> "Blocks":
        """Cut into at most ``side`` blocks of equal size, but for one token."""
        shown = min(n_tokens, side)
        return cls(shown, n_tokens, np.linspace(0, n_tokens, shown + 1).astype(int).tolist())

    def maxima(self, values: Floats) -> Floats:
        """Return (…, S, S): the maximum of each block of (…, T, T)."""
        return self._reduced(values, np.maximum.reduceat)

    def means(self, values: Floats) -> Floats:
        """Return (…, S, S): the mean of each block of (…, T, T)."""
        sizes = np.diff(self.edges)
        return self._reduced(values, np.add.reduceat) / (sizes[:, None] * sizes)

    def _reduced(self, values: Floats, reduce: Callable[..., Any]) -> Floats:
        if self.shown == self.of:
            return values
        starts = self.edges[:-1]
        reduced: Floats = reduce(reduce(values, starts, axis=-2), starts, axis=-1)
        return reduced


Reduction = Literal["none", "max", "mean"]

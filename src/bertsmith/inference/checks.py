"""What all pipelines check of what they are given."""

from collections.abc import Iterable
from typing import Any

from bertsmith.engine.engine import Engine
from bertsmith.errors import InputError, UsageError


def check_length(engine: Engine, max_length: int | None) -> int:
    """Return how many tokens are read at a time: ``max_length``, or as many as the model has positions.

    Raises:
        UsageError: the model has fewer positions, or no token fits between ``[CLS]`` and ``[SEP]``.
    """
    positions = engine.model.config.max_positions
    if max_length is None:
        return positions
    if not 2 < max_length <= positions:
        raise UsageError(f"max_length {max_length} is not between 3 and the {positions} positions that the model has")
    return max_length


def refuse_single(inputs: Iterable[Any]) -> None:
    """Raise :class:`InputError` for one text where a list or a generator of them is meant, which would be its letters."""
    if isinstance(inputs, str):
        raise InputError(f"a pipeline takes a list or a generator of texts, not one text: write pipe([{inputs!r:.40}])")

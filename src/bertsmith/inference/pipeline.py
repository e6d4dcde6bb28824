"""What every pipeline is: any number of inputs in, one typed prediction for each, in order."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from bertsmith.arguments import whole_number
from bertsmith.engine.engine import Engine
from bertsmith.errors import UsageError
from bertsmith.text.tokenizer import Tokenizer

InputT = TypeVar("InputT")
PredictionT = TypeVar("PredictionT")


class Pipeline(ABC, Generic[InputT, PredictionT]):
    """Answers for inputs with a model.

    Args:
        engine: Runs the model.
        tokenizer: The model's tokenizer.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self.engine, self.tokenizer = engine, tokenizer

    def __call__(self, inputs: Iterable[InputT]) -> list[PredictionT]:
        """Return a prediction for each input, in order.

        Raises:
            InputError: an input is not what the pipeline takes.
        """
        return list(self.stream(inputs))

    def __repr__(self) -> str:
        config, engine = self.engine.model.config, self.engine
        facts = [*self._facts(), f"{config.n_layers} layers of {config.width}", f"{engine.precision} on {engine.device}"]
        return f"<{type(self).__name__}: {'; '.join(facts)}>"

    def _facts(self) -> Iterator[str]:
        """Yield what is said of this pipeline before what is said of all."""
        yield from ()

    @abstractmethod
    def stream(self, inputs: Iterable[InputT]) -> Iterator[PredictionT]:
        """Yield the predictions in order; any number of inputs in bounded memory."""

    @abstractmethod
    def check(self, value: Any) -> None:
        """Raise :class:`InputError` for what is no input of this pipeline."""

    @abstractmethod
    def record(self, value: InputT, prediction: PredictionT) -> Mapping[str, Any]:
        """Return a prediction as one JSON object."""


def check_length(engine: Engine, max_length: int | None) -> int:
    """Return how many tokens are read at a time: ``max_length``, or as many as the model has positions.

    Raises:
        UsageError: the model has fewer positions, or no token fits between ``[CLS]`` and ``[SEP]``.
    """
    positions = engine.model.config.max_positions
    if max_length is None:
        return positions
    if not 2 < whole_number(max_length, "max_length", 0) <= positions:
        raise UsageError(f"max_length {max_length} is not between 3 and the {positions} positions that the model has")
    return max_length

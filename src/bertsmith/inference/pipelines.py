"""The pipeline of a model directory's own task."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from bertsmith.artifacts.directory import load_model
from bertsmith.errors import ArtifactError
from bertsmith.model.bert import Bert
from bertsmith.tasks.fill import Filled, fill
from bertsmith.text.tokenizer import Tokenizer

_TEXTS_AT_ONCE = 32


class FillPipeline:
    """Fills the blanks of texts."""

    def __init__(self, model: Bert, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def __call__(self, texts: Iterable[str], top: int = 5) -> list[Filled]:
        """Return each text with the ``top`` likeliest tokens for every ``[MASK]`` in it.

        Raises:
            InputError: a text has no ``[MASK]``, or more tokens than the model has positions.
        """
        return list(self.stream(texts, top))

    def stream(self, texts: Iterable[str], top: int = 5) -> Iterator[Filled]:
        """Yield results one after the other; any number of texts in bounded memory."""
        remaining = iter(texts)
        while batch := list(islice(remaining, _TEXTS_AT_ONCE)):
            yield from fill(self.model, self.tokenizer, batch, top)


def pipeline(path: str | Path) -> FillPipeline:
    """Return the pipeline for the task that the directory's model was trained for.

    Raises:
        ArtifactError: no model directory, or one whose model has no head to predict with.
    """
    path = Path(path)
    model = load_model(path)
    if model.masked_token is None:
        raise ArtifactError(f"{path} holds a model without a masked-token head; there is nothing for a pipeline to predict")
    return FillPipeline(model, Tokenizer.load(path))

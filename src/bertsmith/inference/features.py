"""Contextual vectors of texts of any length: every token at every layer, gathered by word or pooled by text.

Dimensions: T tokens of a batch, S tokens of a text, W words of it, L layers that were chosen, D width.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from bertsmith.arguments import check_text, one_of, texts, whole_number
from bertsmith.artifacts.directory import load_model
from bertsmith.batches.look_ahead import prepared_ahead
from bertsmith.batches.windows import Part, Window, make_windows
from bertsmith.engine.engine import Engine, Wanted, make_engine
from bertsmith.errors import DivergedError
from bertsmith.inference.pipeline import Pipeline, check_length
from bertsmith.model.bert import Heads
from bertsmith.model.heads.pooling import Pooling
from bertsmith.model.mixing import Layers as Layers
from bertsmith.tasks.predictor import in_batches
from bertsmith.tasks.task import Sample, SampleBatch
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import Encoding

Floats = npt.NDArray[np.float32]
OfWords = Literal["first", "last", "mean"]

# Texts are tokenised ahead this many characters at a time, and windows of this many batches are sorted by length at a time;
# of a GPU's large ones fewer, since a token has a hundred kilobytes at all layers of a large model.
_CHARACTERS_AHEAD = 1 << 17
_BATCHES_AT_ONCE, _TOKENS_AT_ONCE = 4, 1 << 14


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """The tokens of a text of any length with their vectors; lists and the axis S have one entry a token.

    text       the text as it was given
    tokens     [CLS] … [SEP]
    offsets    characters of the text; (0, 0) for [CLS] and [SEP]
    word_ids   numbers of words from 0; None for [CLS] and [SEP]
    layers_LSD the chosen layers, or their combination (then L = 1). A text longer than the model reads is read in windows
               that overlap: a token's vector is from the window that owns it, [CLS] is the first window's and [SEP] the last's
    """

    text: str
    tokens: list[str]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]
    layers_LSD: Floats  # noqa: N815

    def words(self, which: OfWords) -> tuple[list[tuple[int, int]], Floats]:
        """Return the words' characters and vectors (L, W, D): of the first or the last WordPiece, or the mean of all.

        Words are what BERT's tokenizer splits at blanks and marks; a Chinese character is one. Of what its clean-up deletes
        nothing is here.

        Raises:
            UsageError: there is no such ``which``.
        """
        one_of(which, get_args(OfWords), "words")
        words = np.array(self.word_ids[1:-1], np.int64)
        firsts = np.flatnonzero(np.diff(words, prepend=-1))
        lasts = np.append(firsts[1:], len(words))[: len(firsts)] - 1
        inner = self.offsets[1:-1]
        spans = [(inner[first][0], inner[last][1]) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)]
        vectors_LSD = self.layers_LSD[:, 1:-1]
        if which != "mean":
            return spans, vectors_LSD[:, firsts if which == "first" else lasts]
        if not len(firsts):
            return spans, vectors_LSD
        sums_LWD: Floats = np.add.reduceat(vectors_LSD, firsts, axis=1)
        sums_LWD /= (lasts - firsts + 1)[:, None]
        return spans, sums_LWD

    def pooled(self, pooling: Pooling) -> Floats:
        """Return one vector a layer (L, D): [CLS]'s, or the mean or the most over all tokens, [CLS] and [SEP] too.

        Raises:
            UsageError: there is no such ``pooling``.
        """
        if one_of(pooling, get_args(Pooling), "pooled") == "cls":
            return self.layers_LSD[:, 0]
        pooled: Floats = self.layers_LSD.mean(axis=1) if pooling == "mean" else self.layers_LSD.max(axis=1)
        return pooled


class FeaturePipeline(Pipeline[str, TextFeatures]):
    """Reads texts of any length and returns the vectors of their tokens.

    Args:
        engine: Runs the model.
        tokenizer: The model's tokenizer.
        layers: Which layers.
        max_length: Tokens of a window, [CLS] and [SEP] included; the model's positions unless given.
        stride: Tokens from the beginning of one window to that of the next; half the window unless given.

    Raises:
        UsageError: the model has fewer positions, or the stride is no number of tokens.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, layers: Layers, max_length: int | None = None, stride: int | None = None
    ) -> None:
        super().__init__(engine, tokenizer)
        self.layers = layers
        self._max_length = check_length(engine, max_length)
        self._stride = max(1, self._max_length // 2) if stride is None else whole_number(stride, "stride", 1)

    @classmethod
    def load(
        cls,
        path: str | Path,
        layers: str = "-1",
        *,
        device: str = "cpu",
        precision: Wanted = "float32",
        max_length: int | None = None,
        stride: int | None = None,
    ) -> Self:
        """Open a model directory.

        Args:
            path: Model directory, one of transformers' too.
            layers: As :meth:`~bertsmith.model.mixing.Layers.parse` reads them, such as ``-1``, ``all`` or ``concat-last-4``.
            device: As for :func:`bertsmith.pipeline`.
            precision: As for :func:`bertsmith.pipeline`.
            max_length: Tokens of a window, [CLS] and [SEP] included; the model's positions unless given.
            stride: Tokens from the beginning of one window to that of the next; half the window unless given.

        Raises:
            ArtifactError: no model directory.
            UsageError: the model has no such layers, or fewer positions; the machine has no such device or precision.
        """
        model, tokenizer = load_model(path, Heads()), Tokenizer.load(path)
        chosen = Layers.parse(layers, model.config.n_layers)
        return cls(make_engine(model, device, precision), tokenizer, chosen, max_length, stride)

    def _facts(self) -> Iterator[str]:
        numbers = ", ".join(map(str, self.layers.numbers))
        yield f"layers {numbers}, {self.layers.how}"
        yield f"windows of {self._max_length} tokens"

    def check(self, value: Any) -> None:
        """Raise :class:`InputError` for what is no text."""
        check_text(value)

    def record(self, value: str, prediction: TextFeatures) -> Mapping[str, Any]:
        """Return the tokens with their vectors (L, D) as one JSON object."""
        spans = zip(prediction.tokens, prediction.offsets, prediction.layers_LSD.swapaxes(0, 1).tolist(), strict=True)
        tokens = [{"text": text, "start": start, "end": end, "vectors": of_layers} for text, (start, end), of_layers in spans]
        return {"text": value, "tokens": tokens}

    def stream(self, inputs: Iterable[str]) -> Iterator[TextFeatures]:
        """Yield features in order; any number of texts in memory for the longest of them and some thousands of tokens.

        Raises:
            DivergedError: a vector is NaN or infinite.
        """
        wanted = min(_BATCHES_AT_ONCE * self.engine.token_budget, _TOKENS_AT_ONCE)
        waiting: list[tuple[Window, _Filling]] = []
        n_tokens = 0
        for _, encoded in prepared_ahead(_by_characters(texts(inputs)), 1, self._encoded):
            for text, encoding, windows in encoded:
                filling = _Filling.of(text, encoding, windows, self.layers.shape(self.engine.model.config.width))
                for window in windows:
                    waiting.append((window, filling))
                    n_tokens += len(window.token_ids)
                    if n_tokens >= wanted:
                        yield from self._read(waiting)
                        waiting, n_tokens = [], 0
        yield from self._read(waiting)

    def _encoded(self, groups: Sequence[Sequence[str]]) -> list[tuple[str, Encoding, list[Window]]]:
        (texts,) = groups
        return [
            (text, encoding, self._windows(encoding))
            for text, encoding in zip(texts, self.tokenizer.encode_many(texts), strict=True)
        ]

    def _windows(self, encoding: Encoding) -> list[Window]:
        first, *middle, last = encoding.token_ids
        return make_windows([Part([first])], Part(middle), [Part([last])], self._max_length, self._stride)

    def _read(self, waiting: "Sequence[tuple[Window, _Filling]]") -> Iterator[TextFeatures]:
        """Compute the windows in batches of similar lengths, and yield the texts that are whole now."""
        samples = [Sample((window,)) for window, _ in waiting]
        for place, layers_LTD in in_batches(samples, self.engine.token_budget, self._layers):
            window, filling = waiting[place]
            filling.take(window, layers_LTD)
        texts = {id(filling): filling for _, filling in waiting}
        yield from (filling.features for filling in texts.values() if not filling.n_missing)

    def _layers(self, batch: SampleBatch) -> list[Floats]:
        """Return the chosen layers (L, T, D) of each window of a batch."""
        layers_LTD = self.layers.of(self.engine.layers(batch.inputs)).cpu().numpy()
        if not np.isfinite(layers_LTD).all():
            raise DivergedError("the model's vectors are NaN or infinite, so it cannot be used: take an earlier checkpoint")
        return np.split(layers_LTD, batch.inputs.cu_seqlens[1:-1].numpy(), axis=1)


@dataclass(slots=True)
class _Filling:
    """A text on its way: some of its windows have been read."""

    features: TextFeatures
    n_missing: int

    @classmethod
    def of(cls, text: str, encoding: Encoding, windows: Sequence[Window], shape: tuple[int, int]) -> Self:
        layers, width = shape
        layers_LSD = np.empty((layers, len(encoding.tokens), width), np.float32)
        return cls(TextFeatures(text, encoding.tokens, encoding.offsets, encoding.word_ids, layers_LSD), len(windows))

    def take(self, window: Window, layers_LTD: Floats) -> None:
        """Take from a window what it owns."""
        into_LSD = self.features.layers_LSD
        n_tokens = into_LSD.shape[1] - 2
        first, last = window.owned
        # A row of the text is one behind the token's place, and so is a row of the window.
        begin, end = first + (first > 0), last + (2 if last == n_tokens else 1)
        shift = window.start
        into_LSD[:, begin:end] = layers_LTD[:, begin - shift : end - shift]
        self.n_missing -= 1


def _by_characters(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield texts together, as many as have some hundred thousand characters."""
    group: list[str] = []
    n_characters = 0
    for text in texts:
        group.append(text)
        n_characters += len(text) + 1
        if n_characters >= _CHARACTERS_AHEAD:
            yield group
            group, n_characters = [], 0
    if group:
        yield group

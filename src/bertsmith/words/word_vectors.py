"""Contextual vectors of words where they occur.

Dimensions: L layers, S tokens of a text, D width.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, tee

import numpy as np

from bertsmith.inference.features import FeaturePipeline, Floats, TextFeatures
from bertsmith.text.occurrences import Occurrence


def word_vectors(pipeline: FeaturePipeline, occurrences: Iterable[Occurrence]) -> Iterator[tuple[Occurrence, Floats]]:
    """Yield occurrences with their vectors (L, D), the mean over the WordPieces; in order, in bounded memory.

    A text is read once for all of its occurrences that follow one another. Of a word whose characters the tokenizer deletes
    there is no vector, and it is left out.
    """
    for_texts, for_vectors = tee((text, list(found)) for text, found in groupby(occurrences, lambda one: one.text))
    texts = (text for text, _ in for_texts)
    for features, (_, found) in zip(pipeline.stream(texts), for_vectors, strict=True):
        for occurrence in found:
            rows = _rows(features, occurrence)
            if rows:
                yield occurrence, features.layers_LSD[:, rows].mean(axis=1, dtype=np.float32)


def _rows(features: TextFeatures, occurrence: Occurrence) -> list[int]:
    """Return the tokens that have characters of a word; [CLS] and [SEP] have none."""
    return [
        row
        for row, (first, last) in enumerate(features.offsets)
        if first < occurrence.end and last > max(first, occurrence.start)
    ]

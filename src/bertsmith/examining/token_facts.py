"""How long texts are in tokens, and how much of them a tokenizer does not know."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from bertsmith.batches.windows import stretches
from bertsmith.examining.data_report import Histogram, TokenFacts
from bertsmith.tasks.content import Content
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

_BINS = 30
_TEXTS_LOOKED_INTO = 200
_UNKNOWN_SHOWN = 8


def token_facts(contents: Sequence[Content], task: Task, tokenizer: Tokenizer) -> TokenFacts | None:
    """Return the lengths of the sequences of examples, and their unknown tokens; None where there are no texts."""
    sequences = [texts for content in contents for texts in content.sequences]
    if not sequences:
        return None
    texts = list(dict.fromkeys(text for own in sequences for text in own))
    ids = dict(zip(texts, tokenizer.token_ids(texts), strict=True))
    parts = [[len(ids[text]) for text in own] for own in sequences]
    lengths = np.array([sum(own) + len(own) + 1 for own in parts])
    long = [own for own, length in zip(parts, lengths, strict=True) if length > task.max_length]
    n_unknown = {text: found for text in texts if (found := ids[text].count(tokenizer.unk_id))}
    return TokenFacts(
        n_sequences=len(sequences),
        median=int(np.median(lengths)),
        percentile_95=int(np.quantile(lengths, 0.95)),
        longest=int(lengths.max()),
        max_length=task.max_length,
        has_windows=task.reads_windows,
        n_long=len(long),
        n_windows=sum(_n_windows(own, task) for own in long) if task.reads_windows else 0,
        n_tokens=sum(map(sum, parts)),
        n_unknown=sum(n_unknown.get(text, 0) for own in sequences for text in own),
        unknown=_unknown_words(list(n_unknown)[:_TEXTS_LOOKED_INTO], tokenizer),
        histogram=histogram_of(lengths.tolist(), is_whole=True),
    )


def _n_windows(parts: Sequence[int], task: Task) -> int:
    """Return in how many windows a sequence is read: its longest text slides past the others, cut to half of the room."""
    room = task.max_length - len(parts) - 1
    beside = min(sum(parts) - max(parts), room // 2)
    return len(stretches(max(parts), room - beside, task.stride))


def _unknown_words(texts: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Return the stretches of text that most often become [UNK]."""
    found: Counter[str] = Counter()
    for text, encoding in zip(texts, tokenizer.encode_many(texts), strict=True):
        pairs = zip(encoding.token_ids, encoding.offsets, strict=True)
        found.update(text[start:end] for token_id, (start, end) in pairs if token_id == tokenizer.unk_id and end > start)
    return [word for word, _ in found.most_common(_UNKNOWN_SHOWN)]


def histogram_of(values: Iterable[float], *, is_whole: bool = False) -> Histogram:
    """Return at most thirty bins of equal width, of whole numbers as wide as whole numbers are; up to the 99th percentile
    where the rest is far away, the last bin having all that is above."""
    array = np.array(list(values), dtype=np.float64)
    low, high = float(array.min()), float(array.max())
    if is_whole:
        high = max(float(np.quantile(array, 0.99)), low + 1)
        width = max(1.0, np.ceil((high - low + 1) / _BINS))
        edges = np.arange(low, high + width + 0.5, width)
    else:
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    counts, _ = np.histogram(np.minimum(array, edges[-1]), edges)
    return Histogram(edges.tolist(), counts.tolist())

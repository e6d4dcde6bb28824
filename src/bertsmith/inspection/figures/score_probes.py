"""What can be asked of a model as scores that change when something inside it changes.

Dimensions: T tokens of one sequence, B copies of it, D width, C scores.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bertsmith.errors import Refusal
from bertsmith.inspection.figures.finetuned import task_answer
from bertsmith.inspection.subject import Reading
from bertsmith.inspection.watcher import NOBODY, Watcher, in_parts
from bertsmith.tasks.shown import SpanAnswer
from bertsmith.threads import threads_for
from bertsmith.types import PackedBatch

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreProbe:
    """Scores of copies of a sequence.

    token_ids   (T,)  the sequence, with the token to predict masked
    labels      C     what the scores are of
    logits            from hidden states (B T, D) and their batch to scores (B, C)
    to_shares         from scores to probabilities; the identity for a number
    """

    token_ids: Integers
    segment_ids: Integers
    labels: Sequence[str]
    logits: Callable[[Tensor, PackedBatch], Tensor]
    to_shares: Callable[[Tensor], Tensor]

    def batch(self, token_ids_BT: Integers) -> PackedBatch:
        """Return copies of the sequence with these tokens, laid end to end."""
        n_copies, n_tokens = token_ids_BT.shape
        return PackedBatch.from_arrays(token_ids_BT.ravel(), np.tile(self.segment_ids, n_copies), np.full(n_copies, n_tokens))


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


def token_probe(reading: Reading, position: int) -> ScoreProbe:
    """Ask which token stands at ``position``, where the model reads ``[MASK]``."""
    token_ids = masked_ids(reading, position)
    head, tokens = reading.subject.model.masked_token, reading.subject.tokenizer.tokens
    assert head is not None

    def logits(hidden: Tensor, batch: PackedBatch) -> Tensor:
        scores: Tensor = head(hidden[batch.cu_seqlens[:-1].long() + position])
        return scores[:, : len(tokens)]  # the model may have more rows

    return ScoreProbe(token_ids, _segments(reading), tokens, logits, _softmax)


def masked_ids(reading: Reading, position: int) -> Integers:
    """Return the token ids with ``[MASK]`` at ``position``."""
    reading.check_position(position)
    mask_id, model = reading.subject.tokenizer.mask_id, reading.subject.model
    if mask_id is None or model.masked_token is None:
        lacking = "[MASK] in its vocabulary" if mask_id is None else "masked-token head"
        raise Refusal("missing", f"this model has no {lacking}, so it cannot predict tokens", view="predict")
    token_ids = np.array(reading.encoding.token_ids, np.int64)
    token_ids[position] = mask_id
    return token_ids


def next_sentence_probe(reading: Reading) -> ScoreProbe:
    """Ask whether the second text follows the first."""
    head = reading.subject.model.next_sentence
    if head is None:
        raise Refusal("missing", "this model has no next-sentence head", view="next-sentence")
    if reading.pair is None:
        raise Refusal("needs_pair", "whether one text follows another takes two texts: give a pair")
    return ScoreProbe(_ids(reading), _segments(reading), ("follows", "elsewhere"), head, _softmax)


def task_probe(reading: Reading, position: int | None, watcher: Watcher) -> ScoreProbe:
    """Ask what the model was fine-tuned for: a class, a number, the tag at ``position``, the best span's score."""
    task = reading.subject.tuned.task
    match task.explains:
        case None:
            message = "a model that chooses compares several texts, so it has no score of one"
            raise Refusal("missing", message, view="attribution")
        case "token":
            if position is None:
                raise Refusal("invalid", "of which token? give its position", field="position")
            reading.check_position(position)
            return _task_probe(reading, _names(reading), lambda scores, starts: scores[starts + position])
        case "span":
            first, last, text = best_span(reading, watcher)

            def span(scores: Tensor, starts: Tensor) -> Tensor:
                return (scores[starts + first, 0] + scores[starts + last, 1])[:, None]

            return _task_probe(reading, (text,), span)
    return _task_probe(reading, _names(reading), lambda scores, _: scores)


def _names(reading: Reading) -> Sequence[str]:
    """Return what the scores of the task's head are of: classes, a value, or what has but a number."""
    classes, n_scores = reading.subject.tuned.task.classes, reading.scores().shape[1]
    if len(classes) == n_scores:
        return classes
    return ("value",) if n_scores == 1 else [str(number) for number in range(1, n_scores + 1)]


def _task_probe(reading: Reading, labels: Sequence[str], select: Callable[[Tensor, Tensor], Tensor]) -> ScoreProbe:
    """Return the probe of what ``select`` takes of the head's scores, given these and the row where each copy begins."""
    subject = reading.subject
    head = subject.model.task
    assert head is not None

    def logits(hidden: Tensor, batch: PackedBatch) -> Tensor:
        return select(head(hidden.float(), batch), batch.cu_seqlens[:-1].long())

    return ScoreProbe(_ids(reading), _segments(reading), labels, logits, subject.tuned.task.probabilities)


def best_span(reading: Reading, watcher: Watcher = NOBODY) -> tuple[int, int, str]:
    """Return the rows of the first and last token of the likeliest answer in the second text, and its text."""
    found = task_answer(reading, watcher=watcher)
    assert isinstance(found, SpanAnswer)
    for span in found.spans:
        rows = [
            row
            for row, (start, end) in enumerate(reading.encoding.offsets)
            if reading.encoding.segment_ids[row] == 1 and end > span.start and start < span.end and not reading.is_special[row]
        ]
        if rows:
            return rows[0], rows[-1], span.text
    raise Refusal("no_answer", "the text holds nothing to answer with where the model reads it")


def _ids(reading: Reading) -> Integers:
    return np.array(reading.encoding.token_ids, np.int64)


def _segments(reading: Reading) -> Integers:
    return np.array(reading.encoding.segment_ids, np.int64)


def copies_in_parts(n_copies: int, n_tokens: int, watcher: Watcher) -> Iterator[slice]:
    """Yield the parts of copies of a sequence that are computed at a time, on as many threads as suit them;
    :class:`Cancelled` when nobody waits any more."""
    for part in in_parts([n_tokens] * n_copies, watcher):
        with threads_for((part.stop - part.start) * n_tokens):
            yield part

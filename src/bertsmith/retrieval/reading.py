"""Answers to questions from many documents: passages found, perhaps ranked, and read together under one softmax."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertsmith.arguments import check_text
from bertsmith.engine.engine import Wanted
from bertsmith.errors import DivergedError, InputError
from bertsmith.inference.pipelines import TaskPipeline
from bertsmith.retrieval.passages import Finder, Passage
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.spans import Answered

Scorer = Callable[[str, Sequence[str]], Sequence[float]]
"""From a question and passages to how well each fits it; more is better."""


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """An answer: characters ``start`` to ``end`` of the document's text, in its paragraph of that number, from 1."""

    text: str
    probability: float
    document: str
    paragraph: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What the documents say to a question.

    answer     the best answer's text; empty where the passages seem to hold none
    no_answer  the probability that they hold none; 0 where the model was trained on questions that all have an answer
    answers    the likeliest answers, the best first, no two of the same text; their probabilities and the one above are shares
               of all spans of all passages read
    """

    question: str
    answer: str
    no_answer: float
    answers: tuple[FoundAnswer, ...]


class DocumentReader:
    """Answers questions from passages.

    Args:
        pipe: A model fine-tuned for ``answer``.
        passages: Of all documents.
        finder: Says which passages fit a question.
        ranker: Scores the passages found, of which the best are read; without it, those that the finder likes best are.
        n_read: Passages read for a question.
        n_ranked: Passages found for the ranker to choose from.
    """

    def __init__(
        self,
        pipe: TaskPipeline,
        passages: Sequence[Passage],
        finder: Finder,
        ranker: Scorer | None = None,
        n_read: int = 20,
        n_ranked: int = 100,
    ) -> None:
        self._pipe, self._passages, self._finder, self._ranker = pipe, passages, finder, ranker
        self._n_read, self._n_ranked = n_read, n_ranked

    def __call__(self, question: str) -> Reply:
        """Return what the passages say; :class:`InputError` for an empty question."""
        check_text(question, "question")
        if not question.strip():
            raise InputError("the question is empty; ask something")
        passages = self._read(question)
        if not passages:
            return Reply(question, "", 1.0, ())
        (found,) = self._pipe([(question, [passage.text for passage in passages])])
        if not math.isfinite(found.no_answer):
            raise DivergedError("the model's scores are NaN or infinite, so it cannot be used: take an earlier checkpoint")
        may_be_none = getattr(self._pipe.task, "has_no_answers", True)
        return Reply(question, found.text, _no_answer(found) if may_be_none else 0.0, _located(found, passages))

    def _read(self, question: str) -> list[Passage]:
        """Return the passages to read."""
        n_found = self._n_read if self._ranker is None else max(self._n_ranked, self._n_read)
        found = [self._passages[place] for place in self._finder.search(question, n_found)]
        if self._ranker is None or not found:
            return found
        scores = self._ranker(question, [passage.text for passage in found])
        best = sorted(range(len(found)), key=lambda place: -scores[place])
        return [found[place] for place in best[: self._n_read]]


def _no_answer(found: Answered) -> float:
    # The scores are logarithms of probabilities but for a constant.
    return math.exp(min(found.no_answer, 700.0)) * found.spans[0].probability if found.spans else 1.0


def _located(found: Answered, passages: Sequence[Passage]) -> tuple[FoundAnswer, ...]:
    """Return the spans with where they stand in the documents."""
    answers = []
    for span in found.spans:
        assert span.paragraph is not None
        passage = passages[span.paragraph - 1]
        start, end = passage.start + span.start, passage.start + span.end
        answers.append(FoundAnswer(span.text, span.probability, passage.document, passage.paragraph, start, end))
    return tuple(answers)


def ranker(path: Path, device: str = "cpu", precision: Wanted = "float32") -> Scorer:
    """Return the scorer of the directory of a ranker, one of sentence-transformers' cross-encoders too.

    Raises:
        ArtifactError: the directory's model does not rank.
    """
    pipe = TaskPipeline.load(path, Rank, device=device, precision=precision)

    def scores(question: str, texts: Sequence[str]) -> list[float]:
        (ranking,) = pipe([(question, list(texts))])
        return [one.score for one in sorted(ranking.candidates, key=lambda one: one.number)]

    return scores

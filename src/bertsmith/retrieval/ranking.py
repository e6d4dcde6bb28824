"""The best of any number of candidates for one query."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice

from bertsmith.inference.pipelines import TaskPipeline
from bertsmith.tasks.files.candidates import RankExample

# Enough for several batches at a time.
_CANDIDATES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """A candidate, where it comes from, the model's score of it, and the logistic function of that."""

    text: str
    source: str
    score: float
    probability: float


def best_candidates(pipe: TaskPipeline, query: str, candidates: Iterable[tuple[str, str]], top: int) -> list[ScoredCandidate]:
    """Return the ``top`` best candidates, each a text and its source, the best first; equally good ones as they come.

    In memory are the best and those being read, however many there are.
    """
    return heapq.nlargest(top, _scored(pipe, query, candidates), key=lambda found: found.score)


def _scored(pipe: TaskPipeline, query: str, candidates: Iterable[tuple[str, str]]) -> Iterator[ScoredCandidate]:
    """Yield the candidates in order."""
    for example, ranking in pipe.predict(_examples(query, candidates)):
        for one in sorted(ranking.candidates, key=lambda one: one.number):
            yield ScoredCandidate(one.text, example.candidate_ids[one.number], one.score, one.probability)


def _examples(query: str, candidates: Iterable[tuple[str, str]]) -> Iterator[RankExample]:
    remaining = iter(candidates)
    for number in count():
        if not (part := list(islice(remaining, _CANDIDATES_AT_ONCE))):
            return
        texts, sources = zip(*part, strict=True)
        yield RankExample(query, texts, None, str(number), sources, "")

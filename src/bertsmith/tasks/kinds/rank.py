"""Ranking the candidates of a query by reading each together with it (Nogueira and Cho 2019).

Dimensions: B sequences, Q queries of the batch, n examples or candidates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.batches.windows import Window
from bertsmith.config import Flag
from bertsmith.errors import InputError, Refusal
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.sequence import SequenceScores
from bertsmith.randomness import key, permutation
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.candidates import RankColumns, RankExample, read_queries
from bertsmith.tasks.scoring.rank_scores import MEASURES, ranking_scores
from bertsmith.tasks.scoring.scores import check_predictions
from bertsmith.tasks.sentence_task import PairCutter
from bertsmith.tasks.shown import NumberAnswer
from bertsmith.tasks.split_keys import SplitKeys
from bertsmith.tasks.task import Floats, Logits, Mistake, Review, Sample, SampleBatch, Seen, Submission, Task, log, worst
from bertsmith.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """A candidate, its number from 0 as it was given, and the model's score of it.

    ``probability`` is the logistic function of the score: of a model trained pointwise, how likely it is to be relevant.
    """

    text: str
    number: int
    score: float
    probability: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates of a query, the best first; equally good ones in the order in which they were given."""

    candidates: tuple[RankedCandidate, ...]


class Rank(Task[RankExample, Ranking]):
    """Candidates of a query by their relevance: WikiQA, MS MARCO, CSV, TSV, JSON lines."""

    kind: ClassVar[str] = "rank"
    pipeline_tag: ClassVar[str] = "text-ranking"
    usual_metric: ClassVar[str] = "map"
    reads_examples_of: ClassVar[Literal["text", "question", "query", "choices"]] = "query"
    reads_windows: ClassVar[bool] = False
    look_ahead: ClassVar[int] = 32

    columns: RankColumns = RankColumns()
    loss_kind: Annotated[Literal["pointwise", "pairwise", "listwise"], Flag(name="loss")] = "pointwise"
    """What is learnt: each candidate's relevance, which of two is better, or the distribution over all of a query."""
    negatives: int | None = pydantic.Field(default=None, gt=0)
    """The most irrelevant candidates that a query is trained with, drawn at random; by default all."""
    highest_relevance: float | None = pydantic.Field(default=None, gt=0)
    """The relevance of the best candidates; the highest of the training file unless given."""

    def read(self, path: str | Path, *, labelled: bool, format: str | None = None) -> Iterator[RankExample]:  # noqa: A002
        """Yield the queries of a file with their candidates."""
        return read_queries(path, self.columns, labelled=labelled, format=format)

    def example(self, value: Any) -> RankExample:
        """Return the example for (query, candidates)."""
        match value:
            case (str() as query, [_, *_] as candidates) if all(isinstance(one, str) for one in candidates):
                return RankExample(query, tuple(candidates), None, "", tuple(map(str, range(len(candidates)))), "")
        raise InputError(f"rank takes pairs of a query and one candidate or more, not {value!r:.80}")

    def question(self, text: str, pair: str | None, choices: Sequence[str] | None) -> tuple[str, list[str]]:  # noqa: ARG002
        """Return the query with the second text as its one candidate."""
        if pair is None:
            raise Refusal("needs_pair", "a query needs a text that may be relevant to it: give it as the pair")
        return text, [pair]

    def fitted(self, examples: Sequence[RankExample]) -> Self:
        """Return the task with the highest relevance; refuse examples of which no candidate is relevant."""
        highest = max(max(_known(example)) for example in examples)
        if not highest:
            raise InputError(
                f"none of the {len(examples):,} training queries has a relevant candidate, so nothing can be learnt: "
                "label relevant candidates 1 or more"
            )
        return self.model_copy(update={"highest_relevance": self.highest_relevance or highest})

    def check(self, examples: Sequence[RankExample]) -> None:
        """Refuse queries of which none has a relevant candidate; say how many have none."""
        n_without = sum(not any(_known(example)) for example in examples)
        if examples and n_without == len(examples):
            raise InputError(
                f"none of the {n_without:,} queries to be scored, the first at {examples[0].source}, has a relevant candidate; "
                "give a --dev file of others, or label relevant candidates 1 or more"
            )
        if n_without:
            log.warning(
                "%d of %d queries have no relevant candidate: they are left out of the scores", n_without, len(examples)
            )

    def content(self, example: RankExample) -> Content:
        """Return the query with each candidate; what is counted is how many of these are relevant."""
        relevances = _known(example)
        return Content(
            tuple((example.query, candidate) for candidate in example.candidates),
            " ".join(f"{relevance:g}" for relevance in relevances),
            tuple("relevant" if relevance else "not relevant" for relevance in relevances),
            group=example.query,
            n_scored=int(any(relevances)),
        )

    def caveat(self, examples: Sequence[RankExample]) -> str | None:
        """Return that no query has candidates to tell apart, if so."""
        if any(len({relevance > 0 for relevance in _known(example)}) > 1 for example in examples):
            return None
        return "no query has both a relevant candidate and another: every order is right"

    def split_keys(self, examples: Sequence[RankExample]) -> SplitKeys:
        """Keep equal queries together; stratify by whether a candidate is relevant."""
        strata = [(any(_known(example)),) for example in examples]
        queries = [example.query for example in examples]
        alone = [(example.query, example.candidates) for example in examples]
        return SplitKeys(alone, queries, "query", strata, "having a relevant candidate")

    def head(self) -> TaskHead:
        """Return the head that scores one candidate."""
        return SequenceScores(("relevance",), "regression")

    def samples(self, examples: Sequence[RankExample], tokenizer: Tokenizer, *, labelled: bool) -> list[list[Sample]]:
        """Return a sample for each candidate, or one with a sequence for each to train a loss that compares them.

        What is too long is cut, and said; so is how many queries such a loss learns nothing from.
        """
        queries = tokenizer.token_ids([example.query for example in examples])
        candidates = iter(tokenizer.token_ids([text for example in examples for text in example.candidates]))
        cutter = PairCutter(tokenizer, self.max_length, self.stride)
        found = []
        for place, (example, query) in enumerate(zip(examples, queries, strict=True)):
            windows = [cutter.first_window(query, next(candidates)) for _ in example.candidates]
            found.append(self._training_samples(example, windows, place) if labelled else [Sample((one,)) for one in windows])
        cutter.report()
        if n_left_out := sum(not own for own in found):
            log.warning(
                "%d of %d queries are not trained on, since all of their candidates are equally relevant",
                n_left_out,
                len(found),
            )
        return found

    def _training_samples(self, example: RankExample, windows: Sequence[Window], place: int) -> list[Sample]:
        kept = self._kept(_known(example), place)
        relevances = [_known(example)[number] for number in kept]
        if self.loss_kind == "pointwise":
            targets = [min(relevance / (self.highest_relevance or 1.0), 1.0) for relevance in relevances]
            return [Sample((windows[number],), target) for number, target in zip(kept, targets, strict=True)]
        if len(set(relevances)) < 2:
            return []
        return [Sample(tuple(windows[number] for number in kept), tuple(relevances))]

    def _kept(self, relevances: Sequence[float], place: int) -> list[int]:
        """Return the numbers of the candidates to train on, the same ones in every epoch and every run."""
        irrelevant = [number for number, relevance in enumerate(relevances) if not relevance]
        n_dropped = 0 if self.negatives is None else max(0, len(irrelevant) - self.negatives)
        order = permutation(key("negatives", place), len(irrelevant)).tolist()
        dropped = {irrelevant[at] for at in order[:n_dropped]}
        return [number for number in range(len(relevances)) if number not in dropped]

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:  # noqa: ARG002
        """Return the loss, summed over candidates (pointwise) or over queries.

        Pointwise it is the binary cross-entropy of relevance; pairwise RankNet's logistic loss, the mean over all pairs of
        which one is better (Burges et al. 2005); listwise the cross-entropy of ListNet's top-one probabilities (Cao et al.
        2007), the right ones being each relevance's share of the sum (Bruch et al. 2019).
        """
        if self.loss_kind == "pointwise":
            targets_B = batch.targets(torch.float32, logits.device)
            return F.binary_cross_entropy_with_logits(logits[:, 0], targets_B, reduction="sum")
        loss = _pairwise_loss if self.loss_kind == "pairwise" else _listwise_loss
        losses = [
            loss(scores, torch.tensor(sample.target, device=logits.device))
            for scores, sample in zip(batch.by_sample(logits[:, 0]), batch.samples, strict=True)
        ]
        return torch.stack(losses).sum()

    def log_probabilities(self, logits: Tensor, batch: SampleBatch) -> Tensor:
        """Return (B, 2), of being relevant and of not being so, or (B,), of being the best of the query's candidates."""
        if self.loss_kind == "pointwise":
            return F.logsigmoid(torch.cat([logits, -logits], dim=1))
        return torch.cat([scores.log_softmax(0) for scores in batch.by_sample(logits[:, 0])])

    def decode(
        self,
        examples: Sequence[RankExample],
        samples: Sequence[Sequence[Sample]],  # noqa: ARG002
        logits: Sequence[Sequence[Logits]],
        head: nn.Module,  # noqa: ARG002
    ) -> list[Ranking]:
        """Return the candidates of each query in order."""
        return [_ranking(example.candidates, np.concatenate(own)) for example, own in zip(examples, logits, strict=True)]

    def outcomes(self, examples: Sequence[RankExample], predictions: Sequence[Ranking]) -> Floats:
        """Return (n, 8): whether a candidate is relevant, and the measures of the query.

        Of candidates with equal scores the least relevant count as ranked first: where relevant ones stand first in the file,
        a model that tells nothing apart would be right otherwise.
        """
        rows = []
        for example, found in zip(examples, predictions, strict=True):
            scored = [(-one.score, _known(example)[one.number]) for one in found.candidates]
            relevances = [relevance for _, relevance in sorted(scored)]
            rows.append([1.0, *ranking_scores(relevances)] if any(relevances) else [0.0] * (1 + len(MEASURES)))
        return np.array(rows).reshape(-1, 1 + len(MEASURES))

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return the mean of each measure over the queries with a relevant candidate; none where there are none of these."""
        measured = outcomes[outcomes[:, 0] > 0, 1:]
        return dict(zip(MEASURES, measured.mean(axis=0).tolist(), strict=True)) if len(measured) else {}

    def shown(self, seen: Seen[RankExample, Ranking]) -> NumberAnswer:
        """Return the score of the best candidate."""
        return NumberAnswer(seen.prediction.candidates[0].score)

    def review(self, examples: Sequence[RankExample], predictions: Sequence[Ranking]) -> Review:
        """Return the queries whose first candidate is not relevant, first those where it is farthest above one that is."""
        mistakes = []
        for example, found in zip(examples, predictions, strict=True):
            first = found.candidates[0]
            best = next((one for one in found.candidates if _known(example)[one.number]), first)
            if best is not first and not _known(example)[first.number]:
                mistakes.append(Mistake(example.query, best.text, first.text, first.score - best.score))
        return Review(mistakes=worst(mistakes))

    def record(self, example: RankExample, prediction: Ranking) -> Mapping[str, Any]:
        """Return the query and its candidates, the best first."""
        ranked = [{"id": example.candidate_ids[one.number], **asdict(one)} for one in prediction.candidates]
        return {"id": example.id, "query": example.query, "candidates": ranked}

    def submission(self) -> Submission[RankExample, Ranking]:
        """Return TREC's form of a run: query, Q0, document, rank, score and the name of the system."""
        return Submission(line=_trec_lines)


def _known(example: RankExample) -> tuple[float, ...]:
    assert example.relevances is not None
    return example.relevances


def _pairwise_loss(scores_n: Tensor, relevances_n: Tensor) -> Tensor:
    is_better_nn = relevances_n[:, None] > relevances_n
    return F.softplus(scores_n - scores_n[:, None])[is_better_nn].mean()


def _listwise_loss(scores_n: Tensor, relevances_n: Tensor) -> Tensor:
    return F.cross_entropy(scores_n, relevances_n / relevances_n.sum())


def _ranking(candidates: Sequence[str], logits_n1: Logits) -> Ranking:
    scores_n = logits_n1[:, 0].astype(np.float64)
    check_predictions(scores_n, scores_n)
    probabilities_n = 1 / (1 + np.exp(-scores_n))
    order = np.argsort(-scores_n, kind="stable").tolist()
    return Ranking(
        tuple(
            RankedCandidate(candidates[number], number, float(scores_n[number]), float(probabilities_n[number]))
            for number in order
        )
    )


def _trec_lines(example: RankExample, found: Ranking) -> str:
    query_id, *candidate_ids = ("_".join(name.split()) for name in (example.id, *example.candidate_ids))
    return "".join(
        f"{query_id} Q0 {candidate_ids[one.number]} {rank} {one.score:.9g} bertsmith\n"
        for rank, one in enumerate(found.candidates, 1)
    )

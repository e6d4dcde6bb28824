"""A vector for a text, such that texts that belong together are near each other (Reimers and Gurevych 2019).

Dimensions: B sequences of a batch, n samples of it or examples, C candidates, D width.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.artifacts.directory import load_model
from bertsmith.artifacts.sentence_modules import MODULES, read_sentence_modules
from bertsmith.batches.windows import Part, make_windows
from bertsmith.config import Flag
from bertsmith.errors import InputError, UsageError
from bertsmith.model.bert import Heads
from bertsmith.model.heads.pooling import Pooling, SentenceVectors
from bertsmith.neighbours import Candidates, hard_negatives, ranks
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.pairs import PairExample, read_pairs
from bertsmith.tasks.files.texts import Columns
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.scoring.scores import check_predictions, constant_caveat, regression_scores
from bertsmith.tasks.split_keys import SplitKeys, quantiles
from bertsmith.tasks.task import Floats, Logits, Mistake, Review, Sample, SampleBatch, Task, worst
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import PackedBatch

log = logging.getLogger("bertsmith")


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The vectors (k, D) of an example's texts."""

    vectors: npt.NDArray[np.float32]

    def cosine(self, place: int = 1) -> float:
        """Return the cosine of the first text's vector and another's."""
        first, other = self.vectors[0].astype(np.float64), self.vectors[place].astype(np.float64)
        return float(first @ other / max(np.linalg.norm(first) * np.linalg.norm(other), 1e-12))


class Embed(Task[PairExample, Embedded]):
    """A text, a vector; learnt from pairs, triplets or scored pairs."""

    kind: ClassVar[str] = "embed"
    pipeline_tag: ClassVar[str] = "sentence-similarity"
    usual_metric: ClassVar[str] = "spearman"
    gives_vectors: ClassVar[bool] = True
    reads_windows: ClassVar[bool] = False

    columns: Columns = Columns()
    pooling: Pooling | None = None
    """How the tokens' vectors become the text's; as in the starting model if it says so, else the mean."""
    normalised: bool | None = None
    """Whether vectors have length 1; as in the starting model if it says so, else yes."""
    loss_kind: Annotated[Literal["auto", "ranking", "cosine", "cosent"], Flag(name="loss")] = "auto"
    """Of pairs and triplets ranking (the other texts of a batch as negatives); of scored pairs cosine (its squared error) or
    cosent (the order of the cosines)."""
    scale: float = pydantic.Field(default=20.0, gt=0)
    """Cosines are multiplied by this in ranking and cosent."""
    top_score: float | None = pydantic.Field(default=None, gt=0)
    """The score of two texts that mean the same; the highest of the training file unless given."""
    mine: int = pydantic.Field(default=0, ge=0)
    """Hard negatives added to each pair: the training texts that the starting model finds nearest to the anchor."""
    mine_margin: float = pydantic.Field(default=0.05, ge=0)
    """Texts whose cosine is not this much below the positive's are not mined: they may belong to the anchor too."""

    @property
    def compares_samples(self) -> bool:
        """Whether the loss compares the samples of a batch with each other."""
        return self.loss_kind != "cosine"

    def read(self, path: str | Path, *, labelled: bool, format: str | None = None) -> Iterator[PairExample]:  # noqa: A002
        """Yield the rows of a table as examples."""
        return read_pairs(path, self.columns, labelled=labelled, format=format)

    def example(self, value: Any) -> PairExample:
        """Return the example for a text or for a pair of texts."""
        match value:
            case str():
                return PairExample((value,), None, "", "")
            case (str(), str()):
                return PairExample(tuple(value), None, "", "")
        raise InputError(f"{self.kind} takes texts and pairs of texts, not {value!r:.80}")

    def fitted(self, examples: Sequence[PairExample]) -> Self:
        """Return the task with the loss that the examples are for, and their highest score."""
        scores = [example.score for example in examples if example.score is not None]
        wanted = self.loss_kind if self.loss_kind != "auto" else "cosine" if scores else "ranking"
        if bool(scores) == (wanted == "ranking"):
            found, fitting = ("scored pairs", "cosine or cosent") if scores else ("pairs without scores", "ranking")
            raise UsageError(f"--loss {wanted}: the training file holds {found}, which are for {fitting}")
        if scores and self.mine:
            raise UsageError("--mine finds negatives for pairs and triplets; the training file holds scored pairs")
        if not scores:
            return self.model_copy(update={"loss_kind": wanted})
        if min(scores) == max(scores) or max(scores) <= 0:
            raise InputError(
                f"the scores of the {len(examples):,} training examples go from {min(scores):g} to {max(scores):g}: they "
                "should differ, and the highest be more than 0"
            )
        return self.model_copy(update={"loss_kind": wanted, "top_score": self.top_score or max(scores)})

    def content(self, example: PairExample) -> Content:
        """Return the texts, each read by itself, with their score."""
        right = None if example.score is None else f"{example.score:g}"
        return Content(tuple((text,) for text in example.texts), right, number=example.score)

    def caveat(self, examples: Sequence[PairExample]) -> str | None:
        """Return that there is but one score, or but one text to be found, if so."""
        if examples[0].score is not None:
            return constant_caveat({example.score for example in examples})
        n_texts = len({text for example in examples for text in example.texts[1:]})
        return None if n_texts > 1 else "there is but one text to be found: it is always the first"

    def split_keys(self, examples: Sequence[PairExample]) -> SplitKeys:
        """Keep examples with equal texts together; stratify scored ones by their score."""
        scores = [example.score for example in examples if example.score is not None]
        strata, name = (quantiles(scores), "score") if len(scores) == len(examples) else ((), "")
        return SplitKeys([example.texts for example in examples], strata=strata, stratum_name=name)

    def prepared(
        self,
        train: Sequence[PairExample],
        dev: Sequence[PairExample],
        model: Path,
        tokenizer: Tokenizer,
        device: torch.device,
    ) -> tuple[Self, Sequence[PairExample]]:
        """Return the task with the starting model's pooling and the score that ``dev`` has, and with mined negatives."""
        vectors, _ = read_sentence_modules(model)
        usual = vectors.normalised or not (model / MODULES).exists()
        settings = {
            "pooling": self.pooling or vectors.pooling,
            "normalised": usual if self.normalised is None else self.normalised,
            "metric": self.metric or ("mrr" if dev[0].score is None else self.usual_metric),
        }
        task = self.model_copy(update=settings)
        return task, task.with_hard_negatives(train, model, tokenizer, device) if self.mine else train

    def with_hard_negatives(
        self, examples: Sequence[PairExample], model: Path, tokenizer: Tokenizer, device: torch.device
    ) -> list[PairExample]:
        """Return the examples with negatives among each other's texts, as the model that training starts from sees them."""
        starting = load_model(model, Heads(task=self.head())).to(device)
        length = min(self.max_length, starting.config.max_positions)
        task, head = self.model_copy(update={"max_length": length}), starting.task
        assert head is not None

        def forward(batch: PackedBatch) -> Tensor:
            vectors_BD = starting.logits(batch.to(device)).task_logits
            assert vectors_BD is not None
            return vectors_BD

        log.info("mining %d hard negative(s) for each of %d examples", self.mine, len(examples))
        predictor = Predictor(task, tokenizer, forward, head)
        vectors = [found.vectors for _, found in predictor.predict(examples)]
        places = hard_negatives(Candidates([one.texts for one in examples]), vectors, self.mine, self.mine_margin)
        mined = [tuple(examples[row].texts[place] for row, place in of_one) for of_one in places]
        log.info("mined %d, at most %d an example", sum(map(len, mined)), self.mine)
        return [replace(one, texts=one.texts + more) for one, more in zip(examples, mined, strict=True)]

    def head(self) -> SentenceVectors:
        """Return the head, which has no weights."""
        return SentenceVectors(self.pooling or "mean", self.normalised is not False)

    def samples(self, examples: Sequence[PairExample], tokenizer: Tokenizer, *, labelled: bool) -> list[list[Sample]]:
        """Return one sample an example, with a sequence for each of its texts; what is too long is cut, and said."""
        token_ids = iter(tokenizer.token_ids([text for example in examples for text in example.texts]))
        cls, sep, room, n_cut = Part([tokenizer.cls_id]), Part([tokenizer.sep_id]), self.max_length - 2, 0
        found = []
        for example in examples:
            windows = []
            for ids in (next(token_ids) for _ in example.texts):
                n_cut += len(ids) > room
                windows += make_windows([cls], Part(ids[:room]), [sep], self.max_length, self.stride)
            target = example.score / (self.top_score or 1) if labelled and example.score is not None else None
            found.append([Sample(tuple(windows), target)])
        if n_cut:
            log.warning("%d text(s) are longer than --max-length %d, and were cut", n_cut, self.max_length)
        return found

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:  # noqa: ARG002
        """Return the loss, times the number of samples."""
        if self.loss_kind == "ranking":
            return ranking_loss(logits, batch, self.scale)
        cosines_n = F.cosine_similarity(logits[0::2], logits[1::2])
        targets_n = batch.targets(torch.float32, logits.device)
        if self.loss_kind == "cosent":
            return cosent_loss(cosines_n * self.scale, targets_n)
        return F.mse_loss(cosines_n, targets_n, reduction="sum")

    def decode(
        self,
        examples: Sequence[PairExample],  # noqa: ARG002
        samples: Sequence[Sequence[Sample]],  # noqa: ARG002
        logits: Sequence[Sequence[Logits]],
        head: nn.Module,  # noqa: ARG002
    ) -> list[Embedded]:
        """Return the vectors of each example's texts."""
        return [Embedded(vectors) for (vectors,) in logits]

    def outcomes(self, examples: Sequence[PairExample], predictions: Sequence[Embedded]) -> Floats:
        """Return (n, 4): the score, the cosine, the positive's rank among all candidates, and the cosine's lead.

        The lead is that over the nearest of the example's own negatives. NaN stands where there is no such figure.
        """
        pairs = list(zip(examples, predictions, strict=True))
        found = np.full((len(pairs), 4), np.nan)
        found[:, 1] = [of.cosine() for _, of in pairs]
        check_predictions(found, found[:, 1])
        if examples[0].score is not None:
            found[:, 0] = [example.score for example in examples]
            return found
        found[:, 2] = ranks(Candidates([one.texts for one in examples]), [of.vectors for of in predictions])
        for row, (example, of) in enumerate(pairs):
            others = [of.cosine(place) for place in range(2, len(example.texts))]
            found[row, 3] = found[row, 1] - max(others) if others else np.nan
        return found

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return correlations of scored pairs; else how often the positive is first, and the mean of 1 / its rank."""
        if not np.isnan(outcomes[0, 0]):
            scores = regression_scores(outcomes[:, 0], outcomes[:, 1])
            return {name: scores[name] for name in ("spearman", "pearson")}
        ranks_n, leads = outcomes[:, 2], outcomes[~np.isnan(outcomes[:, 3]), 3]
        of_triplets = {"triplet_accuracy": float((leads > 0).mean())} if len(leads) else {}
        return {"mrr": float((1 / ranks_n).mean()), "accuracy": float((ranks_n == 1).mean()), **of_triplets}

    def review(self, examples: Sequence[PairExample], predictions: Sequence[Embedded]) -> Review:
        """Return the pairs whose cosine is farthest from their score, or whose second text has the lowest ranks."""
        mistakes = []
        for example, (score, cosine, rank, _) in zip(examples, self.outcomes(examples, predictions), strict=True):
            text = "  ¦  ".join(example.texts[:2])
            if example.score is None:
                mistakes.append(Mistake(text, "rank 1", f"rank {rank:.0f}", rank))
            else:
                expected = score / (self.top_score or 1)
                mistakes.append(Mistake(text, f"{expected:.2f}", f"{cosine:.2f}", abs(expected - cosine)))
        return Review(mistakes=worst([one for one in mistakes if one.predicted != one.expected]))

    def record(self, example: PairExample, prediction: Embedded) -> Mapping[str, Any]:
        """Return the cosine of a pair, or the vector of a text, as one JSON object."""
        if len(example.texts) > 1:
            return {"id": example.id, "cosine": prediction.cosine()}
        return {"id": example.id, "vector": prediction.vectors[0].tolist()}


def ranking_loss(vectors_BD: Tensor, batch: SampleBatch, scale: float) -> Tensor:
    """Return the cross-entropy of each anchor's positive among all positives and negatives of the batch, summed.

    What else is right for an anchor is no candidate for it (see :class:`~bertsmith.neighbours.Candidates`); where no text
    stands twice, this is the loss of Henderson et al. 2017, equation 4, with negatives added.
    """
    keys = [tuple(window.token_ids.tobytes() for window in sample.windows) for sample in batch.samples]
    candidates = Candidates(keys)
    firsts = np.cumsum([0, *map(len, keys[:-1])])
    unit_BD = F.normalize(vectors_BD)
    scores_nC = unit_BD[firsts] @ unit_BD[[firsts[row] + place for row, place in candidates.places]].T * scale
    is_excluded_nC = torch.zeros_like(scores_nC, dtype=torch.bool)
    is_excluded_nC[candidates.excluded_pairs()] = True
    right_n = torch.tensor(candidates.right, device=vectors_BD.device)
    return F.cross_entropy(scores_nC.masked_fill(is_excluded_nC, -torch.inf), right_n, reduction="sum")


def cosent_loss(scaled_n: Tensor, targets_n: Tensor) -> Tensor:
    """Return log(1 + Σ exp(s_j - s_i)) over all pairs of samples of which i is scored above j, times n (Su 2022, CoSENT)."""
    is_above_nn = targets_n[:, None] > targets_n[None, :]
    differences = (scaled_n[None, :] - scaled_n[:, None])[is_above_nn]
    return torch.cat([differences.new_zeros(1), differences]).logsumexp(0) * len(scaled_n)

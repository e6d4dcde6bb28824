"""Every view by name: what it is asked, what it answers, and whether that may take long."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
from pydantic_core import PydanticSerializationError

from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import ROUNDED
from bertsmith.inspection.figures import attention_maps, similarity
from bertsmith.inspection.figures.ablation import Ablated, Ablation, ablate, ablation
from bertsmith.inspection.figures.attribution import Attribution, attribution
from bertsmith.inspection.figures.comparison import Alignment, Comparison, alignment, compare
from bertsmith.inspection.figures.finetuned import task_answer
from bertsmith.inspection.figures.prediction import (
    NextSentencePrediction,
    Prediction,
    PseudoPerplexity,
    next_sentence,
    predict,
    pseudo_perplexity,
)
from bertsmith.inspection.figures.tokens import Input, Masked, input_of, masking
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.requests import (
    AblateRequest,
    AblationRequest,
    AlignmentRequest,
    AttentionRequest,
    AttributionRequest,
    CompareRequest,
    ContextRequest,
    MaskingRequest,
    NeighboursRequest,
    PredictRequest,
    ProjectionRequest,
    Request,
    SimilarityRequest,
    TaskRequest,
    TextRequest,
)
from bertsmith.inspection.subject import Reading
from bertsmith.inspection.watcher import NOBODY, Watcher
from bertsmith.tasks.shown import Shown
from bertsmith.threads import threads_for


@dataclass(frozen=True, slots=True)
class View:
    """What the page can ask for: the types of request and answer, and how one comes from the other."""

    request: type[Request]
    answer: Any
    summary: str
    is_slow: bool
    compute: Callable[[Gallery, Any, Watcher], Any]

    def ask(self, gallery: Gallery, request: Request, watcher: Watcher = NOBODY) -> bytes:
        """Return the answer as JSON.

        Raises:
            Refusal: it cannot be answered.
            Cancelled: nobody waits for it any more.
        """
        with threads_for(0):  # larger batches ask for more
            found = self.compute(gallery, request, watcher)
        try:
            return as_json(self.answer, found)
        except PydanticSerializationError:
            raise Refusal("diverged", "the model's scores are NaN or infinite, so it cannot be looked into") from None


def as_json(kind: Any, value: Any) -> bytes:
    """Return a value of a type as JSON."""
    return _adapter(kind).dump_json(value)


@functools.cache
def _adapter(answer: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(answer)


def _on_text(compute: Callable[[Reading, Any, Watcher], Any]) -> Callable[[Gallery, Any, Watcher], Any]:
    """Return what answers from the reading of the request's text."""

    def answer(gallery: Gallery, asked: TextRequest, watcher: Watcher) -> Any:
        return compute(gallery.read(asked.model, asked.text, asked.pair), asked, watcher)

    return answer


def _similarity(gallery: Gallery, asked: SimilarityRequest, watcher: Watcher) -> similarity.Similarity:
    if not asked.apart:
        return similarity.similarity([gallery.read(asked.model, asked.text, asked.pair)], asked.layer)
    if asked.pair is None:
        raise Refusal("needs_pair", "two texts are compared apart; give the second one as the pair")
    return similarity.similarity([*gallery.subject(asked.model).read_apart([asked.text, asked.pair], watcher)], asked.layer)


def _compare(gallery: Gallery, asked: CompareRequest, _: Watcher) -> Comparison:
    return compare(*(gallery.read(name, asked.text, asked.pair) for name in (asked.model, asked.other)))


VIEWS: dict[str, View] = {
    "input": View(
        TextRequest, Input, "The tokens of a text and their embeddings", False, _on_text(lambda it, _a, _c: input_of(it))
    ),
    "attention": View(
        AttentionRequest,
        attention_maps.Attention,
        "Where the heads of a layer look",
        False,
        _on_text(lambda it, asked, _: attention_maps.attention_of_layer(it, asked.layer)),
    ),
    "attention-overview": View(
        TextRequest,
        attention_maps.Overview,
        "Where all heads look, small",
        False,
        _on_text(lambda it, _a, _c: attention_maps.overview(it)),
    ),
    "heads": View(
        TextRequest,
        attention_maps.HeadSummaries,
        "What each head does, in numbers and a word",
        False,
        _on_text(lambda it, _a, _c: attention_maps.head_summaries(it)),
    ),
    "rollout": View(
        AttentionRequest,
        attention_maps.Rollout,
        "Attention rolled out through the layers",
        False,
        _on_text(lambda it, asked, _: attention_maps.rollout(it, asked.layer)),
    ),
    "query-key": View(
        AttentionRequest,
        attention_maps.QueryKey,
        "The queries and keys of a layer",
        False,
        _on_text(lambda it, asked, _: attention_maps.query_key(it, asked.layer)),
    ),
    "similarity": View(SimilarityRequest, similarity.Similarity, "Cosines of tokens at a layer", False, _similarity),
    "context": View(
        ContextRequest,
        similarity.Context,
        "A word in several contexts, layer by layer",
        True,
        lambda gallery, asked, watcher: similarity.context(gallery.subject(asked.model), asked.word, asked.texts, watcher),
    ),
    "projection": View(
        ProjectionRequest,
        similarity.Projection,
        "Tokens in the plane, layer by layer",
        True,
        lambda gallery, asked, watcher: similarity.projection(gallery.subject(asked.model), asked.texts, watcher),
    ),
    "neighbours": View(
        NeighboursRequest,
        similarity.Neighbours,
        "The nearest tokens among some sentences",
        True,
        _on_text(lambda it, asked, watcher: similarity.neighbours(it, asked.sentences, asked.layer, watcher)),
    ),
    "predict": View(
        PredictRequest,
        Prediction,
        "The likeliest tokens at a position, after each layer too",
        False,
        _on_text(lambda it, asked, _: predict(it, asked.position, asked.masked)),
    ),
    "next-sentence": View(
        TextRequest,
        NextSentencePrediction,
        "Whether the second text follows the first",
        False,
        _on_text(lambda it, _a, _c: next_sentence(it)),
    ),
    "masking": View(
        MaskingRequest,
        Masked,
        "What pre-training would mask",
        False,
        _on_text(lambda it, asked, _: masking(it, asked.seed, asked.epoch, asked.whole_words)),
    ),
    "pseudo-perplexity": View(
        TextRequest,
        PseudoPerplexity,
        "How surprising each token is",
        True,
        _on_text(lambda it, _, watcher: pseudo_perplexity(it, watcher)),
    ),
    "task": View(
        TaskRequest,
        Annotated[Shown, ROUNDED],
        "What a fine-tuned model answers",
        True,  # it reads all of a long passage
        _on_text(lambda it, asked, watcher: task_answer(it, asked.choices, watcher)),
    ),
    "attribution": View(
        AttributionRequest,
        Attribution,
        "Which tokens mattered",
        True,
        _on_text(lambda it, asked, watcher: attribution(it, asked.method, asked.target, asked.position, watcher)),
    ),
    "ablation": View(
        AblationRequest,
        Ablation,
        "What changes when each head is switched off",
        True,
        _on_text(lambda it, asked, watcher: ablation(it, asked.target, asked.position, watcher)),
    ),
    "ablate": View(
        AblateRequest,
        Ablated,
        "What changes when some heads are switched off together",
        False,
        _on_text(lambda it, asked, watcher: ablate(it, asked.target, asked.off, asked.position, watcher)),
    ),
    "compare": View(CompareRequest, Comparison, "How far two models agree on a text", False, _compare),
    "cka": View(
        AlignmentRequest,
        Alignment,
        "How alike the layers of two models are",
        True,
        lambda gallery, asked, watcher: alignment(
            gallery.subject(asked.model), gallery.subject(asked.other), asked.texts, watcher
        ),
    ),
}

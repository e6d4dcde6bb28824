"""What a page may ask, with its bounds; a request is at once the key of its answer in an exported file."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic_core import PydanticCustomError

from bertsmith.errors import Refusal
from bertsmith.inspection.figures.ablation import Target
from bertsmith.inspection.figures.attribution import Method

MOST_CHARACTERS, MOST_CHARACTERS_OF_CONTEXT = 20_000, 2_000
MOST_TEXTS, MOST_SENTENCES, MOST_CHOICES, MOST_OFF = 16, 64, 10, 200


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("empty_text", "there is nothing to look at: write some text")
    return text


Text = Annotated[str, pydantic.Field(max_length=MOST_CHARACTERS), pydantic.AfterValidator(_not_blank)]
ShortText = Annotated[str, pydantic.Field(max_length=MOST_CHARACTERS_OF_CONTEXT), pydantic.AfterValidator(_not_blank)]
Layer = Annotated[int, pydantic.Field(ge=0, le=1000)]
AttentionLayer = Annotated[int, pydantic.Field(ge=1, le=1000)]
Position = Annotated[int, pydantic.Field(ge=0, le=100_000)]
Sentences = Annotated[list[ShortText], pydantic.Field(min_length=1, max_length=MOST_SENTENCES)]


class Request(pydantic.BaseModel):
    """A question about a model."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    model: Annotated[str, pydantic.Field(max_length=200)]

    @property
    def key(self) -> str:
        """JSON with its keys sorted and what is None left out, which a page can make just so."""
        return json.dumps(self.model_dump(exclude_none=True), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class TextRequest(Request):
    """A question about a text or a pair of texts."""

    text: Text
    pair: Text | None = None


class AttentionRequest(TextRequest):
    """Of an attention layer, counted from 1."""

    layer: AttentionLayer


class LayerRequest(TextRequest):
    """Of hidden states, 0 the embeddings."""

    layer: Layer


class SimilarityRequest(LayerRequest):
    """With ``apart``, the text and its pair are each read by themselves."""

    apart: bool = False


class ContextRequest(Request):
    """A word and texts that hold it."""

    word: Annotated[str, pydantic.Field(max_length=100), pydantic.AfterValidator(_not_blank)]
    texts: Annotated[list[ShortText], pydantic.Field(min_length=2, max_length=MOST_TEXTS)]


class ProjectionRequest(Request):
    """Texts of which all tokens are drawn."""

    texts: Annotated[list[Text], pydantic.Field(min_length=1, max_length=MOST_TEXTS)]


class NeighboursRequest(LayerRequest):
    """Sentences to find neighbours in."""

    sentences: Sentences


class PredictRequest(TextRequest):
    """A token, which the model sees or not."""

    position: Position
    masked: bool = True


class MaskingRequest(TextRequest):
    """A draw of masks."""

    seed: Annotated[int, pydantic.Field(ge=0, lt=2**31)] = 0
    epoch: Annotated[int, pydantic.Field(ge=0, le=1_000_000)] = 0
    whole_words: bool = False


class TaskRequest(TextRequest):
    """For a model that chooses, what to choose from."""

    choices: Annotated[list[ShortText], pydantic.Field(min_length=2, max_length=MOST_CHOICES)] | None = None


class AttributionRequest(TextRequest):
    """Which score is attributed to the tokens, and how."""

    method: Method
    target: Annotated[str, pydantic.Field(max_length=1000)] | None = None
    position: Position | None = None


class AblationRequest(TextRequest):
    """Which prediction is looked at while heads are off."""

    target: Target
    position: Position | None = None


class AblateRequest(AblationRequest):
    """Which heads are off together, each as layer and number from 1."""

    off: Annotated[
        list[Annotated[list[int], pydantic.Field(min_length=2, max_length=2)]],
        pydantic.Field(min_length=1, max_length=MOST_OFF),
    ]


class CompareRequest(TextRequest):
    """With which other model."""

    other: Annotated[str, pydantic.Field(max_length=200)]


class AlignmentRequest(Request):
    """With which other model, over which texts."""

    other: Annotated[str, pydantic.Field(max_length=200)]
    texts: Sentences


R = TypeVar("R", bound=Request)


def checked(kind: type[R], values: dict[str, Any]) -> R:
    """Return the request that plain values describe; :class:`Refusal` for what is none."""
    try:
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        raise refusal_of(error.errors()) from None


def refusal_of(details: Sequence[Any]) -> Refusal:
    """Return what pydantic found first, in a form that a page can say."""
    detail = details[0]
    location = [str(part) for part in detail["loc"] if part != "body"]
    field, context = ".".join(location) or "the request", detail.get("ctx", {})
    match detail["type"]:
        case "empty_text":
            return Refusal("empty_text", detail["msg"], field=field)
        case "json_invalid":
            return Refusal("invalid", "the request is not JSON")
        case "string_too_long":
            limit, found = context["max_length"], len(detail["input"])
            message = f"{field} has {found:,} characters; at most {limit:,} are read: shorten it"
            return Refusal("too_long", message, field=field, limit=limit, found=found)
        case "too_long":  # a list
            limit, found = context["max_length"], context["actual_length"]
            message = f"{field} has {found:,} entries; at most {limit:,} are taken: leave some out"
            return Refusal("too_many", message, field=field, limit=limit, found=found)
    return Refusal("invalid", f"{field}: {detail['msg']}", field=field)


LIMITS: dict[str, int] = {
    "characters": MOST_CHARACTERS,
    "context_characters": MOST_CHARACTERS_OF_CONTEXT,
    "texts": MOST_TEXTS,
    "sentences": MOST_SENTENCES,
    "choices": MOST_CHOICES,
}

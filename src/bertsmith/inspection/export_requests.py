"""Everything that the page asks about one text, so that it can be answered beforehand."""

from collections.abc import Iterator
from typing import Any

from bertsmith.inspection.gallery import Description, Gallery

# Up to how many tokens the views are prepared that ask about each of them.
_MOST_PREDICTED, _MOST_PREDICTED_IN_FILM, _MOST_TRACED, _MOST_MULTIPLIED = 128, 64, 32, 64
_MOST_CLASSES, _SEEDS = 8, 10

Question = tuple[str, dict[str, Any]]
"""The name of a view and the values of a request."""


def all_questions(gallery: Gallery) -> list[Question]:
    """Return what the page asks about the gallery's text, of every model and of every checkpoint."""
    return [question for description in gallery.describe().models for question in _of_model(gallery, description)]


def _of_model(gallery: Gallery, description: Description) -> list[Question]:
    text = {"model": description.id, "text": gallery.start.text}
    if gallery.start.pair is not None:
        text["pair"] = gallery.start.pair
    if description.role == "checkpoint":
        views = _of_checkpoint(gallery, text, description.n_layers)
    else:
        views = _of_everything(gallery, text)
    return [(view, values) for view, values in views if view not in description.missing]


def _positions(gallery: Gallery, text: dict[str, Any], most: int) -> list[int]:
    """Return the positions of the text's tokens but special ones; none where there are more than ``most``."""
    model, _, _ = text["model"].partition("/")  # checkpoints cut a text as their model does
    reading = gallery.read(model, text["text"], text.get("pair"))
    if reading.n_tokens > most:
        return []
    return [position for position, special in enumerate(reading.is_special) if not special]


def _of_checkpoint(gallery: Gallery, text: dict[str, Any], n_layers: int) -> Iterator[Question]:
    yield "input", text
    yield from (("attention", {**text, "layer": layer}) for layer in range(1, n_layers + 1))
    yield from _similarities(text, n_layers)
    for position in _positions(gallery, text, _MOST_PREDICTED_IN_FILM):
        yield "predict", {**text, "position": position, "masked": True}


def _of_everything(gallery: Gallery, text: dict[str, Any]) -> Iterator[Question]:
    for view in ("input", "attention-overview", "heads", "next-sentence", "pseudo-perplexity", "task"):
        yield view, text
    yield from _of_layers(gallery, text)
    yield from _of_examples(gallery, text)
    for position in _positions(gallery, text, _MOST_PREDICTED):
        yield "predict", {**text, "position": position, "masked": True}
    for seed in range(_SEEDS):
        for whole_words in (False, True):
            yield "masking", {**text, "seed": seed, "epoch": 0, "whole_words": whole_words}
    yield from _of_targets(gallery, text)
    for other in gallery.model_ids:
        if other != text["model"]:
            yield "compare", {**text, "other": other}


def _of_layers(gallery: Gallery, text: dict[str, Any]) -> Iterator[Question]:
    n_layers = gallery.subject(text["model"]).n_layers
    for layer in range(1, n_layers + 1):
        yield "attention", {**text, "layer": layer}
        yield "rollout", {**text, "layer": layer}
        if _positions(gallery, text, _MOST_MULTIPLIED):
            yield "query-key", {**text, "layer": layer}
    yield from _similarities(text, n_layers)


def _similarities(text: dict[str, Any], n_layers: int) -> Iterator[Question]:
    for layer in range(n_layers + 1):
        for apart in (False, True) if "pair" in text else (False,):
            yield "similarity", {**text, "layer": layer, "apart": apart}


def _of_examples(gallery: Gallery, text: dict[str, Any]) -> Iterator[Question]:
    model, examples = {"model": text["model"]}, gallery.describe().examples
    own = [text[name] for name in ("text", "pair") if name in text]
    yield "projection", {**model, "texts": own}
    yield "projection", {**model, "texts": examples.sentences}
    for example in examples.context:
        yield "context", {**model, "word": example.word, "texts": example.texts}
    for layer in range(gallery.subject(text["model"]).n_layers + 1):
        yield "neighbours", {**text, "layer": layer, "sentences": examples.sentences}
    for other in gallery.model_ids:
        if other != text["model"]:
            yield "cka", {**model, "other": other, "texts": examples.sentences}


def _of_targets(gallery: Gallery, text: dict[str, Any]) -> Iterator[Question]:
    """Yield attributions and ablations."""
    subject = gallery.subject(text["model"])
    task = None if subject.pipeline is None else subject.pipeline.task
    positions = _positions(gallery, text, _MOST_TRACED)
    places: list[dict[str, Any]] = (
        [{"position": position} for position in positions] if task is None or task.explains == "token" else [{}]
    )
    labels = () if task is None else task.classes[:_MOST_CLASSES]
    targets = [{}, *({"target": label} for label in labels)]
    for place in places:
        for target in targets:
            for method in ("integrated-gradients", "erasure"):
                yield "attribution", {**text, **place, **target, "method": method}
    if subject.model.masked_token is not None:
        for position in positions:
            yield "ablation", {**text, "target": "token", "position": position}
    if subject.model.next_sentence is not None and "pair" in text:
        yield "ablation", {**text, "target": "next-sentence"}
    if task is not None and task.explains is not None:
        for place in places:
            yield "ablation", {**text, **place, "target": "task"}

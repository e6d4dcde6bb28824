"""Hugging Face's ``config.json`` for BERT, read and written.

Only plain values are taken from it; no key can name code. Keys that do not concern the encoder are passed over.
"""

from pathlib import Path
from typing import Any

import pydantic

from bertsmith.errors import ArtifactError
from bertsmith.files import read_json
from bertsmith.model.bert import MASKED_TOKEN, PRETRAINING, Heads
from bertsmith.model.config import ModelConfig

ARCHITECTURES = {
    "BertModel": Heads(pooler=True),
    "BertForPreTraining": PRETRAINING,
    "BertForMaskedLM": MASKED_TOKEN,
    "BertForNextSentencePrediction": Heads(next_sentence=True),
}

_NAMES = {
    "vocabulary_size": "vocab_size",
    "width": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "feed_forward_width": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "n_segments": "type_vocab_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "norm_epsilon": "layer_norm_eps",
    "initializer_range": "initializer_range",
}
_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}

# Settings that would make it another model; the value is the only one that means BERT.
_REQUIRED = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}


def read_configuration(directory: Path) -> tuple[ModelConfig, Heads | None]:
    """Read ``directory/config.json``; None for the heads where it names no architecture.

    Raises:
        ArtifactError: it is missing, of another kind of model, or holds a value that BERT cannot have.
    """
    path = directory / "config.json"
    values = read_json(path)
    if values.get("model_type", "bert") != "bert":
        raise ArtifactError(f"{path} describes a {values['model_type']!r} model; bertsmith reads BERT (model_type 'bert')")
    for key, required in _REQUIRED.items():
        if values.get(key, required) != required:
            raise ArtifactError(f"{path}: {key} = {values[key]!r} is not BERT; only {required!r} can be read")
    return _model_config(path, values), _heads(path, values)


def _model_config(path: Path, values: dict[str, Any]) -> ModelConfig:
    settings = {ours: values[theirs] for ours, theirs in _NAMES.items() if theirs in values}
    activation = settings.get("activation", "gelu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ArtifactError(f"{path}: hidden_act = {activation!r}; the known ones are {', '.join(_ACTIVATIONS)}")
    try:
        return ModelConfig.model_validate({**settings, "activation": _ACTIVATIONS[activation]})
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        named = [f"{_NAMES[str(field)]} = {problem['input']!r}" for field in problem["loc"]]
        raise ArtifactError(": ".join([str(path), *named, problem["msg"]])) from None


def _heads(path: Path, values: dict[str, Any]) -> Heads | None:
    architectures = values.get("architectures")
    if not architectures:
        return None
    name = architectures[0] if isinstance(architectures, list) else None
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ArtifactError(f"{path}: architectures = {architectures!r}; bertsmith reads {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def configuration_values(config: ModelConfig, heads: Heads, pad_id: int, is_tied: bool) -> dict[str, Any]:
    """Return what ``config.json`` holds for this model."""
    architecture = "BertModel" if heads == Heads() else next(name for name, these in ARCHITECTURES.items() if these == heads)
    settings = {theirs: getattr(config, ours) for ours, theirs in _NAMES.items()}
    settings["hidden_act"] = {"gelu_tanh": "gelu_new"}.get(config.activation, config.activation)
    return {
        "architectures": [architecture],
        "model_type": "bert",
        **settings,
        "position_embedding_type": "absolute",
        "pad_token_id": pad_id,
        "tie_word_embeddings": is_tied,
        "dtype": "float32",
    }

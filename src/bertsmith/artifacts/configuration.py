"""Hugging Face's ``config.json`` for BERT, read and written.

Only plain values are taken from it; no key can name code. Keys that do not concern the encoder are passed over.
"""

from pathlib import Path
from typing import Any, get_args

import pydantic

from bertsmith.errors import ArtifactError
from bertsmith.files import read_json
from bertsmith.model.bert import MASKED_TOKEN, PRETRAINING, Heads
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.sequence import ChoiceScores, Problem, SequenceScores
from bertsmith.model.heads.span import SpanScores
from bertsmith.model.heads.token import TokenScores
from bertsmith.model.model_config import ModelConfig

ARCHITECTURES = {
    "BertModel": Heads(pooler=True),
    "BertForPreTraining": PRETRAINING,
    "BertForMaskedLM": MASKED_TOKEN,
    "BertForNextSentencePrediction": Heads(next_sentence=True),
}
_TASK_ARCHITECTURES = {
    "BertForSequenceClassification": SequenceScores,
    "BertForTokenClassification": TokenScores,
    "BertForQuestionAnswering": SpanScores,
    "BertForMultipleChoice": ChoiceScores,
}
# The part of config.json that transformers does not know, of heads that it does not have.
_TOKEN_DECODER = "token_decoder"
_MOST_LABELS = 1_000_000

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
    if _TOKEN_DECODER in values:
        return Heads(task=_token_scores(path, values))
    if isinstance(name, str) and name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if not isinstance(name, str) or name not in _TASK_ARCHITECTURES:
        known = ", ".join([*ARCHITECTURES, *_TASK_ARCHITECTURES])
        raise ArtifactError(f"{path}: architectures = {architectures!r}; bertsmith reads {known}")
    return Heads(task=_task_head(path, name, values))


def _task_head(path: Path, name: str, values: dict[str, Any]) -> TaskHead:
    if name == "BertForQuestionAnswering":
        return SpanScores()
    if name == "BertForMultipleChoice":
        return ChoiceScores()
    labels = _labels(path, values)
    if name == "BertForTokenClassification":
        return TokenScores(labels)
    problem: Any = values.get("problem_type") or ("regression" if len(labels) == 1 else "single_label_classification")
    if problem not in get_args(Problem):
        raise ArtifactError(f"{path}: problem_type = {problem!r}; the known ones are {', '.join(get_args(Problem))}")
    return SequenceScores(labels, problem)


def _labels(path: Path, values: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels by number; transformers writes none where they are its default, LABEL_0 and LABEL_1."""
    by_number = values.get("id2label")
    if by_number is None:
        n_labels = values.get("num_labels", 2)
        if type(n_labels) is not int or not 0 < n_labels <= _MOST_LABELS:
            raise ArtifactError(f"{path}: num_labels = {n_labels!r} is no number of labels")
        by_number = {str(number): f"LABEL_{number}" for number in range(n_labels)}
    if not isinstance(by_number, dict) or not by_number or set(by_number) != {str(number) for number in range(len(by_number))}:
        raise ArtifactError(f"{path}: id2label = {by_number!r} does not number its labels from 0")
    labels = tuple(str(by_number[str(number)]) for number in range(len(by_number)))
    if len(set(labels)) < len(labels):
        raise ArtifactError(f"{path}: id2label gives two numbers the same label")
    return labels


def _token_scores(path: Path, values: dict[str, Any]) -> TokenScores:
    labels, written = _labels(path, values), values[_TOKEN_DECODER]
    if not isinstance(written, dict) or written.keys() != {"kind", "moves"} or written["kind"] not in ("crf", "bilstm-crf"):
        raise ArtifactError(f"{path}: {_TOKEN_DECODER} is not what bertsmith writes there")
    moves = written["moves"]
    is_table = isinstance(moves, list) and len(moves) == len(labels) + 2
    if not is_table or not all(isinstance(row, str) and len(row) == len(labels) and set(row) <= {"0", "1"} for row in moves):
        raise ArtifactError(f"{path}: {_TOKEN_DECODER}.moves is not a table of 0 and 1 for {len(labels)} labels")
    return TokenScores(labels, written["kind"], tuple(moves))


def configuration_values(config: ModelConfig, heads: Heads, pad_id: int, is_tied: bool) -> dict[str, Any]:
    """Return what ``config.json`` holds for this model."""
    settings = {theirs: getattr(config, ours) for ours, theirs in _NAMES.items()}
    settings["hidden_act"] = {"gelu_tanh": "gelu_new"}.get(config.activation, config.activation)
    return {
        "architectures": [_architecture(heads)],
        "model_type": "bert",
        **settings,
        "position_embedding_type": "absolute",
        "pad_token_id": pad_id,
        "tie_word_embeddings": is_tied,
        "dtype": "float32",
        **_task_values(heads.task),
    }


def _architecture(heads: Heads) -> str:
    """Return transformers' class that opens the model with all of its heads; of those it does not have, the encoder's."""
    if heads.task is None:
        return "BertModel" if heads == Heads() else next(name for name, these in ARCHITECTURES.items() if these == heads)
    if isinstance(heads.task, TokenScores) and heads.task.decoder == "bilstm-crf":
        return "BertModel"
    return next((name for name, kind in _TASK_ARCHITECTURES.items() if isinstance(heads.task, kind)), "BertModel")


def _task_values(head: TaskHead | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if isinstance(head, SequenceScores | TokenScores):
        values["id2label"] = {str(number): label for number, label in enumerate(head.labels)}
        values["label2id"] = {label: number for number, label in enumerate(head.labels)}
    if isinstance(head, SequenceScores):
        values["problem_type"] = head.problem
    if isinstance(head, TokenScores) and head.decoder != "linear":
        values[_TOKEN_DECODER] = {"kind": head.decoder, "moves": list(head.moves)}
    return values

"""Hugging Face's ``config.json`` for BERT, read and written.

Only plain values are taken from it; no key can name code. What concerns neither the encoder nor its heads is passed over.
"""

import dataclasses
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
from bertsmith.notices import say_once
from bertsmith.text.specification import SURROGATE, short

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
_POOLING = "sequence_pooling"
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

# Settings that would make it another encoder, or another model around it; the first value is what is meant without them.
_OF_ENCODER: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute", None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
}
_OF_HEADS: dict[str, tuple[Any, ...]] = {"is_decoder": (False, None), "add_cross_attention": (False, None)}
_OF_LABELS = ("id2label", "label2id", "num_labels", "problem_type", "architectures")
# What transformers writes besides, which makes no difference to what a model says.
_NEUTRAL = {
    *(
        "model_type",
        "transformers_version",
        "_name_or_path",
        "name_or_path",
        "torch_dtype",
        "dtype",
        "use_bfloat16",
        "torchscript",
    ),
    *("return_dict", "output_attentions", "output_hidden_states", "output_past", "use_cache", "gradient_checkpointing"),
    *("chunk_size_feed_forward", "is_encoder_decoder", "cross_attention_hidden_size", "tie_encoder_decoder"),
    *("tie_word_embeddings", "classifier_dropout", "finetuning_task", "prefix", "task_specific_params", "tokenizer_class"),
    *("pad_token_id", "bos_token_id", "eos_token_id", "eos_token_ids", "sep_token_id", "cls_token_id", "unk_token_id"),
    *("mask_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id", "max_length", "min_length"),
    *("do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p"),
    *("typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
    *("bad_words_ids", "num_return_sequences", "output_scores", "return_dict_in_generate", "remove_invalid_values"),
    *("exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "tf_legacy_loss", "_num_labels"),
    *("directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head"),
    *("pooler_type", "_attn_implementation", "_attn_implementation_autoset", "attn_implementation", "sentence_transformers"),
    *("do_lower_case", "xla_device", "ignore_index", "initializer_factor"),
}


def read_shape(directory: Path) -> ModelConfig:
    """Read what ``directory/config.json`` says of the encoder.

    Raises:
        ArtifactError: it is missing, of another kind of model, or holds a value that BERT cannot have.
    """
    path = directory / "config.json"
    values = read_json(path)
    if values.get("model_type", "bert") != "bert":
        raise ArtifactError(f"{path} describes a {values['model_type']!r} model; bertsmith reads BERT (model_type 'bert')")
    _refuse_others(path, values, _OF_ENCODER)
    known = {*_NAMES.values(), *_OF_ENCODER, *_OF_HEADS, *_OF_LABELS, *_NEUTRAL, _TOKEN_DECODER, _POOLING}
    if unknown := [key for key in values if key not in known]:
        say_once(f"{path}: bertsmith passes over what it does not know: {', '.join(map(repr, unknown))}")
    return _model_config(path, values)


def read_heads(directory: Path) -> Heads | None:
    """Read which heads ``directory/config.json`` names; None where it names no architecture.

    Raises:
        ArtifactError: it is missing, or names a head that bertsmith does not have, or its labels are none.
    """
    path = directory / "config.json"
    values = read_json(path)
    _refuse_others(path, values, _OF_HEADS)
    return _heads(path, values)


def _refuse_others(path: Path, values: dict[str, Any], meant: dict[str, tuple[Any, ...]]) -> None:
    for key, allowed in meant.items():
        if values.get(key, allowed[0]) not in allowed:
            raise ArtifactError(f"{path}: {key} = {short(values[key])} is not BERT; only {allowed[0]!r} can be read")


def _model_config(path: Path, values: dict[str, Any]) -> ModelConfig:
    settings = {ours: values[theirs] for ours, theirs in _NAMES.items() if theirs in values}
    activation = settings.get("activation", "gelu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ArtifactError(f"{path}: hidden_act = {short(activation)}; the known ones are {', '.join(_ACTIVATIONS)}")
    try:
        return ModelConfig.model_validate({**settings, "activation": _ACTIVATIONS[activation]})
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        named = [f"{_NAMES[str(field)]} = {short(problem['input'])}" for field in problem["loc"]]
        raise ArtifactError(": ".join([str(path), *named, problem["msg"]])) from None


def _heads(path: Path, values: dict[str, Any]) -> Heads | None:
    architectures = values.get("architectures")
    if not architectures:
        return None
    name = architectures[0] if isinstance(architectures, list) else None
    if _TOKEN_DECODER in values:
        return Heads(task=_token_scores(path, values))
    if _POOLING in values:
        return Heads(task=_pooled_scores(path, values))
    if isinstance(name, str) and name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if not isinstance(name, str) or name not in _TASK_ARCHITECTURES:
        known = ", ".join([*ARCHITECTURES, *_TASK_ARCHITECTURES])
        raise ArtifactError(f"{path}: architectures = {short(architectures)}; bertsmith reads {known}")
    return Heads(task=_task_head(path, name, values))


def _task_head(path: Path, name: str, values: dict[str, Any]) -> TaskHead:
    if name == "BertForQuestionAnswering":
        return SpanScores()
    if name == "BertForMultipleChoice":
        return ChoiceScores()
    if name == "BertForTokenClassification":
        return TokenScores(_labels(path, values))
    return _sequence_scores(path, values)


def _pooled_scores(path: Path, values: dict[str, Any]) -> SequenceScores:
    pooling, known = values[_POOLING], ("mean", "max", "attention")
    if pooling not in known:
        raise ArtifactError(f"{path}: {_POOLING} = {short(pooling)}; the known ones are {', '.join(known)}")
    return dataclasses.replace(_sequence_scores(path, values), pooling=pooling)


def _sequence_scores(path: Path, values: dict[str, Any]) -> SequenceScores:
    labels = _labels(path, values)
    problem: Any = values.get("problem_type") or ("regression" if len(labels) == 1 else "single_label_classification")
    if problem not in get_args(Problem):
        raise ArtifactError(f"{path}: problem_type = {short(problem)}; the known ones are {', '.join(get_args(Problem))}")
    return SequenceScores(labels, problem)


def _labels(path: Path, values: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels by number, as transformers takes them.

    It writes none where they are its default, LABEL_0 and LABEL_1; a ``num_labels`` of another length than ``id2label`` holds.
    """
    by_number, n_labels = values.get("id2label"), values.get("num_labels")
    if n_labels is not None and (type(n_labels) is not int or not 0 < n_labels <= _MOST_LABELS):
        raise ArtifactError(f"{path}: num_labels = {short(n_labels)} is no number of labels")
    if by_number is None and values.get("label2id") is not None:
        by_number = _inverted(path, values["label2id"])
        say_once(f"{path}: id2label is missing; the labels are those of label2id")
    if isinstance(by_number, dict) and n_labels is not None and len(by_number) != n_labels:
        say_once(f"{path}: num_labels = {n_labels} holds, though id2label has {len(by_number)} labels")
        by_number = None
    if by_number is None:
        by_number = {str(number): f"LABEL_{number}" for number in range(n_labels or 2)}
    if not isinstance(by_number, dict) or not by_number or set(by_number) != {str(number) for number in range(len(by_number))}:
        raise ArtifactError(f"{path}: id2label = {short(by_number)} does not number its labels from 0")
    labels = [by_number[str(number)] for number in range(len(by_number))]
    for number, label in enumerate(labels):
        if type(label) not in (str, int, float, bool) or label == "" or SURROGATE.search(str(label)):
            raise ArtifactError(f"{path}: id2label gives {number} the label {short(label)}; write a name there")
    if len(set(map(str, labels))) < len(labels):
        raise ArtifactError(f"{path}: id2label gives two numbers the same label")
    return tuple(map(str, labels))


def _inverted(path: Path, numbers: Any) -> dict[str, Any]:
    if not isinstance(numbers, dict) or not all(type(number) is int for number in numbers.values()):
        raise ArtifactError(f"{path}: label2id = {short(numbers)} does not number its labels from 0")
    inverted = {str(number): label for label, number in numbers.items()}
    if len(inverted) < len(numbers):
        raise ArtifactError(f"{path}: label2id gives two labels the same number")
    return inverted


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
    if isinstance(heads.task, SequenceScores) and heads.task.pooling != "cls":
        return "BertModel"
    return next((name for name, kind in _TASK_ARCHITECTURES.items() if isinstance(heads.task, kind)), "BertModel")


def _task_values(head: TaskHead | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if isinstance(head, SequenceScores | TokenScores):
        values["id2label"] = {str(number): label for number, label in enumerate(head.labels)}
        values["label2id"] = {label: number for number, label in enumerate(head.labels)}
    if isinstance(head, SequenceScores):
        values["problem_type"] = head.problem
        if head.pooling != "cls":
            values[_POOLING] = head.pooling
    if isinstance(head, TokenScores) and head.decoder != "linear":
        values[_TOKEN_DECODER] = {"kind": head.decoder, "moves": list(head.moves)}
    return values

"""The peers of benchmarks/gpu.py: transformers' BERT and ModernBERT with random weights, and their inputs."""

from typing import Any

import torch
import transformers

from bertsmith.artifacts.configuration import configuration_values
from bertsmith.model.bert import PRETRAINING
from bertsmith.model.model_config import ModelConfig
from bertsmith.types import PretrainingBatch

PAD_ID, IGNORED = 0, -100


def peer(shape: ModelConfig, *, model: str, attention: str, is_training: bool) -> Any:
    """Return a ``bert`` or ``modernbert`` of BERT's shape; for training with the heads of pre-training that it has."""
    torch.manual_seed(0)
    if model == "bert":
        values = configuration_values(shape, PRETRAINING, PAD_ID, is_tied=True)
        config = transformers.BertConfig(**values, attn_implementation=attention)
        return transformers.BertForPreTraining(config) if is_training else transformers.BertModel(config)
    config = transformers.ModernBertConfig(
        vocab_size=shape.vocabulary_size,
        hidden_size=shape.width,
        # Its feed-forward has three matrices instead of two.
        intermediate_size=shape.feed_forward_width * 2 // 3,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        max_position_embeddings=shape.max_positions,
        sparse_prediction=True,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), PAD_ID),
        attn_implementation=attention,
    )
    return transformers.ModernBertForMaskedLM(config) if is_training else transformers.ModernBertModel(config)


def padded_inputs(batch: PretrainingBatch, longest: int, *, has_labels: bool = False) -> dict[str, Any]:
    """Return a batch as rows of sequences, padded."""
    is_token = torch.arange(longest) < batch.inputs.cu_seqlens.diff()[:, None]
    values = {"input_ids": torch.full(is_token.shape, PAD_ID), "attention_mask": is_token.long()}
    values["input_ids"][is_token] = batch.inputs.token_ids
    if has_labels:
        values["labels"] = torch.full(is_token.shape, IGNORED)
        values["labels"][is_token] = _labels(batch)
    return values


def packed_inputs(batch: PretrainingBatch, *, has_labels: bool = False) -> dict[str, Any]:
    """Return a batch as one row of all sequences, which flash attention tells apart."""
    ends, longest = batch.inputs.cu_seqlens, batch.inputs.max_seqlen
    values = {
        "input_ids": batch.inputs.token_ids[None],
        "position_ids": batch.inputs.position_ids[None],
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": ends,
        "max_length_q": longest,
        "max_length_k": longest,
    }
    return {**values, "labels": _labels(batch)[None]} if has_labels else values


def _labels(batch: PretrainingBatch) -> torch.Tensor:
    labels = torch.full_like(batch.inputs.token_ids, IGNORED)
    labels[batch.masked_positions] = batch.masked_token_ids
    return labels


def pinned(values: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return inputs in page-locked memory if they are for a GPU."""
    pin = device.type == "cuda"
    return {name: value.pin_memory() if pin and isinstance(value, torch.Tensor) else value for name, value in values.items()}


def moved(values: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return inputs on the device."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
    }

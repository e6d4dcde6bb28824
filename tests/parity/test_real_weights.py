"""Real trained weights: every layer, every attention probability and every logit as transformers computes them."""

import csv
from pathlib import Path

import pytest
import torch
import transformers

from bertsmith.artifacts.convert import convert
from bertsmith.artifacts.directory import load_model
from bertsmith.model.bert import PRETRAINING, Bert
from bertsmith.text.tokenizer import Tokenizer

STS = Path(__file__).resolve().parents[3] / "shared" / "data" / "tasks" / "glue" / "STS-B" / "test_with_gold.tsv"
TEXTS = [
    "A man is playing a guitar.",
    "a",
    "",
    ("Is it raining?", "No, but the forecast for tomorrow is dreadful: storms, hail and a flood warning."),
    "The old lighthouse keeper climbed the stairs every evening, although nobody had asked him to for thirty years.",
    "naïve café, Zürich, 東京 and Ελλάδα",
    ("short", "pair"),
    "word " * 150,
    *(f"Sentence number {number} has " + "quite " * number + "some words." for number in range(12)),
]


@torch.no_grad()
def test_layers_and_attention_of_minilm(minilm, padded):
    ours, batch = load_model(minilm), Tokenizer.load(minilm).pack(TEXTS)
    theirs = transformers.BertModel.from_pretrained(minilm, attn_implementation="eager").eval()
    view = padded(batch)
    expected = theirs(**view.inputs, output_hidden_states=True, output_attentions=True)
    found = ours(batch, want_layers=True, want_attention=True)
    fused = ours(batch, want_layers=True)
    assert len(found.layers) == len(expected.hidden_states) == 7
    for layers in (found.layers, fused.layers):
        for layer, their_layer in zip(layers, expected.hidden_states, strict=True):
            torch.testing.assert_close(layer, view.rows(their_layer), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.pooled, expected.pooler_output, rtol=0, atol=1e-5)
    for layer, their_layer in zip(found.attention, expected.attentions, strict=True):
        for sequence, theirs_padded in zip(layer, their_layer, strict=True):
            length = sequence.shape[-1]
            torch.testing.assert_close(sequence, theirs_padded[:, :length, :length], rtol=0, atol=1e-5)


@torch.no_grad()
def _mean_vectors(model: Bert, tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """Mean over each sequence's tokens (B, D), computed in order of length."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    vectors = torch.empty(len(texts), model.config.width)
    for start in range(0, len(order), 128):
        chosen = order[start : start + 128]
        batch = tokenizer.pack([texts[index] for index in chosen])
        lengths = batch.cu_seqlens.diff().tolist()
        vectors[chosen] = torch.stack([rows.mean(dim=0) for rows in model(batch).hidden.split(lengths)])
    return vectors


def test_sts_b_with_minilm(minilm):
    if not STS.exists():
        pytest.skip("the shared task data are not on this machine")
    stats = pytest.importorskip("scipy.stats")
    with STS.open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    gold, first, second = zip(*((float(row[4]), row[5], row[6]) for row in rows), strict=True)
    vectors = _mean_vectors(load_model(minilm), Tokenizer.load(minilm), [*first, *second])
    cosines = torch.cosine_similarity(vectors[: len(rows)], vectors[len(rows) :])
    assert stats.spearmanr(cosines.numpy(), gold).statistic == pytest.approx(0.8203, abs=0.0005)


@pytest.fixture(scope="module")
def converted_rxnfp(rxnfp, tmp_path_factory) -> Path:
    """The directory of 2019 in today's form."""
    path = tmp_path_factory.mktemp("rxnfp") / "converted"
    convert(rxnfp, path)
    return path


@torch.no_grad()
def test_logits_of_rxnfp(converted_rxnfp, rxnfp, random_batch, padded):
    ours = load_model(converted_rxnfp)
    assert ours.heads == PRETRAINING
    batch = random_batch([5, 1, 60, 33, 8, 120], ours.config.vocabulary_size, 0)
    found, view = ours(batch), padded(batch)
    for directory in (converted_rxnfp, rxnfp):
        theirs = transformers.BertForPreTraining.from_pretrained(directory, config=_bert_config(directory)).eval()
        expected = theirs(**view.inputs)
        torch.testing.assert_close(found.token_logits, view.rows(expected.prediction_logits), rtol=0, atol=1e-4)
        torch.testing.assert_close(found.next_sentence_logits, expected.seq_relationship_logits, rtol=0, atol=1e-4)


def _bert_config(directory: Path) -> transformers.BertConfig:
    return transformers.BertConfig.from_json_file(directory / "config.json")

"""What transformers saves opens here with equal outputs, and what is saved here opens there."""

import logging

import pytest
import torch
import transformers

from bertsmith.artifacts.configuration import ARCHITECTURES
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.model.bert import PRETRAINING, Bert, Heads

LENGTHS = [7, 1, 12, 3, 3, 20]
TOLERANCE = {"rtol": 0, "atol": 1e-5}
each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@pytest.fixture
def assert_same_outputs(random_batch, padded, tiny_config):
    """A function that compares everything that the two models say of an uneven batch."""

    @torch.no_grad()
    def check(ours: Bert, theirs: transformers.PreTrainedModel) -> None:
        batch = random_batch(LENGTHS, tiny_config.vocabulary_size, 0)
        view = padded(batch)
        found = ours(batch, want_layers=True)
        theirs.eval()
        expected = theirs(**view.inputs, output_hidden_states=True)
        for layer, their_layer in zip(found.layers, expected.hidden_states, strict=True):
            torch.testing.assert_close(layer, view.rows(their_layer), **TOLERANCE)
        compared = {
            "pooler_output": found.pooled,
            "prediction_logits": found.token_logits,
            "seq_relationship_logits": found.next_sentence_logits,
            "logits": found.next_sentence_logits if found.token_logits is None else found.token_logits,
        }
        for name, ours_value in compared.items():
            if (value := getattr(expected, name, None)) is not None:
                rows = view.rows(value) if value.dim() == 3 else value
                torch.testing.assert_close(ours_value, rows, **TOLERANCE)

    return check


def _their_config(tiny_config, **changes: object) -> transformers.BertConfig:
    return transformers.BertConfig(
        vocab_size=tiny_config.vocabulary_size,
        hidden_size=tiny_config.width,
        num_hidden_layers=tiny_config.n_layers,
        num_attention_heads=tiny_config.n_heads,
        intermediate_size=tiny_config.feed_forward_width,
        max_position_embeddings=tiny_config.max_positions,
        **changes,
    )


def _their_model(architecture: str, config: transformers.BertConfig, **arguments: object) -> transformers.PreTrainedModel:
    model = getattr(transformers, architecture)(config, **arguments)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def _open_there(architecture: str, path) -> transformers.PreTrainedModel:
    model, info = getattr(transformers, architecture).from_pretrained(path, output_loading_info=True)
    assert not any(info.values()), info
    return model


@each_architecture
def test_theirs_opens_here(tmp_path, tiny_config, assert_same_outputs, caplog, architecture):
    theirs = _their_model(architecture, _their_config(tiny_config))
    theirs.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, "bertsmith"):
        ours = load_model(tmp_path)
    assert not [record for record in caplog.records if record.name == "bertsmith"]
    assert ours.heads == ARCHITECTURES[architecture]
    assert ours.is_tied
    assert_same_outputs(ours, theirs)


@each_architecture
def test_ours_opens_there(tmp_path, random_model, tiny_tokenizer, assert_same_outputs, architecture):
    ours = random_model(ARCHITECTURES[architecture])
    save_model(ours, tiny_tokenizer, tmp_path / "model", "")
    assert_same_outputs(ours, _open_there(architecture, tmp_path / "model"))


def test_a_model_without_pooler_both_ways(tmp_path, tiny_config, tiny_tokenizer, random_model, assert_same_outputs):
    theirs = _their_model("BertModel", _their_config(tiny_config), add_pooling_layer=False)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert ours.heads == Heads()
    assert_same_outputs(ours, theirs)
    save_model(random_model(Heads()), tiny_tokenizer, tmp_path / "ours", "")
    opened, info = transformers.BertModel.from_pretrained(tmp_path / "ours", add_pooling_layer=False, output_loading_info=True)
    assert not any(info.values()), info
    assert_same_outputs(random_model(Heads()), opened)


@pytest.mark.parametrize("architecture", ["BertForMaskedLM", "BertForPreTraining"])
def test_untied_decoders_both_ways(tmp_path, tiny_config, tiny_tokenizer, random_model, assert_same_outputs, architecture):
    theirs = _their_model(architecture, _their_config(tiny_config, tie_word_embeddings=False))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert not ours.is_tied
    assert_same_outputs(ours, theirs)
    mine = random_model(ARCHITECTURES[architecture])
    mine.masked_token.decoder = torch.nn.Parameter(mine.masked_token.decoder.detach().flip(0))
    save_model(mine, tiny_tokenizer, tmp_path / "ours", "")
    assert_same_outputs(mine, _open_there(architecture, tmp_path / "ours"))


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh", "relu"])
def test_other_activations_both_ways(tmp_path, tiny_config, tiny_tokenizer, assert_same_outputs, activation):
    theirs = _their_model("BertForMaskedLM", _their_config(tiny_config, hidden_act=activation))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert_same_outputs(ours, theirs)
    save_model(ours, tiny_tokenizer, tmp_path / "ours", "")
    assert_same_outputs(ours, _open_there("BertForMaskedLM", tmp_path / "ours"))


def test_our_directory_is_a_tokenizer_there(tmp_path, random_model, tiny_tokenizer):
    save_model(random_model(PRETRAINING), tiny_tokenizer, tmp_path / "model", "")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert theirs("A b, c", "d")["input_ids"] == tiny_tokenizer.encode("A b, c", "d").token_ids
    assert theirs.model_max_length == 32
    assert type(transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "model")).__name__ == "BertForPreTraining"

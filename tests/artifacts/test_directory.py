"""Model directories: what is saved is loaded, in any spelling, and what is damaged or does not fit is refused."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

import bertsmith
from bertsmith.artifacts.configuration import ARCHITECTURES
from bertsmith.artifacts.directory import load_model, load_model_or_encoder, save_model
from bertsmith.errors import ArtifactError, DamagedError, MismatchError
from bertsmith.files import MANIFEST
from bertsmith.model.bert import MASKED_TOKEN, PRETRAINING, Bert, Heads
from bertsmith.model.heads.sequence import ChoiceScores

Tensors = dict[str, torch.Tensor]
ALL_HEADS = {**ARCHITECTURES, "BertModel without pooler": Heads()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory, random_model, tiny_tokenizer) -> Path:
    """A directory with a model that has both pre-training heads."""
    path = tmp_path_factory.mktemp("saved") / "model"
    save_model(random_model(PRETRAINING), tiny_tokenizer, path, "# A card\n")
    return path


@pytest.fixture
def foreign(saved, tmp_path) -> Path:
    """The same directory as another tool leaves it: without a manifest."""
    path = tmp_path / "foreign"
    shutil.copytree(saved, path)
    (path / MANIFEST).unlink()
    return path


def _rewrite(path: Path, change: Callable[[Tensors], Tensors]) -> None:
    tensors = safetensors.torch.load_file(path / "model.safetensors")
    safetensors.torch.save_file(change(tensors), path / "model.safetensors")


def _reconfigure(path: Path, **values: object) -> None:
    config = json.loads((path / "config.json").read_text()) | values
    (path / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


def _assert_equal(found: Bert, expected: Bert) -> None:
    assert found.heads == expected.heads
    assert found.config == expected.config
    assert found.is_tied == expected.is_tied
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, parameter in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], parameter), name


@pytest.mark.parametrize("heads", ALL_HEADS.values(), ids=ALL_HEADS.keys())
def test_what_is_saved_is_loaded(tmp_path, random_model, tiny_tokenizer, caplog, heads):
    model = random_model(heads)
    save_model(model, tiny_tokenizer, tmp_path / "model", "# A card\n")
    loaded = load_model(tmp_path / "model")
    _assert_equal(loaded, model)
    assert not loaded.training
    assert not caplog.records
    assert (tmp_path / "model" / "README.md").read_text() == "# A card\n"
    assert json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())["model_max_length"] == 32


def test_what_takes_long_to_import_is_not_needed_to_open_a_model(saved):
    script = "import sys, bertsmith; bertsmith.load(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, str(saved)], capture_output=True, text=True, check=True)
    assert not {"sympy", "torch._dynamo"} & set(done.stdout.split())


def test_the_public_functions_take_paths_as_text(tmp_path, random_model, tiny_tokenizer):
    model = random_model(PRETRAINING)
    bertsmith.save(model, tiny_tokenizer, str(tmp_path / "model"))
    _assert_equal(bertsmith.load(str(tmp_path / "model")), model)
    assert (tmp_path / "model" / "README.md").read_text() == "# model\n"


def test_an_untied_decoder_stays_untied(tmp_path, random_model, tiny_tokenizer):
    model = random_model(MASKED_TOKEN)
    model.masked_token.decoder = torch.nn.Parameter(model.masked_token.decoder.detach() + 1)
    save_model(model, tiny_tokenizer, tmp_path / "model", "")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["tie_word_embeddings"] is False
    _assert_equal(load_model(tmp_path / "model"), model)


def test_a_decoder_stored_beside_an_equal_embedding_is_tied(foreign, random_model):
    decoder = "cls.predictions.decoder.weight"
    _rewrite(foreign, lambda tensors: tensors | {decoder: tensors["bert.embeddings.word_embeddings.weight"].clone()})
    _assert_equal(load_model(foreign), random_model(PRETRAINING))


def _without_prefix(tensors: Tensors) -> Tensors:
    return {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}


def _gamma_and_beta(tensors: Tensors) -> Tensors:
    spell = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    return {
        next((name.replace(new, old) for new, old in spell.items() if name.endswith(new)), name): tensor
        for name, tensor in tensors.items()
    }


SPELLINGS: dict[str, Callable[[Tensors], Tensors]] = {
    "gamma and beta": _gamma_and_beta,
    "buffers": lambda tensors: tensors | {"bert.embeddings.position_ids": torch.arange(32)[None]},
    "no bert prefix": _without_prefix,
    "no bert prefix, with buffers": lambda tensors: _without_prefix(tensors) | {"embeddings.position_ids": torch.arange(32)},
    **{
        f"behind {prefix}": lambda tensors, prefix=prefix: {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
        for prefix in (
            "module.",
            "model.",
            "_orig_mod.",
            "module._orig_mod.",
            "model._orig_mod.",
            "net.module.",
            "0.auto_model.",
        )
    },
    "each part wrapped": lambda tensors: {
        name.replace("bert.", "bert._orig_mod.").replace("cls.", "cls.module."): tensor for name, tensor in tensors.items()
    },
    "an encoder wrapped, without its prefix": lambda tensors: {
        f"model.{name}": tensor for name, tensor in _without_prefix(tensors).items()
    },
    "the decoder's bias": lambda tensors: {
        name.replace("cls.predictions.bias", "cls.predictions.decoder.bias"): tensor for name, tensor in tensors.items()
    },
    "both biases, the decoder's being the one in use": lambda tensors: (
        tensors | {"cls.predictions.decoder.bias": tensors["cls.predictions.bias"], "cls.predictions.bias": torch.zeros(31)}
    ),
    "half precision": lambda tensors: {name: tensor.bfloat16() for name, tensor in tensors.items()},
}


@pytest.mark.parametrize("change", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_older_spellings_are_read(foreign, random_model, caplog, change):
    _rewrite(foreign, change)
    expected = random_model(PRETRAINING)
    if change is SPELLINGS["half precision"]:
        expected.load_state_dict({name: tensor.bfloat16().float() for name, tensor in expected.state_dict().items()})
    _assert_equal(load_model(foreign), expected)
    assert not caplog.records


@pytest.mark.parametrize("heads", ALL_HEADS.values(), ids=ALL_HEADS.keys())
def test_heads_follow_from_the_weights_where_the_configuration_names_none(tmp_path, random_model, tiny_tokenizer, heads):
    model = random_model(heads)
    save_model(model, tiny_tokenizer, tmp_path / "model", "")
    (tmp_path / "model" / MANIFEST).unlink()
    _reconfigure(tmp_path / "model", architectures="absent", model_type="absent")
    _assert_equal(load_model(tmp_path / "model"), model)


def test_unused_tensors_are_reported(foreign, caplog):
    _rewrite(foreign, lambda tensors: tensors | {"bert.encoder.layer.9.output.dense.bias": torch.ones(3), "x": torch.ones(1)})
    with caplog.at_level(logging.WARNING):
        load_model(foreign)
    [record] = caplog.records
    assert "not used" in record.getMessage()
    assert "bert.encoder.layer.9.output.dense.bias, x" in record.getMessage()


def test_other_layers_than_the_configuration_names_are_reported_to_every_task(foreign, caplog):
    _reconfigure(foreign, num_hidden_layers=2)
    load_model(foreign, Heads(task=ChoiceScores()))
    assert "not used by this model: bert.encoder.layer.2.attention.output.LayerNorm.bias" in caplog.text
    assert "cls." not in caplog.text


def test_what_lacks_is_shown_with_what_may_be_other_words_for_it(foreign):
    _rewrite(foreign, lambda tensors: {name.replace("intermediate.dense", "mlp.up"): tensors[name] for name in tensors})
    with pytest.raises(
        ArtifactError, match=r"lacks bert\.encoder\.layer\.0\.intermediate\.dense\.weight; it has bert\.embeddings"
    ):
        load_model(foreign)
    _rewrite(foreign, lambda tensors: {name.replace("mlp.up", "intermediate.dense"): tensors[name] for name in tensors})
    _rewrite(foreign, lambda tensors: {name.replace("output.dense", "mlp.down"): tensors[name] for name in tensors})
    with pytest.raises(ArtifactError, match=r"lacks .*output\.dense\.bias.*; it has .*mlp\.down\.bias"):
        load_model(foreign)


# Heads that are not needed.

UNKNOWN_HEADS: dict[str, dict[str, object]] = {
    "an architecture": {"architectures": ["BertLMHeadModel"]},
    "a decoder": {"architectures": ["BertForMaskedLM"], "is_decoder": True, "add_cross_attention": True},
    "labels": {"architectures": ["BertForTokenClassification"], "id2label": {"0": None, "1": "b"}},
    "a head that is missing": {"architectures": ["BertForQuestionAnswering"]},
}


@pytest.mark.parametrize("values", UNKNOWN_HEADS.values(), ids=UNKNOWN_HEADS.keys())
def test_the_encoder_alone_is_used_whatever_the_heads(foreign, random_model, caplog, values):
    _reconfigure(foreign, **values)
    _rewrite(foreign, lambda tensors: tensors | {"classifier.weight": torch.ones(5, 24), "classifier.bias": torch.ones(5)})
    for heads in (Heads(), Heads(task=ChoiceScores())):
        found = load_model(foreign, heads).encoder.state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in random_model(Heads()).encoder.state_dict().items())
    said = [record.getMessage() for record in caplog.records if "since the encoder alone is needed" in record.getMessage()]
    assert len(said) == ("Answering" not in str(values))
    with pytest.raises(ArtifactError):
        load_model(foreign)


@pytest.mark.parametrize("values", UNKNOWN_HEADS.values(), ids=UNKNOWN_HEADS.keys())
def test_the_encoder_is_opened_where_its_heads_cannot_be_had(foreign, random_model, caplog, values):
    _reconfigure(foreign, **values)
    for _ in range(2):
        found = load_model_or_encoder(foreign)
        _assert_equal(found, random_model(Heads()))
    (said,) = [record.getMessage() for record in caplog.records if "the encoder alone" in record.getMessage()]
    assert str(foreign) in said


def test_with_its_heads_a_model_is_opened_whole_and_what_is_damaged_is_refused(foreign, random_model, caplog):
    _assert_equal(load_model_or_encoder(foreign), random_model(PRETRAINING))
    _reconfigure(foreign, vocab_size=7)
    with pytest.raises(MismatchError):
        load_model_or_encoder(foreign)
    (foreign / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"config\.json"):
        load_model_or_encoder(foreign)
    assert caplog.records == []


def test_a_head_of_no_known_task_is_not_taken_for_the_one_that_is_wanted(foreign, random_model):
    _reconfigure(foreign, architectures="absent")
    _rewrite(foreign, lambda tensors: tensors | {"classifier.weight": torch.ones(5, 24), "classifier.bias": torch.ones(5)})
    found = load_model(foreign, Heads(task=ChoiceScores())).encoder.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in random_model(Heads()).encoder.state_dict().items())


def test_missing_tensors_are_named(foreign):
    def without_one_key(tensors: Tensors) -> Tensors:
        return {name: tensor for name, tensor in tensors.items() if "layer.1.attention.self.key.weight" not in name}

    _rewrite(foreign, without_one_key)
    with pytest.raises(ArtifactError, match=r"lacks bert\.encoder\.layer\.1\.attention\.self\.key\.weight; it has bert\.emb"):
        load_model(foreign)


def test_new_heads_start_at_random_with_a_warning(tmp_path, random_model, tiny_tokenizer, caplog):
    save_model(random_model(Heads(pooler=True)), tiny_tokenizer, tmp_path / "model", "")
    first, again, other = (load_model(tmp_path / "model", heads=PRETRAINING, seed=seed) for seed in (1, 1, 2))
    assert "has no weights for masked_token, next_sentence: they start at random" in caplog.text
    old = random_model(Heads(pooler=True))
    for name, parameter in old.encoder.state_dict().items():
        assert torch.equal(first.encoder.state_dict()[name], parameter)
    assert torch.equal(first.next_sentence.pooler.dense.weight, old.pooler.dense.weight)
    assert first.masked_token.decoder is first.encoder.embeddings.token.weight
    assert torch.equal(first.masked_token.dense.weight, again.masked_token.dense.weight)
    assert not torch.equal(first.masked_token.dense.weight, other.masked_token.dense.weight)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_altered_and_truncated_files_are_detected(saved, tmp_path, name):
    content = (saved / name).read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0x10
    for case, damaged in {"flipped": bytes(flipped), "truncated": content[:-1], "longer": content + b" "}.items():
        shutil.copytree(saved, tmp_path / case)
        (tmp_path / case / name).write_bytes(damaged)
        with pytest.raises(DamagedError, match=name):
            load_model(tmp_path / case)
    shutil.copytree(saved, tmp_path / "missing")
    (tmp_path / "missing" / name).unlink()
    with pytest.raises(DamagedError, match=f"{name} is missing"):
        load_model(tmp_path / "missing")


@pytest.mark.parametrize("n_bytes", [0, 5, 100, -1])
def test_truncation_is_detected_without_a_manifest(foreign, n_bytes):
    weights = foreign / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:n_bytes])
    with pytest.raises(DamagedError, match=r"model\.safetensors cannot be read as safetensors"):
        load_model(foreign)


def test_other_shapes_than_the_configuration_means(foreign):
    _reconfigure(foreign, intermediate_size=41)
    with pytest.raises(
        MismatchError, match=r"intermediate\.dense\.weight has shape \(40, 24\) where config\.json means \(41, 24\)"
    ):
        load_model(foreign)


def test_parts_of_one_tensor_must_each_fit(foreign):
    def shift_a_row_from_query_to_key(tensors: Tensors) -> Tensors:
        query, key = (f"bert.encoder.layer.0.attention.self.{part}.weight" for part in ("query", "key"))
        return tensors | {query: tensors[query][:-1], key: torch.cat([tensors[query][-1:], tensors[key]])}

    _rewrite(foreign, shift_a_row_from_query_to_key)
    with pytest.raises(MismatchError, match=r"self\.query\.weight has shape \(23, 24\)"):
        load_model(foreign)


@pytest.mark.parametrize("number", [10**13, 2**31, 2**63, 10**400])
@pytest.mark.parametrize(
    "size",
    ["vocab_size", "max_position_embeddings", "intermediate_size", "num_hidden_layers", "type_vocab_size", "hidden_size"],
)
def test_absurd_sizes_take_no_memory(foreign, size, number):
    _reconfigure(foreign, **{size: number})
    with pytest.raises(ArtifactError, match=r"config\.json"):
        load_model(foreign)


BAD_VALUES: dict[str, tuple[dict[str, object], str]] = {
    "another model": ({"model_type": "roberta"}, "describes a 'roberta' model"),
    "another architecture": ({"architectures": ["BertLMHeadModel"]}, r"architectures = \['BertLMHeadModel'\]; bertsmith reads"),
    "no name of an architecture": ({"architectures": [["BertModel"]]}, "architectures = "),
    "no list": ({"architectures": "BertModel"}, "architectures = 'BertModel'"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key' is not BERT"),
    "a decoder": ({"is_decoder": True}, "is_decoder = True is not BERT"),
    "heads left out": ({"pruned_heads": {"0": [1]}}, "pruned_heads = .* is not BERT"),
    "rounded weights": ({"quantization_config": {"load_in_8bit": True}}, "quantization_config = .* is not BERT"),
    "activation": ({"hidden_act": "swish"}, "hidden_act = 'swish'; the known ones are gelu"),
    "no name of an activation": ({"hidden_act": ["gelu"]}, r"hidden_act = \['gelu'\]"),
    "text for a number": ({"hidden_size": "24"}, "hidden_size = '24': "),
    "fraction": ({"num_hidden_layers": 2.5}, r"num_hidden_layers = 2\.5: "),
    "negative": ({"vocab_size": -1}, "vocab_size = -1: "),
    "null": ({"intermediate_size": None}, "intermediate_size = None: "),
    "probability": ({"hidden_dropout_prob": 1.5}, r"hidden_dropout_prob = 1\.5: "),
    "heads that do not divide": ({"num_attention_heads": 5}, "config.json: .*not divisible by"),
}


@pytest.mark.parametrize(("values", "message"), BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_values_that_bert_cannot_have(foreign, values, message):
    _reconfigure(foreign, **values)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_model(foreign)
    assert str(foreign / "config.json") in str(caught.value)


@pytest.mark.parametrize("activation", [("gelu_new", "gelu_tanh"), ("gelu_pytorch_tanh", "gelu_tanh"), ("relu", "relu")])
def test_activations_by_their_other_names(foreign, activation):
    theirs, ours = activation
    _reconfigure(foreign, hidden_act=theirs)
    assert load_model(foreign).config.activation == ours


def test_keys_that_do_not_concern_the_encoder_are_passed_over(foreign, random_model, caplog):
    _reconfigure(foreign, auto_map={"AutoModel": "evil.py"}, transformers_version="4", use_cache=True, id2label={"0": "x"})
    for _ in range(2):
        _assert_equal(load_model(foreign), random_model(PRETRAINING))
    assert [record.getMessage() for record in caplog.records] == [
        f"{foreign / 'config.json'}: bertsmith passes over what it does not know: 'auto_map'"
    ]


def test_configuration_that_is_no_json_object(foreign):
    for content, error in (("{", DamagedError), ("[]", DamagedError)):
        (foreign / "config.json").write_text(content)
        with pytest.raises(error, match=r"config\.json"):
            load_model(foreign)
    (foreign / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"config\.json does not exist"):
        load_model(foreign)


def test_directories_without_weights(tmp_path):
    with pytest.raises(ArtifactError, match="is not a directory"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"has no model\.safetensors"):
        load_model(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match="run: bertsmith convert"):
        load_model(tmp_path)


def test_saving_never_replaces_anything(saved, random_model, tiny_tokenizer):
    before = {file.name: file.read_bytes() for file in saved.iterdir()}
    with pytest.raises(ArtifactError, match="exists already"):
        save_model(random_model(MASKED_TOKEN), tiny_tokenizer, saved, "")
    assert {file.name: file.read_bytes() for file in saved.iterdir()} == before

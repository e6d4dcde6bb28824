"""What ``config.json`` says of a fine-tuned model's head, and values of it that mean nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from bertsmith.artifacts.configuration import configuration_values, read_heads, read_shape
from bertsmith.errors import ArtifactError
from bertsmith.model.bert import Heads
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.sequence import ChoiceScores, SequenceScores
from bertsmith.model.heads.span import SpanScores
from bertsmith.model.heads.token import TokenScores
from bertsmith.model.model_config import ModelConfig

CONFIG = ModelConfig(vocabulary_size=31, width=24, n_layers=3, n_heads=4)
MOVES = ("110", "111", "111", "110", "111")
TAGS = ("O", "B-X", "I-X")
CRF = {"kind": "crf", "moves": list(MOVES)}
SEQUENCES, TOKENS = "BertForSequenceClassification", "BertForTokenClassification"
LABELLED = pytest.mark.parametrize("architecture", [SEQUENCES, TOKENS])
TASKS: dict[str, tuple[TaskHead, str]] = {
    "classes": (SequenceScores(("a", "b")), SEQUENCES),
    "labels": (SequenceScores(("a", "b", "c"), "multi_label_classification"), SEQUENCES),
    "number": (SequenceScores(("score",), "regression"), SEQUENCES),
    "pooled": (SequenceScores(("a", "b", "c"), pooling="max"), "BertModel"),
    "pooled number": (SequenceScores(("score",), "regression", "attention"), "BertModel"),
    "tags": (TokenScores(TAGS), TOKENS),
    "crf": (TokenScores(TAGS, "crf", MOVES), TOKENS),
    "bilstm-crf": (TokenScores(TAGS, "bilstm-crf", MOVES), "BertModel"),
    "span": (SpanScores(), "BertForQuestionAnswering"),
    "choice": (ChoiceScores(), "BertForMultipleChoice"),
}


def _read(directory: Path, architecture: str, **values: Any) -> TaskHead | None:
    written = {"model_type": "bert", "architectures": [architecture], **values}
    (directory / "config.json").write_text(json.dumps(written), encoding="utf-8")
    heads = read_heads(directory)
    assert heads is not None
    assert heads == Heads(task=heads.task)
    return heads.task


def _refused(directory: Path, architecture: str, **values: Any) -> str:
    with pytest.raises(ArtifactError) as refusal:
        _read(directory, architecture, **values)
    message = str(refusal.value)
    assert message.startswith(f"{directory / 'config.json'}: ")
    return message.removeprefix(f"{directory / 'config.json'}: ")


@pytest.mark.parametrize(("head", "architecture"), TASKS.values(), ids=TASKS.keys())
def test_what_is_written_is_read(tmp_path, head, architecture):
    values = configuration_values(CONFIG, Heads(task=head), pad_id=0, is_tied=True)
    assert values["architectures"] == [architecture]
    (tmp_path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    assert (read_shape(tmp_path), read_heads(tmp_path)) == (CONFIG, Heads(task=head))


def test_a_head_of_ones_own_is_written_as_the_encoder():
    class Own:
        def build(self, config):
            raise NotImplementedError

    values = configuration_values(CONFIG, Heads(task=Own()), pad_id=0, is_tied=True)
    assert values["architectures"] == ["BertModel"]
    assert not values.keys() & {"id2label", "problem_type", "token_decoder"}


# Labels.


@LABELLED
def test_labels_that_are_missing_are_the_usual_two(tmp_path, architecture):
    for values in ({}, {"id2label": None}, {"num_labels": 2}):
        assert _read(tmp_path, architecture, **values).labels == ("LABEL_0", "LABEL_1")
    assert _read(tmp_path, architecture, num_labels=3).labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@LABELLED
def test_labels_go_by_their_number_and_not_by_their_place(tmp_path, architecture):
    numbered = {str(number): f"label {number}" for number in reversed(range(12))}
    assert _read(tmp_path, architecture, id2label=numbered).labels == tuple(f"label {number}" for number in range(12))


@LABELLED
def test_labels_that_are_numbers_are_texts(tmp_path, architecture):
    assert _read(tmp_path, architecture, id2label={"0": 0, "1": 1}).labels == ("0", "1")


@LABELLED
@pytest.mark.parametrize(
    "labels",
    [{"1": "a", "2": "b"}, {"0": "a", "2": "b"}, {"a": 0, "b": 1}, {"0": "a", "00": "b"}, {"-1": "a"}, {}, ["a", "b"], "ab", 3],
)
def test_labels_that_are_not_numbered_from_0(tmp_path, architecture, labels):
    expected = f"id2label = {labels!r} does not number its labels from 0"
    assert _refused(tmp_path, architecture, id2label=labels) == expected


@LABELLED
def test_two_labels_that_are_the_same(tmp_path, architecture):
    message = _refused(tmp_path, architecture, id2label={"0": "a", "1": "b", "2": "a"})
    assert message == "id2label gives two numbers the same label"


@LABELLED
@pytest.mark.parametrize("number", ["3", 0, -1, 2.0, True, [2], 10**15])
def test_impossible_numbers_of_labels(tmp_path, architecture, number):
    assert _refused(tmp_path, architecture, num_labels=number) == f"num_labels = {number!r} is no number of labels"


def _warnings(caplog):
    return [record.getMessage().split("config.json: ")[1] for record in caplog.records if record.name == "bertsmith"]


@LABELLED
def test_a_number_of_labels_holds_over_stale_names(tmp_path, architecture, caplog):
    found = [_read(tmp_path, architecture, num_labels=3, id2label={"0": "a", "1": "b"}) for _ in range(2)]
    assert found[0].labels == found[1].labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert _warnings(caplog) == ["num_labels = 3 holds, though id2label has 2 labels"]
    assert _read(tmp_path, architecture, num_labels=2, id2label={"0": "a", "1": "b"}).labels == ("a", "b")


@LABELLED
def test_labels_that_are_there_by_name_alone(tmp_path, architecture, caplog):
    assert _read(tmp_path, architecture, label2id={"b": 1, "a": 0, "c": 2}).labels == ("a", "b", "c")
    assert _warnings(caplog) == ["id2label is missing; the labels are those of label2id"]
    assert _refused(tmp_path, architecture, label2id={"a": 0, "b": 0}) == "label2id gives two labels the same number"
    assert "label2id = ['a'] does not number" in _refused(tmp_path, architecture, label2id=["a"])
    assert "label2id = {'a': '0'} does not number" in _refused(tmp_path, architecture, label2id={"a": "0"})


@LABELLED
@pytest.mark.parametrize("label", [None, "", [], {"a": 1}, "a\ud800"])
def test_labels_that_are_none(tmp_path, architecture, label):
    message = _refused(tmp_path, architecture, id2label={"0": "a", "1": label})
    assert message == f"id2label gives 1 the label {label!r}; write a name there"


# Problems.


def test_a_problem_that_is_missing_follows_from_the_number_of_labels(tmp_path):
    one, two = {"0": "a"}, {"0": "a", "1": "b"}
    for problem in ({}, {"problem_type": None}):
        assert _read(tmp_path, SEQUENCES, id2label=one, **problem) == SequenceScores(("a",), "regression")
        assert _read(tmp_path, SEQUENCES, id2label=two, **problem) == SequenceScores(("a", "b"), "single_label_classification")


def test_a_problem_that_is_given_counts(tmp_path):
    for problem in ("single_label_classification", "multi_label_classification", "regression"):
        assert _read(tmp_path, SEQUENCES, id2label={"0": "a"}, problem_type=problem) == SequenceScores(("a",), problem)


@pytest.mark.parametrize("problem", ["ranking", "Regression", 3, ["regression"], {"regression": 1}])
def test_unknown_problems(tmp_path, problem):
    message = _refused(tmp_path, SEQUENCES, problem_type=problem)
    assert message.startswith(f"problem_type = {problem!r}; the known ones are single_label_classification, multi_label_class")


def test_the_problem_of_tags_does_not_matter(tmp_path):
    assert _read(tmp_path, TOKENS, problem_type="single_label_classification") == TokenScores(("LABEL_0", "LABEL_1"))


# Decoders of whole sentences.


def _read_decoder(directory: Path, decoder: Any) -> TaskHead | None:
    return _read(directory, TOKENS, id2label=dict(enumerate(TAGS)), token_decoder=decoder)


def _refused_decoder(directory: Path, decoder: Any) -> str:
    return _refused(directory, TOKENS, id2label=dict(enumerate(TAGS)), token_decoder=decoder)


def test_a_decoder_is_read(tmp_path):
    assert _read_decoder(tmp_path, CRF) == TokenScores(TAGS, "crf", MOVES)


@pytest.mark.parametrize(
    "decoder",
    [
        None,
        "crf",
        [CRF],
        {},
        {"kind": "crf"},
        {"moves": list(MOVES)},
        {**CRF, "kind": "linear"},
        {**CRF, "kind": "os.system"},
        {**CRF, "kind": ["crf"]},
        {**CRF, "kind": None},
        {**CRF, "more": 1},
    ],
)
def test_decoders_of_another_form(tmp_path, decoder):
    assert _refused_decoder(tmp_path, decoder) == "token_decoder is not what bertsmith writes there"


@pytest.mark.parametrize(
    "moves",
    [
        [],
        None,
        "11111",
        {"0": "111"},
        list(MOVES[:-1]),
        [*MOVES, "111"],
        ["11", *MOVES[1:]],
        ["1111", *MOVES[1:]],
        ["11x", *MOVES[1:]],
        [[1, 1, 0], *MOVES[1:]],
        [110, *MOVES[1:]],
        [None, *MOVES[1:]],
    ],
)
def test_moves_of_another_form(tmp_path, moves):
    message = _refused_decoder(tmp_path, {**CRF, "moves": moves})
    assert message == "token_decoder.moves is not a table of 0 and 1 for 3 labels"


def test_moves_must_fit_the_labels(tmp_path):
    message = _refused(tmp_path, TOKENS, id2label={"0": "O", "1": "X"}, token_decoder=CRF)
    assert message == "token_decoder.moves is not a table of 0 and 1 for 2 labels"


# Architectures.


@pytest.mark.parametrize("architectures", [["BertLMHeadModel"], ["os.system"], "BertModel", [3], [["BertModel"]], {"a": 1}, 3])
def test_unknown_architectures(tmp_path, architectures):
    message = _refused(tmp_path, "", architectures=architectures)
    assert message.startswith(f"architectures = {architectures!r}; bertsmith reads BertModel, ")
    assert message.endswith("BertForQuestionAnswering, BertForMultipleChoice")


def test_heads_without_labels_do_not_look_at_them(tmp_path):
    for architecture, head in (("BertForQuestionAnswering", SpanScores()), ("BertForMultipleChoice", ChoiceScores())):
        assert _read(tmp_path, architecture, id2label={"7": "x"}, problem_type="none") == head


def test_an_unknown_pooling_of_sequences(tmp_path):
    assert _refused(tmp_path, "BertModel", sequence_pooling="last").startswith("sequence_pooling = 'last'; the known ones are")

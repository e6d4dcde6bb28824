"""``task.json``: what a model directory was fine-tuned for comes back, and what does not fit is refused."""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from bertsmith.artifacts.directory import TASK, load_model, save_model
from bertsmith.errors import ArtifactError, DamagedError, MismatchError
from bertsmith.files import MANIFEST
from bertsmith.model.bert import PRETRAINING, Heads
from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.model.heads.sequence import ChoiceScores, SequenceScores
from bertsmith.model.heads.span import SpanScores
from bertsmith.model.heads.token import TokenScores
from bertsmith.tasks.files.texts import Columns
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import TASKS, load_task_model, task_values
from bertsmith.tasks.task import Task

TAGS = ("O", "B-PER", "I-PER")
# With other settings than the usual ones, and no longer than the tiny model's 32 positions.
EXAMPLES: list[Task] = [
    Classify(
        labels=("no", "是"), weights=(0.5, 2.0), label_smoothing=0.1, max_length=30, columns=Columns(text="t", skip_labels=())
    ),
    Multilabel(labels=("a", "b", "c"), thresholds=(0.5, 0.25, 0.75), separator=";", max_length=16, metric="macro_f1"),
    Regress(max_length=8, stride=3),
    Tag(labels=TAGS, scheme="iob2", units="characters", max_length=32),
    Tag(labels=TAGS, scheme="iob2", units="words", decoder="crf", max_length=32),
    Tag(labels=("NOUN", "VERB"), scheme="plain", units="words", decoder="bilstm-crf", max_length=32),
    Answer(scorer="chinese", has_no_answers=True, threshold=-1.5, max_answer=7, max_question=9, max_length=32, stride=5),
    Answer(scorer="squad", has_no_answers=False, max_length=32),
    Choose(label_smoothing=0.2, max_length=32),
    Rank(loss_kind="listwise", negatives=3, highest_relevance=2.0, max_length=32),
    Embed(pooling="max", normalised=True, loss_kind="cosent", top_score=5.0, mine=2, max_length=16, metric="pearson"),
    Classify(labels=("a", "b"), pooling="mean", max_length=32),
    Regress(pooling="attention", max_length=32),
]
each_task = pytest.mark.parametrize("task", EXAMPLES, ids=lambda task: f"{task.kind}-{getattr(task, 'decoder', '')}")


@pytest.fixture
def save(tmp_path, random_model, tiny_tokenizer):
    """Save a random model with a head, and a task beside it, where there is one."""

    def directory(task: Task | None, head: Any = None, name: str = "model") -> Path:
        model = random_model(Heads(task=head) if task is None else Heads(task=task.head()))
        save_model(model, tiny_tokenizer, tmp_path / name, task=None if task is None else task_values(task))
        return tmp_path / name

    return directory


def _rewrite(path: Path, file: str, change: Any) -> None:
    """Change a JSON file of a directory as someone with an editor does, who has no manifest to keep up."""
    (path / MANIFEST).unlink(missing_ok=True)
    values = json.loads((path / file).read_text(encoding="utf-8"))
    (path / file).write_text(json.dumps(change(values)), encoding="utf-8")


def _settings(**changes: Any) -> Any:
    return lambda values: {**values, "settings": {**values["settings"], **changes}}


# Round trips.


@each_task
def test_a_task_comes_back_with_its_model(save, random_model, random_batch, task):
    path = save(task)
    found, model = load_task_model(path)
    assert type(found) is type(task)
    assert found == task
    assert model.heads == Heads(task=task.head())
    assert not model.training
    batch = random_batch([5, 2, 7], 31, 0)
    assert torch.equal(model(batch).task_logits, random_model(Heads(task=task.head()))(batch).task_logits)


@each_task
def test_a_task_is_the_same_in_json(task):
    values = json.loads(json.dumps(task_values(task)))
    assert values.keys() == {"task", "format", "settings"}
    assert (values["task"], values["format"]) == (task.kind, 1)
    assert type(task).from_values(values["settings"], "test") == task


def test_every_task_is_tried_here_and_goes_by_its_name():
    assert {type(task) for task in EXAMPLES} == set(TASKS.values())
    assert all(kind.kind == name for name, kind in TASKS.items())


@each_task
def test_the_kind_may_be_asked_for(save, task):
    path = save(task)
    assert load_task_model(path, type(task))[0] == task
    other = Regress if isinstance(task, Choose) else Choose
    with pytest.raises(ArtifactError, match=f"is a model of the task '{task.kind}'; one of '{other.kind}' is needed here"):
        load_task_model(path, other)


def test_settings_that_are_not_given_are_the_usual_ones(save):
    path = save(Classify(labels=("a", "b"), max_length=16))
    _rewrite(path, TASK, lambda values: {**values, "settings": {"labels": ["a", "b"]}})
    assert load_task_model(path)[0].label_smoothing == 0.0


# Directories without task.json.


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (SequenceScores(("a", "b")), Classify(labels=("a", "b"), pooling="cls")),
        (SequenceScores(("a", "b"), "multi_label_classification"), Multilabel(labels=("a", "b"), pooling="cls")),
        (SequenceScores(("LABEL_0",), "regression"), Regress(pooling="cls")),
        (TokenScores(TAGS), Tag(labels=TAGS, scheme="iob2", units="words")),
        (TokenScores(("O", "I-A", "I-B")), Tag(labels=("O", "I-A", "I-B"), scheme="iob2", units="words")),
        (TokenScores(("O", "S-A", "B-A", "E-A")), Tag(labels=("O", "S-A", "B-A", "E-A"), scheme="bioes", units="words")),
        (TokenScores(("NOUN", "VERB")), Tag(labels=("NOUN", "VERB"), scheme="plain", units="words")),
        (TokenScores(("X", *TAGS, "[CLS]")), Tag(labels=("X", *TAGS, "[CLS]"), scheme="iob2", units="words")),
        (EXAMPLES[4].head(), Tag(labels=TAGS, scheme="iob2", units="words", decoder="crf")),
        (SpanScores(), Answer(scorer="squad", has_no_answers=True)),
        (ChoiceScores(), Choose()),
    ],
    ids=["classes", "labels", "number", "iob2", "iob1", "bioes", "plain", "others", "crf", "spans", "choices"],
)
def test_a_directory_without_task_has_that_of_its_head(save, head, expected):
    path = save(None, head)
    task, model = load_task_model(path)
    assert task == expected.model_copy(update={"max_length": 32})
    assert model.heads.task == head
    assert load_task_model(path, type(expected))[0] == task
    with pytest.raises(ArtifactError, match="is needed here"):
        load_task_model(path, Choose if expected.kind != "choose" else Tag)


def test_one_score_is_a_ranker_s_where_that_is_asked_for(save):
    for name, labels, problem in [("a", ("LABEL_0",), "regression"), ("b", ("x",), "single_label_classification")]:
        path = save(None, SequenceScores(labels, problem), name)
        assert load_task_model(path, Rank)[0] == Rank(max_length=32)
    with pytest.raises(ArtifactError, match="is a model of the task 'classify'; one of 'rank' is needed here"):
        load_task_model(save(None, SequenceScores(("a", "b")), "c"), Rank)
    with pytest.raises(ArtifactError, match="is a model of the task 'regress'; one of 'rank' is needed here"):
        load_task_model(save(Regress(max_length=16), name="d"), Rank)


def test_texts_are_never_longer_than_the_model_has_positions(save):
    assert load_task_model(save(Classify(labels=("a", "b"), max_length=512), name="long"))[0].max_length == 32
    assert load_task_model(save(Classify(labels=("a", "b"), max_length=20), name="short"))[0].max_length == 20


def test_a_model_of_several_numbers_a_text(tmp_path, random_model, tiny_tokenizer):
    save_model(random_model(Heads(task=SequenceScores(("x", "y", "z"), "regression"))), tiny_tokenizer, tmp_path / "model")
    task, model = load_task_model(tmp_path / "model")
    assert task == Regress(labels=("x", "y", "z"), pooling="cls", max_length=task.max_length)
    assert model.heads.task.labels == ("x", "y", "z")


@pytest.mark.parametrize("heads", [PRETRAINING, Heads(), Heads(pooler=True)])
def test_a_model_without_the_head_of_a_task(tmp_path, random_model, tiny_tokenizer, heads):
    save_model(random_model(heads), tiny_tokenizer, tmp_path / "model")
    with pytest.raises(ArtifactError, match="without the head of a known task; fine-tune it first: bertsmith finetune"):
        load_task_model(tmp_path / "model")


# What does not fit.


@pytest.mark.parametrize("name", ["translate", "Classify", "", None, 3, ["tag"], {"tag": 1}])
def test_an_unknown_task(save, name):
    path = save(EXAMPLES[0])
    _rewrite(path, TASK, lambda values: {**values, "task": name})
    with pytest.raises(ArtifactError) as refusal:
        load_task_model(path)
    assert str(refusal.value) == (
        f"{path} is a model of the task {name!r}, not one of classify, multilabel, regress, tag, answer, choose, rank, embed"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda values: {**values, "more": 1},
        lambda values: {**values, "format": 2},
        lambda values: {**values, "format": "1"},
        lambda values: {**values, "settings": []},
        lambda values: {**values, "settings": None},
        lambda values: {name: value for name, value in values.items() if name != "format"},
        lambda values: values["settings"],
        lambda values: {},  # noqa: ARG005
    ],
)
def test_a_file_of_another_form(save, change):
    path = save(EXAMPLES[0])
    _rewrite(path, TASK, change)
    with pytest.raises(DamagedError, match=r"task\.json is not what bertsmith writes there"):
        load_task_model(path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"classify"', "null", '{"task": "classify",}', "[" * 100_000])
def test_a_file_that_is_no_json_object(save, text):
    path = save(EXAMPLES[0])
    (path / MANIFEST).unlink()
    (path / TASK).write_text(text)
    with pytest.raises(DamagedError, match=r"task\.json "):
        load_task_model(path)


def test_a_file_that_is_no_text(save):
    path = save(EXAMPLES[0])
    (path / MANIFEST).unlink()
    (path / TASK).write_bytes(b'{"task": "\xff\xfe"}')
    with pytest.raises(DamagedError, match=r"task\.json is not valid JSON"):
        load_task_model(path)


def test_a_file_that_was_altered_since_it_was_written(save):
    path = save(EXAMPLES[0])
    (path / TASK).write_text((path / TASK).read_text().replace("0.5", "0.6"))
    with pytest.raises(DamagedError, match=r"task\.json"):
        load_task_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_smothing": 0.1}, "label_smothing: unknown key; did you mean 'label_smoothing'?"),
        ({"max_length": "128"}, "max_length = '128': "),
        ({"max_length": 0}, "max_length = 0: "),
        ({"stride": 0}, "stride = 0: "),
        ({"labels": "ab"}, "labels = 'ab': "),
        ({"labels": [1, 2]}, "labels.0 = 1: "),
        ({"label_smoothing": 1.5}, "label_smoothing = 1.5: "),
        ({"columns": {"texts": "t"}}, "columns.texts: unknown key; did you mean 'text'?"),
    ],
)
def test_settings_that_are_none(save, change, message):
    path = save(EXAMPLES[0])
    _rewrite(path, TASK, _settings(**change))
    with pytest.raises(DamagedError) as refusal:
        load_task_model(path)
    assert str(refusal.value).startswith(f"{path / TASK}:\n  {message}")


@pytest.mark.parametrize("labels", [["no", "是", "more"], ["no"], [], ["是", "no"], ["no", "yes"]])
def test_labels_that_the_model_does_not_have(save, labels):
    path = save(EXAMPLES[0])
    _rewrite(path, TASK, _settings(labels=labels))
    with pytest.raises(MismatchError, match=r"task\.json means other labels or another head than config\.json"):
        load_task_model(path)


def test_labels_that_do_not_fit_the_weights(save):
    path = save(EXAMPLES[0])
    labels = ["no", "是", "more"]
    _rewrite(path, TASK, _settings(labels=labels))
    _rewrite(path, "config.json", lambda values: {**values, "id2label": {str(n): label for n, label in enumerate(labels)}})
    shapes = r"classifier\.(weight|bias) has shape \(2(, 24)?,?\) where config\.json means \(3(, 24)?,?\)"
    with pytest.raises(MismatchError, match=shapes):
        load_task_model(path)


def test_a_scheme_that_allows_other_moves_than_the_weights_were_trained_for(save):
    path = save(EXAMPLES[4])
    _rewrite(path, TASK, _settings(scheme="plain"))
    with pytest.raises(MismatchError, match=r"task\.json means other labels or another head"):
        load_task_model(path)


def test_the_file_of_another_model(save):
    path, other = save(EXAMPLES[0]), save(EXAMPLES[6], name="other")
    (path / MANIFEST).unlink()
    shutil.copy(other / TASK, path / TASK)
    with pytest.raises(MismatchError, match=r"task\.json means other labels or another head"):
        load_task_model(path)


def test_weights_without_the_head_are_not_made_up(save, random_model, tiny_tokenizer, tmp_path):
    path = save(EXAMPLES[0])
    save_model(random_model(PRETRAINING), tiny_tokenizer, tmp_path / "pretrained")
    (path / MANIFEST).unlink()
    shutil.copy(tmp_path / "pretrained" / "model.safetensors", path / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"lacks classifier\.weight, classifier\.bias"):
        load_task_model(path)


def test_a_directory_that_is_none(tmp_path):
    with pytest.raises(ArtifactError, match="is not a directory; a model directory is needed here"):
        load_task_model(tmp_path / "absent")


# Tasks of one's own.


class Stern(Classify):
    """Takes the place of a task of the same name."""

    strictness: int = 1


class Length(Regress):
    """A task of another name with a head of its own."""

    kind: ClassVar[str] = "length"

    def head(self):
        return FirstToken()


class FirstToken:
    """A head that bertsmith does not have."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FirstToken)

    def __hash__(self) -> int:
        return 0

    def build(self, config):
        return _FirstTokenHead(config.width)


class _FirstTokenHead(ScoringHead):
    reads = "first tokens"
    scores = "sequences"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scorer = nn.Linear(width, 1)

    def forward(self, hidden, batch):
        return self.scorer(hidden[batch.cu_seqlens[:-1].long()])


def test_a_subclass_of_a_task_keeps_its_settings(save):
    path = save(Stern(labels=("a", "b"), strictness=3, max_length=16))
    assert load_task_model(path, Stern)[0] == Stern(labels=("a", "b"), strictness=3, max_length=16)
    with pytest.raises(DamagedError, match="strictness: unknown key"):
        load_task_model(path)


def test_a_task_of_ones_own_with_a_head_of_ones_own(save, random_batch, random_model):
    path = save(Length(max_length=16))
    task, model = load_task_model(path, Length)
    assert task == Length(max_length=16)
    batch = random_batch([5, 2, 7], 31, 0)
    expected = random_model(Heads(task=FirstToken()))(batch).task_logits
    assert expected.shape == (3, 1)
    assert torch.equal(model(batch).task_logits, expected)


def test_a_task_of_ones_own_must_be_given(save):
    path = save(Length(max_length=16))
    for kind in (None, Classify):
        with pytest.raises(ArtifactError, match="is a model of the task 'length', not one of classify, "):
            load_task_model(path, kind)
    assert load_model(path).heads == Heads()

"""Fine-tuned models: what transformers saves opens here and answers alike, and what is saved here opens there."""

import logging
import random

import numpy as np
import pytest
import torch
import transformers
from transformers.pipelines import SUPPORTED_TASKS

import bertsmith
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.errors import ArtifactError
from bertsmith.model.bert import PRETRAINING, Bert, Heads
from bertsmith.model.heads.sequence import ChoiceScores, SequenceScores
from bertsmith.model.heads.span import SpanScores
from bertsmith.model.heads.token import TokenScores
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import task_values

LENGTHS = [7, 2, 12, 3, 3, 20]  # three questions of two choices each, for multiple choice
TOLERANCE = {"rtol": 0, "atol": 1e-5}
TAGS = ("O", "B-PER", "I-PER")
CLASSES = ("no", "perhaps", "yes")
TEXTS = ["ab", "x y z", "the quick brown fox", "Jumps over a lazy DOG", "q"]
# Their class, its settings, our task, and the head that it stands for.
CASES = {
    "classify": ("BertForSequenceClassification", {"problem_type": "single_label_classification"}, Classify(labels=CLASSES)),
    "multilabel": ("BertForSequenceClassification", {"problem_type": "multi_label_classification"}, Multilabel(labels=CLASSES)),
    "regress": ("BertForSequenceClassification", {"problem_type": "regression"}, Regress()),
    "tag": ("BertForTokenClassification", {}, Tag(labels=TAGS, scheme="iob2", units="words")),
    "answer": ("BertForQuestionAnswering", {}, Answer(scorer="squad", has_no_answers=True)),
    "choose": ("BertForMultipleChoice", {}, Choose()),
    "rank": ("BertForSequenceClassification", {"problem_type": "regression"}, Rank()),
}
each_case = pytest.mark.parametrize(("architecture", "settings", "task"), CASES.values(), ids=CASES.keys())
each_task = pytest.mark.parametrize("task", [task for *_, task in CASES.values()], ids=CASES.keys())


def _labels_of(task) -> tuple[str, ...]:
    return getattr(task.head(), "labels", ())


@pytest.fixture
def their_model(tiny_config):
    """Make a random model of one of transformers' classes; labels go into its configuration."""

    def make(architecture: str, labels: tuple[str, ...] = (), **settings: object) -> transformers.PreTrainedModel:
        if labels:
            settings["id2label"] = dict(enumerate(labels))
            settings["label2id"] = {label: number for number, label in enumerate(labels)}
        config = transformers.BertConfig(
            vocab_size=tiny_config.vocabulary_size,
            hidden_size=tiny_config.width,
            num_hidden_layers=tiny_config.n_layers,
            num_attention_heads=tiny_config.n_heads,
            intermediate_size=tiny_config.feed_forward_width,
            max_position_embeddings=tiny_config.max_positions,
            **settings,
        )
        model = getattr(transformers, architecture)(config)
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter) * (0.2 if parameter.dim() > 1 else 0.1)
        return model.eval()

    return make


@pytest.fixture
def their_logits(padded):
    """What a model of transformers says of a packed batch, in rows as our models say it."""

    @torch.no_grad()
    def logits(model: transformers.PreTrainedModel, batch) -> torch.Tensor:
        view = padded(batch)
        if type(model).__name__ == "BertForMultipleChoice":
            choices = {name: values.view(-1, 2, values.shape[-1]) for name, values in view.inputs.items()}
            return model(**choices).logits.view(-1, 1)
        found = model(**view.inputs)
        if type(model).__name__ == "BertForQuestionAnswering":
            return view.rows(torch.stack([found.start_logits, found.end_logits], -1))
        return view.rows(found.logits) if found.logits.dim() == 3 else found.logits

    return logits


@pytest.fixture
def assert_same_logits(random_batch, tiny_config, their_logits):
    """A function that compares what the two models say of an uneven batch."""

    def check(ours: Bert, theirs: transformers.PreTrainedModel) -> None:
        batch = random_batch(LENGTHS, tiny_config.vocabulary_size, 0)
        with torch.no_grad():
            found = ours(batch).task_logits
        assert found.std() > 0.01
        torch.testing.assert_close(found, their_logits(theirs.eval(), batch), **TOLERANCE)

    return check


def _open_there(architecture: str, path) -> transformers.PreTrainedModel:
    model, info = getattr(transformers, architecture).from_pretrained(path, output_loading_info=True)
    assert not any(info.values()), info
    return model


# Both ways.


@each_case
def test_theirs_opens_here(tmp_path, their_model, assert_same_logits, caplog, architecture, settings, task):
    labels = ("LABEL_0",) if isinstance(task, Regress) else _labels_of(task)
    theirs = their_model(architecture, labels, **settings)
    theirs.save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO, "bertsmith"):
        ours = bertsmith.load(tmp_path)
    assert not [record for record in caplog.records if record.name == "bertsmith"]
    expected = SequenceScores(("LABEL_0",), "regression") if isinstance(task, Regress) else task.head()
    assert ours.heads == Heads(task=expected)
    assert_same_logits(ours, theirs)


@each_case
def test_ours_opens_there(tmp_path, random_model, tiny_tokenizer, assert_same_logits, architecture, settings, task):
    ours = random_model(Heads(task=task.head()))
    save_model(ours, tiny_tokenizer, tmp_path / "model", task=task_values(task))
    theirs = _open_there(architecture, tmp_path / "model")
    assert_same_logits(ours, theirs)
    assert theirs.config.problem_type == settings.get("problem_type")
    assert theirs.config.architectures == [architecture]
    if labels := _labels_of(task):
        assert theirs.config.id2label == dict(enumerate(labels))
        assert theirs.config.label2id == {label: number for number, label in enumerate(labels)}


@each_task
def test_ours_opens_here(tmp_path, random_model, random_batch, tiny_tokenizer, task):
    ours = random_model(Heads(task=task.head()))
    save_model(ours, tiny_tokenizer, tmp_path / "model", task=task_values(task))
    again = load_model(tmp_path / "model")
    assert again.heads == ours.heads
    batch = random_batch(LENGTHS, 31, 0)
    assert torch.equal(again(batch).task_logits, ours(batch).task_logits)


def test_their_usual_labels_open_here(tmp_path, their_model, assert_same_logits):
    for architecture, head in (
        ("BertForSequenceClassification", SequenceScores(("LABEL_0", "LABEL_1"))),
        ("BertForTokenClassification", TokenScores(("LABEL_0", "LABEL_1"))),
    ):
        theirs = their_model(architecture)
        theirs.save_pretrained(tmp_path / architecture)
        ours = load_model(tmp_path / architecture)
        assert ours.heads.task == head
        assert_same_logits(ours, theirs)


def test_one_label_without_a_problem_is_a_number(tmp_path, their_model, assert_same_logits):
    theirs = their_model("BertForSequenceClassification", num_labels=1)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert ours.heads.task == SequenceScores(("LABEL_0",), "regression")
    assert_same_logits(ours, theirs)


# Heads that transformers does not have.


def _tag(decoder: str) -> Tag:
    return Tag(labels=TAGS, scheme="iob2", units="words", decoder=decoder)


def test_a_crf_opens_there_as_its_emissions(tmp_path, random_model, tiny_tokenizer, assert_same_logits):
    task = _tag("crf")
    ours = random_model(Heads(task=task.head()))
    save_model(ours, tiny_tokenizer, tmp_path / "model", task=task_values(task))
    theirs, info = transformers.BertForTokenClassification.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not info["missing_keys"]
    assert set(info["unexpected_keys"]) == {f"task_head.crf.{name}" for name in ("transitions", "starts", "ends")}
    assert theirs.config.id2label == dict(enumerate(TAGS))
    assert_same_logits(ours, theirs)


def test_a_bilstm_crf_opens_there_as_its_encoder(tmp_path, random_model, random_batch, padded, tiny_tokenizer):
    task = _tag("bilstm-crf")
    ours, batch = random_model(Heads(task=task.head())), random_batch(LENGTHS, 31, 0)
    save_model(ours, tiny_tokenizer, tmp_path / "model", task=task_values(task))
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "model", add_pooling_layer=False)
    assert type(theirs) is transformers.BertModel
    view = padded(batch)
    with torch.no_grad():
        torch.testing.assert_close(ours(batch).hidden, view.rows(theirs.eval()(**view.inputs).last_hidden_state), **TOLERANCE)


@pytest.mark.parametrize("decoder", ["crf", "bilstm-crf"])
def test_decoders_of_sentences_open_here(tmp_path, random_model, random_batch, tiny_tokenizer, decoder):
    task = _tag(decoder)
    ours, batch = random_model(Heads(task=task.head())), random_batch(LENGTHS, 31, 0)
    save_model(ours, tiny_tokenizer, tmp_path / "model", task=task_values(task))
    again = load_model(tmp_path / "model")
    assert again.heads == ours.heads
    assert torch.equal(again(batch).task_logits, ours(batch).task_logits)
    for name, value in ours.task.crf.state_dict().items():
        assert torch.equal(again.task.crf.state_dict()[name], value), name
    assert torch.equal(again.task.crf.allowed_moves, ours.task.crf.allowed_moves)


# Pipelines.


@pytest.fixture
def saved_there(tmp_path, their_model, tiny_tokenizer):
    """A directory as transformers leaves it, tokenizer and all."""

    def save(architecture: str, labels: tuple[str, ...] = (), **settings: object):
        tiny_tokenizer.save(tmp_path / "tokenizer", max_length=32)
        transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer").save_pretrained(tmp_path / "model")
        their_model(architecture, labels, **settings).save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return save


def _theirs(task: str, path, **settings: object):
    return transformers.pipeline(task, model=str(path), device="cpu", **settings)


def _probabilities(pipe, texts) -> list[dict[str, float]]:
    return [{one["label"]: one["score"] for one in found} for found in pipe(texts, top_k=None)]


def _assert_close(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found == pytest.approx(expected, abs=1e-5)


def test_classes_as_their_pipeline_says(saved_there):
    path = saved_there("BertForSequenceClassification", CLASSES)
    theirs = _theirs("text-classification", path)
    for found, expected in zip(bertsmith.pipeline(path)(TEXTS), _probabilities(theirs, TEXTS), strict=True):
        _assert_close(found.probabilities, expected)
        assert found.label == max(expected, key=expected.get)
        assert found.probability == pytest.approx(max(expected.values()), abs=1e-5)
    pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
    expected_of_pairs = _probabilities(theirs, [{"text": text, "text_pair": pair} for text, pair in pairs])
    for found, expected in zip(bertsmith.pipeline(path)(pairs), expected_of_pairs, strict=True):
        _assert_close(found.probabilities, expected)


def test_labels_as_their_pipeline_says(saved_there):
    path = saved_there("BertForSequenceClassification", CLASSES, problem_type="multi_label_classification")
    expected_of_texts = _probabilities(_theirs("text-classification", path), TEXTS)
    for found, expected in zip(bertsmith.pipeline(path)(TEXTS), expected_of_texts, strict=True):
        _assert_close(found.probabilities, expected)
        assert found.labels == tuple(label for label in CLASSES if expected[label] >= 0.5)


def test_numbers_as_their_pipeline_says(saved_there):
    path = saved_there("BertForSequenceClassification", num_labels=1, problem_type="regression")
    expected_of_texts = _theirs("text-classification", path)(TEXTS)
    for found, expected in zip(bertsmith.pipeline(path)(TEXTS), expected_of_texts, strict=True):
        assert found.score == pytest.approx(expected["score"], abs=1e-5)


def test_entities_as_their_pipeline_says(saved_there):
    path = saved_there("BertForTokenClassification", (*TAGS, "B-LOC", "I-LOC"))
    draw = random.Random(0)
    # Words of one token, as the vocabulary has no others, and marks that it does not have.
    texts = [" ".join(draw.choices("abcdefghijklmnopqrstuvwxyzQRS.,", k=12)) for _ in range(10)]
    theirs = _theirs("token-classification", path, aggregation_strategy="first")
    n_entities = 0
    for text, found, expected in zip(texts, bertsmith.pipeline(path)(texts), theirs(texts), strict=True):
        spans = [(one["entity_group"], one["start"], one["end"]) for one in expected]
        assert [(entity.type, entity.start, entity.end) for entity in found.entities] == spans
        assert [entity.text for entity in found.entities] == [text[start:end] for _, start, end in spans]
        scores = [entity.probability for entity in found.entities]
        np.testing.assert_allclose(scores, [one["score"] for one in expected], rtol=0, atol=1e-5)
        n_entities += len(spans)
    assert n_entities > 10


@pytest.mark.skipif("question-answering" not in SUPPORTED_TASKS, reason="this transformers has no such pipeline")
def test_answers_as_their_pipeline_says(saved_there):
    path = saved_there("BertForQuestionAnswering")
    questions = [("a b", "c d e f g h"), ("x", "a lot of letters")]
    theirs = _theirs("question-answering", path, handle_impossible_answer=True, max_answer_len=30)
    for (question, context), found in zip(questions, bertsmith.pipeline(path)(questions), strict=True):
        expected = theirs(question=question, context=context)
        assert (found.text, found.start, found.end) == (expected["answer"], expected["start"], expected["end"])


def test_the_best_span_is_that_of_their_model(saved_there, tiny_tokenizer, their_logits):
    path = saved_there("BertForQuestionAnswering")
    theirs = transformers.BertForQuestionAnswering.from_pretrained(path).eval()
    question, context = "a b", "c d e f g h i j k"
    (found,) = bertsmith.pipeline(path)([(question, context)])
    starts, ends = their_logits(theirs, tiny_tokenizer.pack([(question, context)])).double().unbind(-1)
    places = range(4, 13)  # the context's tokens, a letter each
    scores = {(first, last): float(starts[first] + ends[last]) for first in places for last in places if first <= last}
    first, last = max(scores, key=scores.get)
    assert (found.spans[0].start, found.spans[0].end) == (2 * (first - 4), 2 * (last - 4) + 1)
    assert found.no_answer == pytest.approx(float(starts[0] + ends[0]) - scores[first, last], abs=1e-4)
    assert (found.text == "") == (found.no_answer > 0)


def test_choices_as_their_model_says(saved_there, tiny_tokenizer, their_logits):
    path = saved_there("BertForMultipleChoice")
    theirs = transformers.BertForMultipleChoice.from_pretrained(path).eval()
    (found,) = bertsmith.pipeline(path)([("a b c", ["d", "e f"])])
    logits = their_logits(theirs, tiny_tokenizer.pack([("a b c", "d"), ("a b c", "e f")]))
    assert found.probabilities == pytest.approx(logits[:, 0].softmax(0).tolist(), abs=1e-5)
    assert found.number == int(logits.argmax())


# Where fine-tuning starts.


def _logged(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "bertsmith"]


def test_fine_tuning_takes_their_pooler_and_begins_a_classifier(tmp_path, their_model, caplog):
    theirs = their_model("BertModel")
    theirs.save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO, "bertsmith"):
        ours = load_model(tmp_path, Heads(task=SequenceScores(CLASSES)), seed=1)
    assert torch.equal(ours.task.pooler.dense.weight, theirs.pooler.dense.weight)
    assert torch.equal(ours.encoder.embeddings.token.weight, theirs.embeddings.word_embeddings.weight)
    weight = ours.task.classifier.weight
    assert 0 < weight.abs().max() <= 2 * ours.config.initializer_range
    assert not ours.task.classifier.bias.any()
    assert not torch.equal(weight, load_model(tmp_path, Heads(task=SequenceScores(CLASSES)), seed=2).task.classifier.weight)
    assert torch.equal(weight, load_model(tmp_path, Heads(task=SequenceScores(CLASSES)), seed=1).task.classifier.weight)
    assert [message.endswith("has no weights for task: they start at random") for message in _logged(caplog)] == [True]


def test_fine_tuning_takes_the_pooler_of_pre_training(tmp_path, random_model, tiny_tokenizer, caplog):
    pretrained = random_model(PRETRAINING)
    save_model(pretrained, tiny_tokenizer, tmp_path / "model")
    with caplog.at_level(logging.WARNING, "bertsmith"):
        ours = load_model(tmp_path / "model", Heads(task=ChoiceScores()))
    assert torch.equal(ours.task.pooler.dense.weight, pretrained.next_sentence.pooler.dense.weight)
    assert not _logged(caplog)


@pytest.mark.parametrize(
    "other",
    [
        SequenceScores(("no", "yes", "perhaps")),
        SequenceScores(("no", "yes")),
        SequenceScores(CLASSES, "multi_label_classification"),
        TokenScores(CLASSES),
        SpanScores(),
    ],
    ids=["order", "number", "problem", "tokens", "spans"],
)
def test_the_head_of_another_task_begins_anew(tmp_path, their_model, other):
    theirs = their_model("BertForSequenceClassification", CLASSES)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path, Heads(task=other))
    head = ours.task.spans if isinstance(other, SpanScores) else ours.task.classifier
    assert 0 < head.weight.abs().max() <= 2 * ours.config.initializer_range
    assert torch.equal(ours.encoder.embeddings.token.weight, theirs.bert.embeddings.word_embeddings.weight)
    if isinstance(other, SequenceScores):
        assert torch.equal(ours.task.pooler.dense.weight, theirs.bert.pooler.dense.weight)
    with pytest.raises(ArtifactError, match="lacks"):
        load_model(tmp_path, Heads(task=other), may_be_new=False)


@each_task
def test_the_head_of_the_same_task_is_kept(tmp_path, random_model, tiny_tokenizer, caplog, task):
    trained = random_model(Heads(task=task.head()))
    save_model(trained, tiny_tokenizer, tmp_path / "model", task=task_values(task))
    with caplog.at_level(logging.INFO, "bertsmith"):
        for may_be_new in (True, False):
            ours = load_model(tmp_path / "model", Heads(task=task.head()), may_be_new=may_be_new)
            for name, value in trained.task.state_dict().items():
                assert torch.equal(ours.task.state_dict()[name], value), name
    assert not _logged(caplog)


def test_a_crf_begins_on_the_classifier_of_no_other_head(tmp_path, random_model, tiny_tokenizer):
    trained = random_model(Heads(task=TokenScores(TAGS)))
    save_model(trained, tiny_tokenizer, tmp_path / "model", task=task_values(_tag("linear")))
    ours = load_model(tmp_path / "model", Heads(task=_tag("crf").head()))
    assert not torch.equal(ours.task.classifier.weight, trained.task.classifier.weight)
    assert ours.task.crf.transitions.any()


def test_a_head_that_may_not_be_new_must_be_there(tmp_path, their_model):
    their_model("BertModel").save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match=r"model\.safetensors lacks classifier\.weight, classifier\.bias"):
        load_model(tmp_path, Heads(task=SequenceScores(CLASSES)), may_be_new=False)

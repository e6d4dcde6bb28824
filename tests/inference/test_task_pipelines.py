"""Pipelines of fine-tuned models: anything iterable in, typed predictions out in order, with offsets that fit the text.

Two kinds of models: random ones, and ones that look tokens up, whose every answer is known beforehand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pytest
import torch

import bertsmith
from bertsmith.artifacts.directory import save_model
from bertsmith.engine.engine import Engine
from bertsmith.errors import ArtifactError, InputError
from bertsmith.inference.pipelines import TaskPipeline
from bertsmith.model.bert import Bert, Heads, initialise, uninitialised
from bertsmith.model.model_config import ModelConfig
from bertsmith.tasks import predictor
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classified, Classify
from bertsmith.tasks.kinds.multilabel import Labelled, Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Estimated, Regress
from bertsmith.tasks.kinds.tag import Entity, Tag
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CPU = torch.device("cpu")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-FUN", "I-FUN")
# Words that begin with these are tagged so; all others are O.
BEGINNINGS = {"p": "B-PER", "q": "I-PER", "北": "B-LOC", "京": "I-LOC", "😀": "B-FUN"}
TEXTS = ["a", "b c d", "", "the quick brown fox", "x " * 100, "jumps over the lazy dog", "é ü 北京 😀", "q" * 30, "z y"]
RANDOM_TASKS: dict[str, tuple[Task, Sequence[Any]]] = {
    "classify": (Classify(labels=("no", "yes"), max_length=16, stride=8), [*TEXTS, *zip(TEXTS, TEXTS[::-1], strict=True)]),
    "multilabel": (Multilabel(labels=("a", "b", "c"), max_length=16, stride=8), TEXTS),
    "regress": (Regress(max_length=16, stride=8), TEXTS),
    "tag": (Tag(labels=TAGS, scheme="iob2", max_length=16, stride=8), TEXTS),
    "crf": (Tag(labels=TAGS, scheme="iob2", decoder="crf", max_length=16, stride=8), TEXTS),
    "bilstm-crf": (Tag(labels=TAGS, scheme="iob2", decoder="bilstm-crf", max_length=16, stride=8), TEXTS),
    "answer": (
        Answer(scorer="squad", has_no_answers=True, max_length=24, stride=8, max_question=8),
        list(zip(TEXTS[::-1], TEXTS, strict=True)),
    ),
    "choose": (Choose(max_length=16), [(text, TEXTS[: 2 + number % 3]) for number, text in enumerate(TEXTS)]),
    "rank": (Rank(max_length=16), [(text, TEXTS[: 1 + number % 3]) for number, text in enumerate(TEXTS)]),
}
each_random = pytest.mark.parametrize("pipe", RANDOM_TASKS, indirect=True)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return Tokenizer.build([*special, *LETTERS, *(f"##{letter}" for letter in LETTERS), "北", "京", "😀", ","], lowercase=True)


@pytest.fixture(scope="module")
def config(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size, width=64, n_layers=1, n_heads=2, feed_forward_width=32, max_positions=48
    )


@pytest.fixture(scope="module")
def random_pipe(config: ModelConfig, tokenizer: Tokenizer) -> Callable[[Task], TaskPipeline]:
    return lambda task: TaskPipeline(task, tokenizer, Engine(_random_model(config, task), CPU, "float32"))


@torch.no_grad()
def _random_model(config: ModelConfig, task: Task) -> Bert:
    model = uninitialised(config, Heads(task=task.head()))
    initialise(model, 0)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    return model.eval()


@pytest.fixture
def pipe(request: pytest.FixtureRequest, random_pipe: Callable[[Task], TaskPipeline]) -> tuple[TaskPipeline, Sequence[Any]]:
    """A pipeline of a random model, and inputs for it."""
    task, inputs = RANDOM_TASKS[request.param]
    return random_pipe(task), inputs


@pytest.fixture(scope="module")
def lookup(config: ModelConfig, tokenizer: Tokenizer) -> Callable[[Task, Mapping[str, Sequence[float]]], TaskPipeline]:
    """Make a pipeline whose model scores each token by a table, whatever stands around it; other tokens get about 0."""

    @torch.no_grad()
    def make(task: Task, scores: Mapping[str, Sequence[float]]) -> TaskPipeline:
        model = uninitialised(config, Heads(task=task.head()))
        initialise(model, 0)
        # Nothing is added to the embeddings, of which every token has a dimension of its own.
        for weight in (model.encoder.embeddings.position.weight, model.encoder.embeddings.segment.weight):
            weight.zero_()
        for layer in model.encoder.layers:
            layer.attention.output.weight.zero_()
            layer.feed_forward_out.weight.zero_()
        embeddings = model.encoder.embeddings.token.weight
        embeddings.copy_(torch.eye(*embeddings.shape))
        classifier = model.task.spans if isinstance(task, Answer) else model.task.classifier
        classifier.weight.zero_()
        for token, row in scores.items():
            classifier.weight[:, tokenizer.id(token)] = torch.tensor(row)
        return TaskPipeline(task, tokenizer, Engine(model, CPU, "float32"))

    return make


@pytest.fixture(scope="module")
def tagger(lookup: Callable[..., TaskPipeline]) -> Callable[..., TaskPipeline]:
    """Make a pipeline that tags words by their beginning."""

    def make(**settings: Any) -> TaskPipeline:
        table = {token: [float(tag == label) for label in TAGS] for token, tag in BEGINNINGS.items()}
        others = {token: [1.0, *[0.0] * (len(TAGS) - 1)] for token in [*LETTERS, "[UNK]", ","] if token not in table}
        usual = {"labels": TAGS, "scheme": "iob2", "units": "words", "max_length": 24, "stride": 9}
        return lookup(Tag(**{**usual, **settings}), table | others)

    return make


@pytest.fixture(scope="module")
def answerer(lookup: Callable[..., TaskPipeline]) -> Callable[..., TaskPipeline]:
    """Make a pipeline whose answers begin with x and end with y."""

    def make(**settings: Any) -> TaskPipeline:
        usual = {"scorer": "squad", "has_no_answers": True, "max_length": 24, "stride": 9, "max_question": 8}
        return lookup(Answer(**{**usual, **settings}), {"x": (1.0, 0.0), "y": (0.0, 1.0), "[CLS]": (0.5, 0.5)})

    return make


def _assert_alike(found: Any, expected: Any) -> None:
    """Compare predictions whose floating-point numbers may differ in the last digits."""
    assert type(found) is type(expected)
    if isinstance(found, float | dict):
        assert found == pytest.approx(expected, abs=1e-4)
    elif isinstance(found, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            _assert_alike(one, other)
    elif hasattr(found, "__slots__"):
        for name in found.__slots__:
            _assert_alike(getattr(found, name), getattr(expected, name))
    else:
        assert found == expected


# What goes in.


@each_random
def test_alone_and_together_is_the_same(pipe):
    predict, inputs = pipe
    together = predict(inputs)
    assert len(together) == len(inputs)
    for value, expected in zip(inputs, together, strict=True):
        _assert_alike(predict([value])[0], expected)


@each_random
def test_lists_generators_and_streams_are_the_same(pipe):
    predict, inputs = pipe
    expected = predict(inputs)
    assert predict(value for value in inputs) == expected
    assert predict(tuple(inputs)) == expected
    assert list(predict.stream(iter(inputs))) == expected


@each_random
def test_nothing_in_nothing_out(pipe):
    predict, _ = pipe
    assert predict([]) == []
    assert list(predict.stream(iter(()))) == []


@each_random
def test_the_look_ahead_changes_nothing(pipe, monkeypatch):
    predict, inputs = pipe
    inputs = [*inputs, *reversed(inputs)]
    expected = predict(inputs)
    for look_ahead in (1, 4):
        monkeypatch.setattr(Task, "look_ahead", look_ahead)
        for one, other in zip(predict(inputs), expected, strict=True):
            _assert_alike(one, other)


@each_random
def test_predictions_differ(pipe):
    predict, inputs = pipe
    assert len({repr(prediction) for prediction in predict(inputs)}) > len(inputs) // 2


def test_order_is_kept_over_very_different_lengths(tagger, monkeypatch):
    monkeypatch.setattr(Task, "look_ahead", 4)
    monkeypatch.setattr(predictor, "TOKEN_BUDGET", 40)
    texts = [" ".join("ap"[(number + word) % 2] for word in range(number * 37 % 101)) for number in range(23)]
    for text, found in zip(texts, tagger()(texts), strict=True):
        assert found.words == tuple(text.split())
        assert found.tags == tuple({"a": "O", "p": "B-PER"}[word] for word in text.split())


def test_a_stream_has_no_end(tagger, monkeypatch):
    monkeypatch.setattr(Task, "look_ahead", 4)
    asked = 0

    def endless() -> Iterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield "a b"

    assert len(list(islice(tagger().stream(endless()), 6))) == 6
    assert asked == 12  # a window ahead of the one that is asked for


@each_random
def test_a_single_text_is_refused_with_the_remedy(pipe):
    predict, _ = pipe
    for call in (predict, lambda text: list(predict.stream(text))):
        with pytest.raises(InputError) as refusal:
            call("the cat")
        assert str(refusal.value) == "inputs: a list or a generator is needed, not one text: write ['the cat']"


@each_random
@pytest.mark.parametrize("value", [3, None, b"text", ["a", 3], ("a", "b", "c", 4), {"text": "a"}])
def test_what_is_no_input_is_refused(pipe, value):
    predict, inputs = pipe
    with pytest.raises(InputError, match=f"{predict.task.kind} takes .*, not "):
        predict([inputs[0], value])


# What comes out.


def test_predictions_of_texts_are_typed(random_pipe):
    (classified,) = random_pipe(RANDOM_TASKS["classify"][0])(["a b"])
    assert isinstance(classified, Classified)
    assert sum(classified.probabilities.values()) == pytest.approx(1)
    assert classified.probability == classified.probabilities[classified.label] == max(classified.probabilities.values())
    (labelled,) = random_pipe(RANDOM_TASKS["multilabel"][0])(["a b"])
    assert isinstance(labelled, Labelled)
    assert labelled.labels == tuple(label for label, probability in labelled.probabilities.items() if probability >= 0.5)
    (estimated,) = random_pipe(RANDOM_TASKS["regress"][0])(["a b"])
    assert isinstance(estimated, Estimated)


def test_thresholds_decide_on_labels(random_pipe):
    task = RANDOM_TASKS["multilabel"][0]
    every, none = ({"thresholds": (threshold,) * 3} for threshold in (0.0, 1.0))
    assert random_pipe(task.model_copy(update=every))(["a b"])[0].labels == ("a", "b", "c")
    assert random_pipe(task.model_copy(update=none))(["a b"])[0].labels == ()


def test_a_long_text_is_judged_by_the_mean_of_its_windows(random_pipe):
    predict = random_pipe(Regress(max_length=16, stride=14))
    parts = ["a b c d e f g h i j k l m n", "o p q r s t u v w x y z a b", "c d e"]
    whole, *each = predict([" ".join(parts), *parts])
    assert whole.score == pytest.approx(sum(one.score for one in each) / 3, abs=1e-5)


def test_a_pair_is_not_its_texts_in_a_row(random_pipe):
    predict = random_pipe(RANDOM_TASKS["regress"][0])
    pair, turned, row = predict([("a b", "c"), ("c", "a b"), "a b c"])
    assert len({pair.score, turned.score, row.score}) == 3


def test_the_choice_is_one_of_those_given(random_pipe):
    predict = random_pipe(Choose(max_length=16))
    forward, backward = predict([("a", ["b c", "d", "e f g"]), ("a", ["e f g", "d", "b c"])])
    assert forward.choice == backward.choice == ["b c", "d", "e f g"][forward.number]
    assert forward.probabilities == pytest.approx(backward.probabilities[::-1], abs=1e-5)
    assert sum(forward.probabilities) == pytest.approx(1)


# Entities.


def _entities(found: Any) -> list[tuple[str, str, int, int]]:
    return [(entity.type, entity.text, entity.start, entity.end) for entity in found.entities]


@pytest.mark.parametrize("decoder", ["linear", "crf"])
def test_entities_are_the_right_characters(tagger, decoder):
    text = "zz Ṗé  Qué, 😀北京\tñ pá"
    (found,) = tagger(decoder=decoder)([text])
    assert found.words == ("zz", "Ṗé", "Qué", ",", "😀", "北", "京", "ñ", "pá")
    assert found.tags == ("O", "B-PER", "I-PER", "O", "B-FUN", "B-LOC", "I-LOC", "O", "B-PER")
    expected = [("PER", "Ṗé  Qué", 3, 10), ("FUN", "😀", 12, 13), ("LOC", "北京", 13, 15), ("PER", "pá", 18, 20)]
    assert _entities(found) == expected
    assert all(text[entity.start : entity.end] == entity.text for entity in found.entities)
    assert all(0.5 < probability <= 1 for probability in found.probabilities)


def test_a_text_of_characters_is_tagged_character_by_character(tagger):
    (found,) = tagger(units="characters")(["apé 北"])
    assert found.words == ("a", "p", "é", "北")
    assert _entities(found) == [("PER", "p", 1, 2), ("LOC", "北", 4, 5)]


def test_words_that_are_given_stay_as_they_are(tagger):
    words = ["a", "p-q", "Qué", "北", "京", "p q"]
    listed, in_tuple = tagger()([words, tuple(words)])
    assert listed == in_tuple
    assert listed.words == tuple(words)
    assert listed.tags == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-PER")
    # Offsets are those in the words joined by blanks, and Chinese without.
    assert _entities(listed) == [("PER", "p-q Qué", 2, 9), ("LOC", "北京", 10, 12), ("PER", "p q", 13, 16)]


def test_words_without_a_token_still_have_their_tag(tagger):
    (found,) = tagger()([["p", "\u200b", "", " ", "\x00", "q", "p"]])
    assert found.tags == ("B-PER", "O", "O", "O", "O", "I-PER", "B-PER")
    assert [(entity.type, entity.text) for entity in found.entities] == [("PER", "p"), ("PER", "q"), ("PER", "p")]


def test_the_probability_of_an_entity_is_the_mean_of_its_words(tagger):
    (found,) = tagger()(["a p q q a"])
    assert found.entities == (Entity("PER", "p q q", 2, 7, pytest.approx(sum(found.probabilities[1:4]) / 3)),)


def test_tags_that_make_up_no_entities(tagger):
    (found,) = tagger(scheme="plain")(["p q"])
    assert (found.tags, found.entities) == (("B-PER", "I-PER"), ())


def test_a_crf_takes_no_forbidden_move(tagger):
    # Q alone looks like the inside of an entity that nothing begins.
    assert tagger()(["q a q"])[0].tags == ("I-PER", "O", "I-PER")
    tags = tagger(decoder="crf")(["q a q"])[0].tags
    assert all(tag != "I-PER" or before in ("B-PER", "I-PER") for before, tag in zip(("O", *tags[:-1]), tags, strict=True))


@pytest.mark.parametrize("decoder", ["linear", "crf"])
@pytest.mark.parametrize("stride", [1000, 9])
def test_every_word_of_a_long_text_is_tagged(tagger, decoder, stride):
    words = ["abc", "p", "qq", "b", "北", "京", "p" * 9] * 715
    expected = ("O", "B-PER", "I-PER", "O", "B-LOC", "I-LOC", "B-PER") * 715
    (found,) = tagger(decoder=decoder, stride=stride)([" ".join(words)])
    assert len(found.words) == 5005
    assert found.words == tuple(words)
    assert found.tags == expected
    assert len(found.entities) == 3 * 715


def test_a_word_longer_than_a_window_is_tagged_once(tagger):
    long_word = "p" + "a" * 90  # 91 tokens in windows of 24
    (found,) = tagger()([["a", long_word, "b", long_word]])
    assert found.tags == ("O", "B-PER", "O", "B-PER")


# Answers.


def _answer(found: Any) -> tuple[str, int, int]:
    return found.text, found.start, found.end


def test_answers_are_the_right_characters(answerer):
    context = "äb 北京😀 X́é Ÿ, z"
    (found,) = answerer()([("qu é", context)])
    assert context[found.start : found.end] == found.text
    assert _answer(found) == ("X́é Ÿ", context.index("X"), context.index("Ÿ") + 1)
    assert found.spans[0].text == found.text
    assert all(context[span.start : span.end] == span.text for span in found.spans)


def test_answers_in_chinese_and_between_emoji(answerer, lookup):
    task = Answer(scorer="chinese", has_no_answers=False, max_length=24, stride=9)
    predict = lookup(task, {"北": (1.0, 0.0), "京": (0.0, 1.0)})
    assert _answer(predict([("a", "ab😀北京😀")])[0]) == ("北京", 3, 5)
    assert _answer(answerer()([("a", "😀😀xy😀")])[0]) == ("", 0, 0)  # one word, which the vocabulary lacks
    assert _answer(answerer()([("a", "😀😀 x y 😀")])[0]) == ("x y", 3, 6)


def test_a_question_may_be_a_dictionary(answerer):
    pair, named = answerer()([("a", "b x y"), {"question": "a", "context": "b x y", "id": 3}])
    assert pair == named
    assert _answer(pair) == ("x y", 2, 5)


@pytest.mark.parametrize("place", [0, 8, 15, 16, 17, 18, 2500, 4997])
def test_a_long_text_is_searched_to_its_end(answerer, place):
    words = ["abc", "北", "ü", "d"] * 1250
    words[place : place + 3] = ["x", "m", "y"]
    (found,) = answerer()([("a b", " ".join(words))])
    start = len(" ".join([*words[:place], ""]))
    assert _answer(found) == ("x m y", start, start + 5)


def test_the_threshold_decides_whether_there_is_an_answer(answerer):
    sure, unsure = ("a", "b x y"), ("a", "b c d")
    found, none = answerer()([sure, unsure])
    assert _answer(found) == ("x y", 2, 5)
    assert found.no_answer < 0 < none.no_answer
    assert _answer(none) == ("", 0, 0)
    assert none.spans
    assert _answer(answerer(threshold=found.no_answer - 0.1)([sure])[0]) == ("", 0, 0)
    assert answerer(threshold=none.no_answer + 0.1)([unsure])[0].text
    assert answerer(has_no_answers=False)([unsure])[0].text


def test_the_longest_answer_has_max_answer_tokens(answerer):
    question = ("a", "x b c y")
    assert answerer(max_answer=4)([question])[0].text == "x b c y"
    assert answerer(max_answer=3)([question])[0].text != "x b c y"


# Texts of nothing.


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u200b\x00", "\ufffd"])
def test_texts_of_nothing(random_pipe, tagger, answerer, text):
    for name in ("classify", "multilabel", "regress"):
        predict = random_pipe(RANDOM_TASKS[name][0])
        alone, beside, pair = predict([text, "a b", (text, text)])
        _assert_alike(alone, predict([""])[0])
        _assert_alike(beside, predict(["a b"])[0])
        assert type(pair) is type(alone)
    for decoder in ("linear", "crf"):
        nothing, something = tagger(decoder=decoder)([text, "p"])
        assert nothing.entities == ()
        assert set(nothing.tags) <= {"O"}
        assert len(nothing.words) == len(nothing.tags) == len(nothing.probabilities) <= 2
        assert something.tags == ("B-PER",)
    for has_no_answers in (True, False):
        nothing, something, without = answerer(has_no_answers=has_no_answers)([("a", text), ("a", "x y"), (text, "x y")])
        assert (_answer(nothing), nothing.spans) == (("", 0, 0), ())
        assert _answer(something) == _answer(without) == ("x y", 0, 3)
    (chosen,) = random_pipe(Choose(max_length=16))([(text, [text, text])])
    assert chosen.probabilities == pytest.approx((0.5, 0.5))


def test_no_words_at_all(tagger):
    empty, words = tagger()([[], ["p"]])
    assert (empty.words, empty.tags, empty.entities) == ((), (), ())
    assert words.tags == ("B-PER",)
    assert tagger()([[], ""]) == [empty, empty]


# From a directory.


@pytest.mark.parametrize("name", RANDOM_TASKS)
def test_a_directory_predicts_as_its_model(tmp_path, config, tokenizer, random_pipe, name):
    task, inputs = RANDOM_TASKS[name]
    save_model(_random_model(config, task), tokenizer, tmp_path / "model", task=task_values(task))
    found = bertsmith.pipeline(tmp_path / "model")
    assert isinstance(found, TaskPipeline)
    assert found(inputs) == random_pipe(task)(inputs)


def test_a_directory_in_half_precision_predicts_nearly_the_same(tmp_path, config, tokenizer):
    task, inputs = RANDOM_TASKS["regress"]
    save_model(_random_model(config, task), tokenizer, tmp_path / "model", task=task_values(task))
    exact, half = (
        [one.score for one in bertsmith.pipeline(str(tmp_path / "model"), precision=precision)(inputs)]
        for precision in ("float32", "bf16")
    )
    assert half != exact
    assert half == pytest.approx(exact, abs=0.1)


def test_texts_beyond_the_positions_of_the_model_are_read_in_windows(tmp_path, config, tokenizer):
    # As a directory of transformers comes: nothing says how long its texts are.
    for task, value in ((Classify(labels=("no", "yes")), "a " * 300), (Answer(), ("a", "b " * 600))):
        path = tmp_path / task.kind
        save_model(_random_model(config, task), tokenizer, path)
        (found,) = bertsmith.pipeline(path)([value])
        assert 0 <= found.probability <= 1


class Loud(Classify):
    """Answers in capitals."""

    def decode(self, *arguments: Any) -> list[Any]:
        return [str(found).upper() for found in super().decode(*arguments)]


def test_a_task_of_ones_own(tmp_path, config, tokenizer):
    task = Loud(labels=("no", "yes"), max_length=16)
    save_model(_random_model(config, task), tokenizer, tmp_path / "model", task=task_values(task))
    usual, loud = (bertsmith.pipeline(tmp_path / "model", task=kind)(TEXTS) for kind in (None, Loud))
    assert loud == [found.label.upper() for found in usual]
    with pytest.raises(ArtifactError, match="is a model of the task 'classify'; one of 'tag' is needed here"):
        bertsmith.pipeline(tmp_path / "model", task=Tag)

"""A label a word: label sets, the words of raw text, losses, and tags decided on whole sentences however many windows."""

import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bertsmith.errors import ConfigError, DivergedError, InputError, UsageError
from bertsmith.model.model_config import ModelConfig
from bertsmith.tasks.kinds.tag import Entity, Tag, TagExample, Tagged
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.task import SampleBatch
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import PackedBatch


def tagged(*sentences: str) -> list[TagExample]:
    """Return examples from sentences like "Ann/B-PER goes/O"."""
    found = []
    for number, sentence in enumerate(sentences):
        words, tags = zip(*(pair.rsplit("/", 1) for pair in sentence.split()), strict=True)
        example = Tag().example(list(words))
        found.append(dataclasses.replace(example, tags=tags, source=f"a.txt:{number + 1}"))
    return found


def built_head(task: Tag, config: ModelConfig) -> Any:
    """Return the head of the task with every value random."""
    head = task.head().build(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(generator=generator)
    return head.eval()


# What is read.


def test_raw_text_is_split_into_words_and_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Peter  met Smith.\n\n\u3000在London\r\n"
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    for source, name in ((path, str(path)), ("-", "standard input")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        first, second = Tag().read(source, labelled=False, format="text")
        assert first == dataclasses.replace(Tag().example("Peter  met Smith."), source=f"{name}:1")
        assert first.words == ("Peter", "met", "Smith", ".")
        assert first.offsets == ((0, 5), (7, 10), (11, 16), (16, 17))
        assert (second.words, second.text, second.source) == (("在", "London"), "\u3000在London", f"{name}:3")
    (characters, _) = Tag(units="characters").read(path, labelled=False, format="text")
    assert characters.words == tuple("PetermetSmith.")


def test_a_text_file_holds_columns_unless_it_is_said_to_be_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Ann B-PER\ngoes O\n", encoding="utf-8")
    (example,) = Tag().read(path, labelled=True)
    assert (example.words, example.tags, example.source) == (("Ann", "goes"), ("B-PER", "O"), f"{path}:1")
    path.write_text("Ann goes.\nHe went away.\n", encoding="utf-8")
    assert [example.words for example in Tag(labels=("O", "B-PER")).read(path, labelled=False)] == [
        ("Ann", "goes", "."),
        ("He", "went", "away", "."),
    ]
    path.write_text("Ann NNP\ngoes away now\n\nBob NNP\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.txt:2: .*say --format text if this is text without tags"):
        list(Tag().read(path, labelled=False))


@pytest.mark.parametrize(("word", "what"), [("New York", "has a blank"), ("a\nb", "has a blank"), ("", "is empty")])
def test_words_that_cannot_stand_in_columns(word: str, what: str) -> None:
    example = Tag().example(["is", word])
    with pytest.raises(
        InputError, match=f"the word {word!r} {what}, and no column holds it; leave --submission out".replace("\\", ".")
    ):
        Tag().submission().line(example, answered(example, "B-LOC", "O"))


def test_odd_white_space_is_a_word_in_columns_too() -> None:
    example = Tag().example(["is", "\u3000"])
    assert Tag().submission().line(example, answered(example, "O", "O")) == "is O\n\u3000 O\n\n"


def test_standard_input_holds_text_unless_it_has_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(**settings: Any) -> list[tuple[str, ...]]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Ann goes\nBob went\n")))
        return [example.words for example in Tag().read("-", **settings)]

    assert read(labelled=False) == [("Ann", "goes"), ("Bob", "went")]
    assert read(labelled=False, format="columns") == read(labelled=True) == [("Ann", "Bob")]


def test_text_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(" \n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"a\.txt: plain text has no tags; give a file of columns, CoNLL-U or JSON lines"):
        list(Tag().read(path, labelled=True, format="text"))
    with pytest.raises(InputError, match=r"a\.txt holds no text"):
        list(Tag().read(path, labelled=False, format="text"))


def test_what_pipelines_take() -> None:
    assert Tag().example(["a", "b."]) == TagExample(("a", "b."), None, "a b.", ((0, 1), (2, 4)), "")
    assert Tag(units="characters").example("ab c").words == ("a", "b", "c")
    assert Tag().example("").words == ()
    for wrong in (3, ["a", 1], None):
        with pytest.raises(InputError, match="tag takes texts and lists of words, not"):
            Tag().example(wrong)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["北", "京", "，", "人"], "北京，人"),
        (["去", "New", "York", "了", "。", "2008", "年"], "去 New York 了。 2008 年"),
        (["《", "人", "民", "》", ",", "a", "(", "b", ")"], "《人民》 , a ( b )"),
        (["约", "·", "史"], "约·史"),
    ],
)
def test_words_are_laid_out_as_text(words: list[str], text: str) -> None:
    example = Tag().example(words)
    assert example.text == text
    assert [example.text[start:end] for start, end in example.offsets] == words


# Labels.


@pytest.mark.parametrize(
    ("sentences", "scheme", "labels"),
    [
        (["Ann/I-PER Lee/I-PER met/O", "Ann/I-PER Bob/B-PER"], "iob2", ("O", "B-PER", "I-PER")),
        (["Ann/B-PER met/O", "Rome/B-LOC"], "iob2", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")),
        (["Ann/S-PER met/O", "a/B-LOC b/E-LOC"], "bioes", ("O", *(f"{p}-{t}" for t in ("LOC", "PER") for p in "BEIS"))),
        (["Ann/U-PER met/O", "a/B-PER b/L-PER"], "bioes", ("O", "B-PER", "I-PER", "L-PER", "U-PER")),
        (["a/B b/I c/B"], "iob2", ("O", "B", "I")),
        (["Ann/NNP met/VBD ,/,"], "plain", (",", "NNP", "VBD")),
    ],
)
def test_scheme_and_labels(sentences: Sequence[str], scheme: str, labels: tuple[str, ...]) -> None:
    task = Tag().fitted(tagged(*sentences))
    assert (task.scheme, task.labels) == (scheme, labels)


@pytest.mark.parametrize("sentence", ["dog/N in/S oh/I run/V", "北/B 京/M 市/E 人/S", "a/B-X b/o", "Ann/B-PER Lee/I-PER in/O"])
def test_plain_tags_are_scored_by_word_whatever_they_look_like(sentence: str) -> None:
    gold = tagged(sentence)
    task = Tag(scheme="plain").fitted(gold)
    assert task.main_metric == "accuracy"
    assert task.score(gold, [answered(gold[0], *task.tags_of(gold[0]))]) == {"accuracy": 1.0}
    assert task.review(gold, [answered(gold[0], *task.tags_of(gold[0]))]).mistakes == []


@pytest.mark.parametrize(
    ("sentence", "scheme", "said"),
    [
        ("北/B-LOC 京/E-LOC 人/O", "bioes", None),
        ("北/B-LOC 京/M-LOC 市/E-LOC", "bioes", None),
        (
            "北/B 京/E 人/S",
            "bioes",
            "read as BIOES: 'B' is the letter B of a chunk without a type; if they mark no chunks, say",
        ),
        ("Ann/PER-B Lee/PER-I in/O", "iob2", "read as IOB2: 'PER-B' is the letter B of a 'PER'; if they mark no chunks, say"),
        ("Ann/b_per Lee/i_per in/o", "iob2", "read as IOB2: 'b_per' is the letter B of a 'per'"),
        ("Ann/B-PER Lee/I-PER ##e/Z", "plain", "tags such as 'B-PER' are taken as they are, for 'Z' is no tag of chunks"),
        (
            "Ann/PER Lee/PER in/O",
            "plain",
            "tags such as 'PER' mark no entities; if a run of equal tags is one entity, say --scheme io",
        ),
    ],
)
def test_what_tags_are_taken_for_is_said(
    caplog: pytest.LogCaptureFixture, sentence: str, scheme: str, said: str | None
) -> None:
    gold = tagged(sentence)
    with caplog.at_level("INFO", "bertsmith"):
        task = Tag().fitted(gold)
    assert task.scheme == scheme
    assert (said in caplog.text) if said else not caplog.records
    assert task.tags_of(gold[0]) == list(gold[0].tags or ())
    assert task.score(gold, [answered(gold[0], *task.tags_of(gold[0]))])[task.main_metric] == 1.0


def test_types_alone_are_entities_where_that_is_asked_for() -> None:
    gold = tagged("Ann/PER Lee/PER in/O Rome/LOC")
    task = Tag.from_values(Tag(scheme="io").fitted(gold).model_dump(mode="json", exclude_none=True), "task.json")
    assert (task.main_metric, task.labels) == ("f1", ("O", "LOC", "PER"))
    assert task.score(gold, [answered(gold[0], "PER", "O", "O", "LOC")])["f1"] == 0.5
    with pytest.raises(UsageError, match="--scheme io is not that of the training file, whose tags are iob2"):
        Tag(scheme="io").fitted(tagged("Ann/B-PER in/O"))


def test_iob1_is_written_as_iob2(caplog: pytest.LogCaptureFixture) -> None:
    examples = tagged("Ann/I-PER Lee/I-PER Bob/B-PER in/O Rome/I-LOC")
    task = Tag().fitted(examples)
    assert task.tags_of(examples[0]) == ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]
    assert not caplog.records


def test_illegal_tags_are_written_anew_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    examples = tagged("Ann/B-PER met/O", "Bob/O Lee/I-PER in/O Rome/I-LOC", "a/B-PER b/I-LOC")
    task = Tag().fitted(examples)
    assert caplog.messages == ["2 sentence(s) break the rules of iob2, first a.txt:2; read as conlleval reads"]
    assert task.tags_of(examples[1]) == ["O", "B-PER", "O", "B-LOC"]


@pytest.mark.parametrize(("last", "only"), ["ES", "LU"])
def test_illegal_bioes_is_written_anew(caplog: pytest.LogCaptureFixture, last: str, only: str) -> None:
    examples = tagged(f"Ann/{only}-PER met/O", f"a/O Bob/I-PER Lee/{last}-PER in/O Rome/B-LOC")
    task = Tag(decoder="crf").fitted(examples)
    assert caplog.messages == ["1 sentence(s) break the rules of bioes, first a.txt:2; read as conlleval reads"]
    assert task.tags_of(examples[1]) == ["O", "B-PER", f"{last}-PER", "O", f"{only}-LOC"]
    assert task.labels == ("O", *(f"{prefix}-{type_}" for type_ in ("LOC", "PER") for prefix in sorted(f"BI{last}{only}")))


def test_a_tag_of_no_scheme_is_named_with_its_sentence() -> None:
    examples = tagged("Ann/B-PER met/O", "Bob/O", "Lee/PER a/ABC")
    with pytest.raises(InputError, match=r"^a\.txt:3: the tag 'PER' stands beside tags of chunks .*say --scheme plain$"):
        Tag().fitted(examples)
    assert Tag(scheme="plain").fitted(examples).labels == ("O", "ABC", "PER", "B-PER")


@pytest.mark.parametrize("tags", ["Ann/B-PER ##e/X", "Ann/PER-B ##e/X in/O", "[CLS]/[CLS] Ann/B-PER [SEP]/[SEP]"])
def test_tags_of_pieces_of_words_are_refused_by_what_they_are(tags: str) -> None:
    with pytest.raises(InputError, match=r"^a\.txt:2: the tag '(X|\[CLS\])' is of no word but of a piece .* as BERT-NER"):
        Tag().fitted(tagged("Bob/B-PER in/O" if "B-" in tags else "Bob/PER-B in/O", tags))
    Tag(scheme="plain").fitted(tagged(tags))


@pytest.mark.parametrize("tags", ["run/X in/ADP", "Ann/X in/O"])
def test_x_is_a_tag_like_others_where_none_is_of_a_chunk(tags: str) -> None:
    assert "X" in Tag().fitted(tagged(tags)).labels


@pytest.mark.parametrize("decoder", ["linear", "crf"])
def test_tags_are_written_with_the_letters_that_were_read(decoder: Any) -> None:
    gold = tagged("北/B-LOC 京/M-LOC 市/M-LOC 人/O", "李/B-PER")
    task = Tag(decoder=decoder).fitted(gold)
    assert task.labels == ("O", "B-LOC", "M-LOC", "B-PER", "M-PER")
    assert [task.tags_of(example) for example in gold] == [list(example.tags or ()) for example in gold]
    assert task.score(gold, [answered(one, *task.tags_of(one)) for one in gold])["f1"] == 1.0


def test_a_scheme_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="--scheme bioes is not that of the training file, whose tags are iob2"):
        Tag(scheme="bioes").fitted(tagged("Ann/B-PER met/O"))
    with pytest.raises(UsageError, match="--scheme iob2 is not that of the training file, whose tags are plain"):
        Tag(scheme="iob2").fitted(tagged("Ann/NNP met/VBD"))
    task = Tag(scheme="iob2").fitted(tagged("Ann/B-PER Lee/E-PER met/O Bob/S-PER"))
    assert task.labels == ("O", "B-PER", "I-PER")
    assert task.tags_of(tagged("Ann/B-PER Lee/E-PER Bob/S-PER")[0]) == ["B-PER", "I-PER", "B-PER"]


def test_tags_that_training_lacks_are_named_with_their_line() -> None:
    task = Tag().fitted(tagged("Ann/B-PER met/O"))
    task.check(tagged("Bob/B-PER Lee/I-PER"))
    with pytest.raises(InputError, match=r"^a\.txt:2: the label 'B-LOC' is not among those .*: 'O', 'B-PER', 'I-PER'$"):
        task.check(tagged("Ann/O", "Rome/I-LOC"))


def test_one_tag_is_nothing_to_learn() -> None:
    with pytest.raises(InputError, match="all words of the training examples have the tag 'O'; two are needed"):
        Tag().fitted(tagged("a/O b/O"))


def test_units_are_those_of_the_training_file() -> None:
    assert Tag().fitted(tagged("北/B-LOC 京/I-LOC 人/O")).units == "characters"
    assert Tag().fitted(tagged("Ann/B-PER met/O")).units == "words"
    assert Tag(units="words").fitted(tagged("北/B-LOC 京/I-LOC 人/O")).units == "words"


def test_what_else_follows_from_the_task() -> None:
    assert (Tag().usual_head_rate, Tag(decoder="crf").usual_head_rate) == (None, 1e-3)
    assert Tag(scheme="plain").main_metric == "accuracy"
    assert Tag(scheme="iob2").main_metric == "f1"
    assert Tag(scheme="iob2", metric="recall").main_metric == "recall"


# Samples and losses.

SENTENCES = ("Ann/B-PER Lee/I-PER met/O Bob/B-PER", "he/O", "in/O Rome/B-LOC now/O")


def test_words_are_read_by_their_first_token(letter_tokenizer: Tokenizer) -> None:
    examples = tagged(*SENTENCES)
    task = Tag(max_length=8, stride=3).fitted(examples)
    for example, samples in zip(examples, task.samples(examples, letter_tokenizer, labelled=True), strict=True):
        firsts = [letter_tokenizer.tokens[sample.windows[0].token_ids[row]] for sample in samples for row in sample.target.rows]
        assert firsts == [word[0].lower() for word in example.words]
        labels = [task.labels[label] for sample in samples for label in sample.target.labels]
        assert labels == task.tags_of(example)
        assert sum(task.n_targets(sample) for sample in samples) == len(example.words)
    assert len(task.samples(examples, letter_tokenizer, labelled=False)[0]) > 1


def collated(task: Tag, examples: Sequence[TagExample], tokenizer: Tokenizer, order: Sequence[int]) -> SampleBatch:
    samples = [sample for (sample,) in task.samples(examples, tokenizer, labelled=True)]
    return SampleBatch.collate([samples[place] for place in order])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_linear_loss(letter_tokenizer: Tokenizer, tiny_config: ModelConfig, smoothing: float) -> None:
    examples = tagged(*SENTENCES)
    task = Tag(label_smoothing=smoothing).fitted(examples)
    scores_VC = torch.randn(letter_tokenizer.vocabulary_size, len(task.labels))
    expected = 0.0
    for example in examples:
        for word, tag in zip(example.words, example.tags or (), strict=True):
            row = scores_VC[letter_tokenizer.id(word[0].lower())][None]
            target = torch.tensor([task.labels.index(tag)])
            expected = expected + F.cross_entropy(row, target, label_smoothing=smoothing)
    head = built_head(task, tiny_config)
    for order in ([0, 1, 2], [2, 0, 1]):
        batch = collated(task, examples, letter_tokenizer, order)
        logits_TC = scores_VC[batch.inputs.token_ids]
        torch.testing.assert_close(task.loss(logits_TC, batch, head), expected)
        found = task.log_probabilities(logits_TC, batch)
        torch.testing.assert_close(found.exp().sum(1), torch.ones(8))


def test_loss_does_not_see_other_tokens(letter_tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    examples = tagged(*SENTENCES)
    task = Tag().fitted(examples)
    batch = collated(task, examples, letter_tokenizer, [0, 1, 2])
    logits_TC = torch.randn(batch.inputs.n_tokens, len(task.labels), requires_grad=True)
    task.loss(logits_TC, batch, built_head(task, tiny_config)).backward()
    assert logits_TC.grad is not None
    tokens = [letter_tokenizer.tokens[token_id] for token_id in batch.inputs.token_ids]
    assert (logits_TC.grad.abs().sum(1) > 0).tolist() == [token[0] not in "#[" for token in tokens]


def test_crf_loss(letter_tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    examples = tagged(*SENTENCES)
    task = Tag(decoder="crf").fitted(examples)
    head = built_head(task, tiny_config)
    scores_VC = torch.randn(letter_tokenizer.vocabulary_size, len(task.labels))
    expected = torch.zeros(1)
    for example in examples:
        emissions_MC = scores_VC[[letter_tokenizer.id(word[0].lower()) for word in example.words]]
        labels_M = torch.tensor([task.labels.index(tag) for tag in example.tags or ()])
        expected = expected + head.crf.negative_log_likelihood(emissions_MC, labels_M, [len(labels_M)])
    for order in ([0, 1, 2], [1, 2, 0]):
        batch = collated(task, examples, letter_tokenizer, order)
        torch.testing.assert_close(task.loss(scores_VC[batch.inputs.token_ids], batch, head), expected[0])


@pytest.mark.parametrize("sentence", ["a/B-X b/I-X c/I-X d/I-X e/I-X f/I-X g/I-X", "a/B-X b/I-X c/I-X d/I-X e/I-X f/I-X g/E-X"])
def test_a_crf_learns_no_label_that_it_forbids_from_any_window(
    letter_tokenizer: Tokenizer, tiny_config: ModelConfig, sentence: str
) -> None:
    examples = tagged(sentence)
    task = Tag(decoder="crf", max_length=8, stride=2).fitted(examples)
    (samples,) = task.samples(examples, letter_tokenizer, labelled=True)
    assert [len(sample.target.rows) for sample in samples] == [4, 3]
    assert [(sample.target.begins, sample.target.ends) for sample in samples] == [(True, False), (False, True)]
    batch = SampleBatch.collate(samples)
    logits_TC = torch.zeros(batch.inputs.n_tokens, len(task.labels))
    assert task.loss(logits_TC, batch, built_head(task, tiny_config)) < 1000


def test_label_smoothing_is_refused_with_a_crf() -> None:
    message = "--label-smoothing is for --decoder linear; leave one out"
    for decoder in ("crf", "bilstm-crf"):
        with pytest.raises(ConfigError, match=message):
            Tag(decoder=decoder, label_smoothing=0.1)
        with pytest.raises(ConfigError, match=f"flags:\n.*{message}"):
            Tag.from_values({"decoder": decoder, "label_smoothing": 0.1}, "flags")
    assert Tag.from_values({"decoder": "crf"}, "flags").model_copy(update={"labels": ("O", "B", "I")}).decoder == "crf"


# Predictions.


def predictor(task: Tag, tokenizer: Tokenizer, head: nn.Module) -> Predictor:
    """Return one whose logits are a function of the token."""
    scores_VC = torch.randn(tokenizer.vocabulary_size, len(task.labels), generator=torch.Generator().manual_seed(1))

    def forward(batch: PackedBatch) -> torch.Tensor:
        return scores_VC[batch.token_ids]

    return Predictor(task, tokenizer, forward, head)


@pytest.mark.parametrize("decoder", ["linear", "crf"])
def test_windows_do_not_matter_where_context_does_not(
    letter_tokenizer: Tokenizer, tiny_config: ModelConfig, decoder: str
) -> None:
    draw = np.random.default_rng(0)
    words = [["".join(draw.choice(list("abcdef"), draw.integers(1, 6))) for _ in range(n_words)] for n_words in (40, 1, 0, 17)]
    task = Tag(decoder=decoder).fitted(tagged("Ann/B-PER Lee/I-PER in/O Rome/B-LOC"))  # type: ignore[arg-type]
    examples = [task.example(one) for one in words]
    head = built_head(task, tiny_config)
    found = []
    for max_length, stride in ((512, 256), (10, 3), (8, 1)):
        windowed = task.model_copy(update={"max_length": max_length, "stride": stride})
        found.append([prediction for _, prediction in predictor(windowed, letter_tokenizer, head).predict(examples)])
    alone = [next(predictor(task, letter_tokenizer, head).predict([example]))[1] for example in examples]
    whole, *others = *found, alone
    assert [list(one.words) for one in whole] == words
    for other in others:
        assert [one.tags for one in other] == [one.tags for one in whole]
        for one, two in zip(whole, other, strict=True):
            assert one.probabilities == pytest.approx(two.probabilities, rel=1e-4)
            assert [entity.text for entity in one.entities] == [entity.text for entity in two.entities]
    if decoder == "crf":
        previous = ("O", *whole[0].tags)
        assert all(before[1:] == tag[1:] != "" for before, tag in zip(previous, whole[0].tags, strict=False) if tag[0] == "I")


def decoded(task: Tag, tokenizer: Tokenizer, config: ModelConfig, example: TagExample, tags: Sequence[str]) -> Tagged:
    """Return what the task makes of logits that say ``tags``."""
    ((sample,),) = task.samples([example], tokenizer, labelled=False)
    logits_SC = np.full((sample.n_tokens, len(task.labels)), -3.0, np.float32)
    for row, tag in zip(sample.target.rows, tags, strict=True):
        logits_SC[row, task.labels.index(tag)] = 3.0
    (found,) = task.decode([example], [[sample]], [[logits_SC]], built_head(task, config))
    assert isinstance(found, Tagged)
    return found


@pytest.fixture
def names() -> Tag:
    return Tag().fitted(tagged("Ann/B-PER Lee/I-PER in/O Rome/B-LOC"))


def test_entities_of_words_and_of_raw_text(names: Tag, letter_tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    tags = ["B-PER", "I-PER", "O", "B-LOC", "O"]
    probability = 1 / (1 + 4 * np.exp(-6))
    for value, text in (("Ann  Lee in Rome.", "Ann  Lee"), (["Ann", "Lee", "in", "Rome", "."], "Ann Lee")):
        example = names.example(value)
        found = decoded(names, letter_tokenizer, tiny_config, example, tags)
        assert list(found.tags) == tags
        person, place = found.entities
        assert person == Entity("PER", text, 0, len(text), pytest.approx(probability, rel=1e-5))
        assert example.text[place.start : place.end] == place.text == "Rome"
        record = names.record(example, found)
        assert (record["text"], record["entities"][1]["text"]) == (example.text, "Rome")
        assert next(iter(names.record(dataclasses.replace(example, source="a.txt:3"), found).items())) == ("source", "a.txt:3")


def test_entities_of_chinese_have_no_blanks(names: Tag, letter_tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    for value in ("北京人", ["北", "京", "人"]):
        found = decoded(names, letter_tokenizer, tiny_config, names.example(value), ["B-LOC", "I-LOC", "O"])
        assert [(entity.text, entity.start, entity.end) for entity in found.entities] == [("北京", 0, 2)]


def test_words_that_tokenise_to_nothing_keep_their_places(
    names: Tag, letter_tokenizer: Tokenizer, tiny_config: ModelConfig
) -> None:
    example = names.example(["a", "\u200e", "b", ""])
    tags = ["B-PER", "O", "B-LOC", "O"]
    assert list(decoded(names, letter_tokenizer, tiny_config, example, tags).tags) == tags
    ((sample,),) = names.samples([example], letter_tokenizer, labelled=False)
    assert sample.windows[0].token_ids[sample.target.rows[[1, 3]]].tolist() == [letter_tokenizer.unk_id] * 2


def test_tags_that_mark_no_chunks_have_no_entities(letter_tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    task = Tag().fitted(tagged("Ann/NNP met/VBD"))
    example = tagged("Ann/NNP met/VBD")[0]
    found = decoded(task, letter_tokenizer, tiny_config, example, ["NNP", "NNP"])
    assert found.entities == ()
    assert task.score([example], [found]) == {"accuracy": 0.5}
    assert task.review([example], [found]).table == []


def test_no_words_at_all(names: Tag, letter_tokenizer: Tokenizer, tiny_config: ModelConfig) -> None:
    found = predictor(names, letter_tokenizer, built_head(names, tiny_config)).predict([names.example(""), names.example([])])
    assert [one for _, one in found] == [Tagged((), (), (), ())] * 2


# Scores.


def answered(example: TagExample, *tags: str, probability: float = 0.5) -> Tagged:
    return Tagged(example.words, tags, (probability,) * len(tags), ())


def test_scores_and_review(names: Tag) -> None:
    gold = tagged("Ann/B-PER Lee/I-PER in/O Rome/B-LOC", "Bob/B-PER met/O Al/B-PER")
    found = [answered(gold[0], "B-PER", "I-PER", "O", "O"), answered(gold[1], "B-PER", "I-PER", "B-LOC")]
    scores = names.score(gold, found)
    assert scores == {
        "f1": pytest.approx(2 * 1 / (3 + 4)),
        "precision": pytest.approx(1 / 3),
        "recall": pytest.approx(1 / 4),
        "accuracy": pytest.approx(4 / 7),
    }
    review = names.review(gold, found)
    assert [(one.text, one.expected, one.predicted, one.badness) for one in review.mistakes] == [
        ("Bob met Al", "met/O, Al/B-PER", "met/I-PER, Al/B-LOC", 2.0),
        ("Ann Lee in Rome", "Rome/B-LOC", "Rome/O", 1.0),
    ]
    assert review.is_right is not None
    assert review.is_right.tolist() == [True, True, True, False, True, False, False]
    assert [row[0] for row in review.table] == ["type", "LOC", "PER"]
    assert review.table[2][1:] == (pytest.approx(1 / 2), pytest.approx(1 / 3), pytest.approx(2 / 5), 3)
    assert review.used == {"LOC": (1, 1), "PER": (3, 2)}


def test_iob1_is_scored_as_iob2(names: Tag) -> None:
    gold = tagged("Ann/I-PER Lee/I-PER in/O Rome/I-LOC")
    assert names.score(gold, [answered(gold[0], "B-PER", "I-PER", "O", "B-LOC")])["f1"] == 1.0


@pytest.mark.parametrize("decoder", ["linear", "crf"])
def test_a_model_that_says_nan_is_refused(letter_tokenizer: Tokenizer, tiny_config: ModelConfig, decoder: str) -> None:
    gold = tagged("Ann/B-PER Lee/I-PER in/O Rome/B-LOC")
    task = Tag(decoder=decoder).fitted(gold)  # type: ignore[arg-type]
    samples = task.samples(gold, letter_tokenizer, labelled=False)
    logits = np.zeros((samples[0][0].n_tokens, len(task.labels)), np.float32)
    logits[samples[0][0].target.rows[1], 2] = np.nan
    found = task.decode(gold, samples, [[logits]], built_head(task, tiny_config))
    with pytest.raises(DivergedError, match="NaN"):
        task.score(gold, found)


def test_submission(names: Tag) -> None:
    form = names.submission()
    examples = tagged("Ann/O met/O", "Bob/O")
    found = [answered(examples[0], "B-PER", "O"), answered(examples[1], "B-PER")]
    lines = "".join(form.line(example, one) for example, one in zip(examples, found, strict=True))
    assert form.before + lines + form.behind == "Ann B-PER\nmet O\n\nBob B-PER\n\n"

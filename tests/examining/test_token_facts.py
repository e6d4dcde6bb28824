from dataclasses import replace

import pytest

from bertsmith.examining.token_facts import histogram_of, token_facts
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.candidates import RankExample
from bertsmith.tasks.files.questions import Question
from bertsmith.tasks.files.tagged import TaggedSentence
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.tag_examples import of_words
from bertsmith.text.tokenizer import Tokenizer

CLASSIFY = Classify(labels=("x", "y"), max_length=10, stride=4)


def text(text: str, pair: str | None = None) -> TextExample:
    return TextExample(text, pair, "x", "", "a:1")


def test_lengths_count_special_tokens(tiny_tokenizer: Tokenizer) -> None:
    contents = [CLASSIFY.content(text("a b c")), CLASSIFY.content(text("a", "b c"))]
    found = token_facts(contents, CLASSIFY, tiny_tokenizer)
    assert found is not None
    assert (found.n_sequences, found.longest, found.n_tokens) == (2, 6, 6)
    assert (found.n_long, found.n_windows, found.n_unknown) == (0, 0, 0)


@pytest.mark.parametrize("pair", [None, "x y", "x y z w v u t"])
@pytest.mark.parametrize("n", [5, 8, 9, 20, 41])
def test_windows_are_those_that_are_trained_on(tiny_tokenizer: Tokenizer, pair: str | None, n: int) -> None:
    example = text(" ".join("a" * n), pair)
    found = token_facts([CLASSIFY.content(example)], CLASSIFY, tiny_tokenizer)
    assert found is not None
    samples = CLASSIFY.samples([example], tiny_tokenizer, labelled=True)[0]
    assert found.n_windows == (len(samples) if found.n_long else 0)
    assert bool(found.n_long) == (len(samples) > 1 or found.longest > 10)


def test_windows_of_questions_and_sentences_too(tiny_tokenizer: Tokenizer) -> None:
    answer, question = Answer(max_length=16, stride=5), Question("", "a b", " ".join("c" * 50), (), "", "")
    tag = Tag(labels=("O", "X"), scheme="plain", max_length=10, stride=4)
    sentence = of_words(TaggedSentence(tuple("a" * 30), ("O",) * 30, ""))
    for task, example in ((answer, question), (tag, sentence)):
        found = token_facts([task.content(example)], task, tiny_tokenizer)
        assert found is not None
        assert found.n_windows == len(task.samples([example], tiny_tokenizer, labelled=True)[0])


def test_candidates_are_cut_not_windowed(tiny_tokenizer: Tokenizer) -> None:
    task = Rank(max_length=10)
    example = RankExample("a b", (" ".join("c" * 30), "d"), (1.0, 0.0), "", ("0", "1"), "")
    found = token_facts([task.content(example)], task, tiny_tokenizer)
    assert found is not None
    assert (found.n_sequences, found.n_long, found.n_windows, found.has_windows) == (2, 1, 0, False)


def test_unknown_tokens_are_counted_and_shown(tiny_tokenizer: Tokenizer) -> None:
    contents = [CLASSIFY.content(text("a 很 b")), CLASSIFY.content(text("很 大"))]
    found = token_facts(contents, CLASSIFY, tiny_tokenizer)
    assert found is not None
    assert (found.n_unknown, found.n_tokens, found.unknown_share) == (3, 5, 0.6)
    assert list(found.unknown) == ["很", "大"]


def test_a_text_that_stands_twice_counts_twice(tiny_tokenizer: Tokenizer) -> None:
    content = CLASSIFY.content(text("很 a"))
    found = token_facts([content, replace(content, right="y")], CLASSIFY, tiny_tokenizer)
    assert found is not None
    assert (found.n_sequences, found.n_unknown, found.n_tokens) == (2, 2, 4)


def test_a_task_that_says_nothing_of_its_texts_has_none(tiny_tokenizer: Tokenizer) -> None:
    assert token_facts([Content()], CLASSIFY, tiny_tokenizer) is None


def test_bins_hold_every_value() -> None:
    whole = histogram_of([3, 4, 5, 500], is_whole=True)
    assert sum(whole.counts) == 4
    assert whole.edges[0] == 3
    spread = histogram_of([0.0, 0.5, 1.0])
    assert (sum(spread.counts), spread.edges[0], spread.edges[-1]) == (3, 0.0, 1.0)
    assert histogram_of([7], is_whole=True).counts[0] == 1
    assert sum(histogram_of([2.5]).counts) == 1

"""Answers from several paragraphs: which are read, and one softmax over all of them, in training and in reading."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bertsmith.errors import UsageError
from bertsmith.tasks.files.paragraphs import nearest
from bertsmith.tasks.files.questions import GoldAnswer as Gold
from bertsmith.tasks.files.questions import Question
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.task import Logits, Sample, SampleBatch
from bertsmith.text.tokenizer import Tokenizer

HEAD = nn.Identity()
ARTICLE = ("ab cd", "kl mn op", "ab ij kl", "qr", "kl ab")


def question(text: str = "kl ab", own: int = 0, answer: str = "", article: tuple[str, ...] = ARTICLE) -> Question:
    context = article[own]
    golds = (Gold(answer, context.index(answer)),) if answer else ()
    return Question("q", text, context, golds, "", "a.json: question q", article)


# Which paragraphs.


def test_the_own_paragraph_and_those_that_share_most_words() -> None:
    assert [nearest(question(), wanted) for wanted in (1, 2, 3, 4)] == [(0,), (0, 4), (0, 2, 4), (0, 1, 2, 4)]
    assert nearest(question(own=3), 2) == (3, 4)
    assert nearest(question(), 5) == nearest(question(), 9) == nearest(question(), "all") == (0, 1, 2, 3, 4)
    assert nearest(question("zz", own=2), 3) == (0, 1, 2)


def test_a_paragraph_that_stands_twice_is_not_read_against_itself() -> None:
    assert nearest(question(article=("kl ab", "kl ab", "mn", "qr")), 2) == (0, 2)


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    paragraphs = [
        {"context": text, "qas": [{"id": f"q{n}", "question": text[:2], "answers": [{"text": text[:2], "answer_start": 0}]}]}
        for n, text in enumerate(ARTICLE)
    ]
    data = [{"paragraphs": paragraphs}, {"paragraphs": [paragraphs[0] | {"qas": []}]}]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": data}), encoding="utf-8")
    return path


def test_questions_of_a_file_share_their_article(squad: Path) -> None:
    alone = list(Answer().read(squad, labelled=True))
    assert [one.candidates for one in alone] == [()] * 5
    several = list(Answer(paragraphs=2).read(squad, labelled=True))
    assert [len(one.candidates) for one in several] == [2] * 5
    assert all(own in one.candidates for own, one in enumerate(several))
    assert all(one.article is several[0].article for one in several)
    every = list(Answer(paragraphs=2, candidates="all").read(squad, labelled=False))
    assert [one.candidates for one in every] == [(0, 1, 2, 3, 4)] * 5
    assert [one.candidates for one in Answer(paragraphs=2, candidates=1).read(squad, labelled=True)] == [
        (place,) for place in range(5)
    ]


def test_json_lines_name_no_articles(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "a", "context": "b", "answers": []}\n', encoding="utf-8")
    message = r"a\.jsonl:1: several paragraphs are to be read, and only SQuAD's JSON says which .*; give --{} 1 to read"
    with pytest.raises(UsageError, match=message.format("candidates")):
        list(Answer(candidates="all").read(path, labelled=False))
    # What was trained on several reads one where there is no other, but is not trained so.
    for task in (Answer(paragraphs=3), Answer(paragraphs=3, candidates=1)):
        (found,) = task.read(path, labelled=False)
        assert (found.context, found.candidates) == ("b", ())
        with pytest.raises(UsageError, match=message.format("paragraphs")):
            task.fitted([found])


# Training.


def _samples(task: Answer, examples: Sequence[Question], tokenizer: Tokenizer) -> list[Sample]:
    return [sample for own in task.samples(examples, tokenizer, labelled=True) for sample in own]


def test_a_sample_is_all_windows_of_its_paragraphs(letter_tokenizer: Tokenizer) -> None:
    task = Answer(paragraphs=3, max_length=16, stride=2)
    (sample,) = _samples(task, [question(answer="cd", article=("abcdefghijkl", "kl ab", "ab", "qr"))], letter_tokenizer)
    assert [target.paragraph for target in sample.target] == [1, 1, 1, 2, 3]
    found = [
        "".join(letter_tokenizer.tokens[token_id] for token_id in window.token_ids[target.first : target.last + 1])
        for window, target in zip(sample.windows, sample.target, strict=True)
    ]
    assert found == ["##c##d", "##c##d", "[CLS]", "[CLS]", "[CLS]"]


def test_the_loss_is_that_of_one_softmax(letter_tokenizer: Tokenizer) -> None:
    task = Answer(paragraphs=3, max_length=16, stride=2)
    examples = [
        question(answer="cd", article=("abcdefghijkl", "kl ab", "ab", "qr")),  # in two windows of three
        question(own=1, answer="mn"),
        question(own=3),  # without an answer
    ]
    samples = _samples(task, examples, letter_tokenizer)
    scores = [torch.randn(sample.n_tokens, 2) for sample in samples]
    expected = 0.0
    for sample, scores_S2 in zip(samples, scores, strict=True):
        right, at = [], 0
        for window, target in zip(sample.windows, sample.target, strict=True):
            right.append((at + target.first, at + target.last, target.first > 0))
            at += len(window.token_ids)
        rows = [row for row in right if row[2]] or right
        for side in (0, 1):
            exponentials = scores_S2[:, side].exp()
            expected -= math.log(sum(exponentials[row[side]] for row in rows) / exponentials.sum()) / 2
    batch = SampleBatch.collate(samples)
    assert float(task.loss(torch.cat(scores), batch, HEAD)) == pytest.approx(expected, rel=1e-5)
    parts = task.log_probabilities(torch.cat(scores), batch).exp().split([sample.n_tokens for sample in samples])
    torch.testing.assert_close(torch.stack([part.sum(0) for part in parts]), torch.ones(3, 2))


# Reading.


def _read(task: Answer, example: Question, tokenizer: Tokenizer, seed: int):
    (samples,) = task.samples([example], tokenizer, labelled=False)
    draw = np.random.default_rng(seed)
    logits: list[Logits] = [draw.normal(size=(sample.n_tokens, 2)).astype(np.float32) for sample in samples]
    (found,) = task.decode([example], [samples], [logits], HEAD)
    return found, samples, logits


@pytest.mark.parametrize(("paragraphs", "has_no_answers"), [(1, False), (1, True), (3, True)])
def test_spans_of_all_paragraphs_are_compared(letter_tokenizer: Tokenizer, paragraphs: int, has_no_answers: bool) -> None:
    task = Answer(paragraphs=paragraphs, has_no_answers=has_no_answers, max_answer=3, threshold=1e6)
    example = task.example(("who?", list(ARTICLE)))
    for seed in range(5):
        found, samples, logits = _read(task, example, letter_tokenizer, seed)
        scored = {}
        for number, (sample, scores_S2) in enumerate(zip(samples, logits, strict=True), 1):
            offsets, row = sample.target[0].offsets, sample.windows[0].first_row
            for first in range(len(offsets)):
                for last in range(first, min(first + 3, len(offsets))):
                    place = number, int(offsets[first, 0]), int(offsets[last, 1])
                    scored[place] = float(scores_S2[row + first, 0]) + float(scores_S2[row + last, 1])
        starts, ends = np.array([scores_S2[0] for scores_S2 in logits], np.float64).T
        null = (starts + ends).min() if paragraphs == 1 else np.log(np.exp(starts).sum()) + np.log(np.exp(ends).sum())
        total = sum(map(math.exp, scored.values())) + (math.exp(null) if has_no_answers else 0)
        best = max(scored, key=scored.__getitem__)
        assert (found.paragraph, found.start, found.end) == best
        assert found.text == ARTICLE[best[0] - 1][best[1] : best[2]]
        assert found.no_answer == pytest.approx(null - scored[best], rel=1e-5)
        for span in found.spans:
            score = scored[span.paragraph, span.start, span.end]
            assert span.probability == pytest.approx(math.exp(score) / total, rel=1e-5)
            assert span.text == ARTICLE[span.paragraph - 1][span.start : span.end]


def test_answers_in_order_without_repeats(letter_tokenizer: Tokenizer) -> None:
    task = Answer(has_no_answers=False)
    found, _, _ = _read(task, task.example(("who?", list(ARTICLE))), letter_tokenizer, 0)
    probabilities = [span.probability for span in found.spans]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len({span.text for span in found.spans}) == len(found.spans) > 5
    characters = [(span.paragraph, place) for span in found.spans for place in range(span.start, span.end)]
    assert len(set(characters)) == len(characters)


def test_records_number_paragraphs_where_there_are_several(letter_tokenizer: Tokenizer) -> None:
    task = Answer(has_no_answers=False)
    several, alone = task.example(("who?", ["qr", "ab"])), task.example(("who?", "ab"))
    record = task.record(several, _read(task, several, letter_tokenizer, 0)[0])
    assert record["paragraph"] == record["spans"][0]["paragraph"] in (1, 2)
    record = task.record(alone, _read(task, alone, letter_tokenizer, 0)[0])
    assert "paragraph" not in record and all("paragraph" not in span for span in record["spans"])

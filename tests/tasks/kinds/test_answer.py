"""Answers as spans: training targets, the loss, the best span over windows, no answers, and the scores."""

import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from bertsmith.batches.windows import Window
from bertsmith.errors import DivergedError, InputError
from bertsmith.tasks.files.questions import GoldAnswer as Gold
from bertsmith.tasks.files.questions import Question
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.spans import Answered, Span
from bertsmith.tasks.task import Logits, Sample, SampleBatch
from bertsmith.text.tokenizer import Tokenizer

HEAD = nn.Identity()
CONTEXT = "ab cd ef gh ij kl mn op qr st."


def question(*answers: str, context: str = CONTEXT, name: str = "q1", text: str = "who?") -> Question:
    golds = tuple(Gold(answer, context.find(answer)) for answer in answers)
    return Question(name, text, context, golds, "", f"a.json: question {name}")


def tokens(window: Window, tokenizer: Tokenizer, first: int, last: int) -> str:
    return " ".join(tokenizer.tokens[token_id] for token_id in window.token_ids[first : last + 1])


# Training targets.


@pytest.mark.parametrize(
    ("answer", "start", "pieces"), [("ef gh", 4, "e ##f g ##h"), ("kl m", 10, "k ##l m"), ("d ef", 3, "##d e ##f")]
)
def test_windows_point_to_the_answer_or_to_cls(letter_tokenizer: Tokenizer, answer: str, start: int, pieces: str) -> None:
    (samples,) = Answer(max_length=19, stride=4).samples([question(answer, "ab")], letter_tokenizer, labelled=True)
    stop = start + len(pieces.split())
    is_whole = [sample.windows[0].start <= start and sample.windows[0].stop >= stop for sample in samples]
    assert (any(is_whole), all(is_whole)) == (True, False)
    for sample, whole in zip(samples, is_whole, strict=True):
        expected = pieces if whole else "[CLS]"
        assert tokens(sample.windows[0], letter_tokenizer, sample.target[0].first, sample.target[0].last) == expected
        assert len(sample.windows[0].token_ids) <= 19


def test_an_answer_within_tokens_is_the_tokens_it_touches(toy_tokenizer: Tokenizer) -> None:
    ((sample,),) = Answer().samples([question("ed hous", context="the red house .")], toy_tokenizer, labelled=True)
    assert tokens(sample.windows[0], toy_tokenizer, sample.target[0].first, sample.target[0].last) == "red house"


def test_questions_without_answer_point_to_cls(letter_tokenizer: Tokenizer) -> None:
    ((sample,),) = Answer().samples([question()], letter_tokenizer, labelled=True)
    assert (sample.target[0].first, sample.target[0].last) == (0, 0)


@pytest.mark.parametrize(
    "misplaced", [question("nowhere"), question("\u200e", context="ab \u200e cd")], ids=["offset", "no token"]
)
def test_answers_that_cannot_be_found_are_left_out_of_training_alone(misplaced: Question, letter_tokenizer: Tokenizer) -> None:
    task = Answer().fitted([question("ab")])
    assert [len(own) for own in task.samples([misplaced, question("ab")], letter_tokenizer, labelled=True)] == [0, 1]
    assert [len(own) for own in task.samples([misplaced], letter_tokenizer, labelled=False)] == [1]
    wrong = Answered("ab", 0, 2, 0.5, 0.0, ())
    assert task.outcomes([misplaced], [wrong]).tolist() == [[0, 0, 1]]


def test_the_second_answer_is_learnt_where_the_first_is_misplaced(letter_tokenizer: Tokenizer) -> None:
    ((sample,),) = Answer().samples([question("nowhere", "cd")], letter_tokenizer, labelled=True)
    assert tokens(sample.windows[0], letter_tokenizer, sample.target[0].first, sample.target[0].last) == "c ##d"


def test_long_questions_are_cut_and_counted(letter_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    task = Answer(max_question=4)
    (long,), (short,) = task.samples(
        [question("ab", text="abcdefg"), question("ab", text="abcd")], letter_tokenizer, labelled=True
    )
    assert tokens(long.windows[0], letter_tokenizer, 0, 5) == "[CLS] a ##b ##c ##d [SEP]"
    assert tokens(long.windows[0], letter_tokenizer, long.target[0].first, long.target[0].last) == "a ##b"
    assert long.windows[0].segment_ids[:6].tolist() == [0] * 6
    assert long.windows[0].segment_ids[6:].all()
    assert short.windows[0].token_ids.tolist() == long.windows[0].token_ids.tolist()
    assert caplog.messages == ["1 question(s) of more than 4 tokens (--max-question) were cut to it"]
    (cramped,) = Answer(max_length=16).samples([question("ab", text="a" * 30)], letter_tokenizer, labelled=True)
    assert all(len(sample.windows[0].token_ids) <= 16 for sample in cramped)
    assert caplog.messages[1:] == ["1 question(s) of more than 6 tokens (--max-question) were cut to it"]


# The loss.


def test_loss_is_that_of_padded_sequences(letter_tokenizer: Tokenizer) -> None:
    task = Answer(max_length=19, stride=4)
    examples = [question("ef gh"), question(context="ab"), question("kl", context="kl m")]
    samples = [sample for own in task.samples(examples, letter_tokenizer, labelled=True) for sample in own]
    scores = [torch.randn(sample.n_tokens, 2) for sample in samples]
    padded_BS2 = nn.utils.rnn.pad_sequence(scores, batch_first=True, padding_value=-math.inf)
    targets_B2 = torch.tensor([(sample.target[0].first, sample.target[0].last) for sample in samples])
    cross_entropy = nn.CrossEntropyLoss(reduction="sum")
    expected = (cross_entropy(padded_BS2[..., 0], targets_B2[:, 0]) + cross_entropy(padded_BS2[..., 1], targets_B2[:, 1])) / 2
    for order in (range(len(samples)), range(len(samples) - 1, -1, -1)):
        batch = SampleBatch.collate([samples[place] for place in order])
        logits_T2 = torch.cat([scores[place] for place in order])
        torch.testing.assert_close(task.loss(logits_T2, batch, HEAD), expected)
        parts = task.log_probabilities(logits_T2, batch).exp().split(batch.inputs.cu_seqlens.diff().tolist())
        torch.testing.assert_close(torch.stack([part.sum(0) for part in parts]), torch.ones(len(samples), 2))


# The best span.


def random_logits(samples: Sequence[Sample], seed: int) -> list[Logits]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(sample.n_tokens, 2)).astype(np.float32) for sample in samples]


def owner(place: int, windows: Sequence[Window]) -> int:
    """Return the window in which the token has most context on its poorer side."""
    contexts = [
        min(place - window.start, window.stop - 1 - place) if window.start <= place < window.stop else -1 for window in windows
    ]
    return int(np.argmax(contexts))


def all_spans(task: Answer, samples: Sequence[Sample], logits: Sequence[Logits]) -> dict[tuple[int, int], float]:
    """Return the score of every span of characters, the best of the windows'."""
    windows = [sample.windows[0] for sample in samples]
    offsets = samples[0].target[0].offsets
    found: dict[tuple[int, int], float] = {}
    for number, (window, scores_S2) in enumerate(zip(windows, logits, strict=True)):
        for first in range(window.start, window.stop):
            for last in range(first, min(first + task.max_answer, window.stop)):
                if owner(first, windows) == number:
                    start_row, end_row = (place - window.start + window.first_row for place in (first, last))
                    span = int(offsets[first, 0]), int(offsets[last, 1])
                    score = float(scores_S2[start_row, 0]) + float(scores_S2[end_row, 1])
                    found[span] = max(score, found.get(span, -math.inf))
    return found


@pytest.mark.parametrize(("max_length", "stride"), [(384, 128), (20, 4), (19, 7), (16, 1)])
@pytest.mark.parametrize("has_no_answers", [False, True])
@pytest.mark.parametrize("max_answer", [1, 3, 30])
def test_the_best_span_is_that_of_all(
    letter_tokenizer: Tokenizer, max_length: int, stride: int, has_no_answers: bool, max_answer: int
) -> None:
    task = Answer(
        max_length=max_length, stride=stride, has_no_answers=has_no_answers, max_answer=max_answer, threshold=math.pi * 1e6
    )
    # No more tokens than the beginnings and ends that are looked at, so that none is left out; three of one character.
    example = question(context="ab cd ef gh i. 한 mn")
    (samples,) = task.samples([example], letter_tokenizer, labelled=False)
    assert (len(samples) > 1) == (max_length < 30)
    for seed in range(5):
        logits = random_logits(samples, seed)
        (found,) = task.decode([example], [samples], [logits], HEAD)
        scored = sorted(all_spans(task, samples, logits).items(), key=lambda item: -item[1])
        null = min(float(scores_S2[0].sum()) for scores_S2 in logits)
        assert (found.start, found.end) == scored[0][0]
        assert found.text == example.context[found.start : found.end]
        assert found.no_answer == pytest.approx(null - scored[0][1], rel=1e-5)
        assert [(span.start, span.end) for span in found.spans] == [span for span, _ in scored[:5]]
        weights = np.exp([score for _, score in scored[:20]])
        total = weights.sum() + (math.exp(null) if has_no_answers else 0.0)
        assert [span.probability for span in found.spans] == pytest.approx((weights[:5] / total).tolist(), rel=1e-5)
        assert found.probability == found.spans[0].probability
        assert sum(span.probability for span in found.spans) <= 1 + 1e-9


def test_a_start_counts_only_in_the_window_that_owns_it(letter_tokenizer: Tokenizer) -> None:
    task = Answer(max_length=16, stride=2, has_no_answers=False)
    example = question(context="abcdefghijkl")
    (samples,) = task.samples([example], letter_tokenizer, labelled=False)
    logits = [np.zeros((sample.n_tokens, 2), np.float32) for sample in samples]
    # Token 2 begins the second window, where it has no context.
    logits[1][samples[1].windows[0].first_row, 0] = 9.0
    logits[0][samples[0].windows[0].first_row + 1, 0] = 5.0
    (found,) = task.decode([example], [samples], [logits], HEAD)
    assert found.start == 1


def test_no_answer_and_its_threshold(letter_tokenizer: Tokenizer) -> None:
    task = Answer(has_no_answers=True)
    example = question(context="ab cd")
    (samples,) = task.samples([example], letter_tokenizer, labelled=False)
    logits = random_logits(samples, 0)
    (best,) = Answer(has_no_answers=False).decode([example], [samples], [logits], HEAD)
    assert best.text
    logits[0][0] += (-best.no_answer + 1.0) / 2
    (found,) = task.decode([example], [samples], [logits], HEAD)
    assert (found.text, found.start, found.end, found.no_answer) == ("", 0, 0, pytest.approx(1.0, abs=1e-5))
    assert found.probability == pytest.approx(found.spans[0].probability * math.e, rel=1e-4)
    assert found.probability + sum(span.probability for span in found.spans) <= 1 + 1e-9
    for threshold, text in ((0.9, ""), (1.1, best.text)):
        tuned = task.model_copy(update={"threshold": threshold})
        assert tuned.apply(found).text == text
        assert tuned.decode([example], [samples], [logits], HEAD)[0].text == text


def test_the_threshold_is_tuned() -> None:
    examples = [question("ab", name="1"), question(name="2"), question("cd", name="3"), question(name="4")]
    spans = [(Span(text, CONTEXT.find(text), CONTEXT.find(text) + 2, 0.5),) for text in ("ab", "ef", "cd", "gh")]
    found = [Answered("", 0, 0, 0.5, score, own) for score, own in zip((-2.0, 1.0, 0.5, 3.0), spans, strict=True)]
    task = Answer().fitted(examples)
    assert task.score(examples, found)["f1"] == 0.75
    tuned = task.tuned(examples, found)
    assert tuned.threshold == 0.5
    assert tuned.score(examples, found) == {
        "f1": 1.0,
        "exact_match": 1.0,
        "f1_with_answer": 1.0,
        "f1_without_answer": 1.0,
    }
    assert tuned.tuned(examples, found) is tuned
    always = Answer(has_no_answers=False)
    assert always.tuned(examples, found) is always


@pytest.mark.parametrize("context", ["", " \n", "\u200e"])
def test_a_context_without_words_has_no_answer(letter_tokenizer: Tokenizer, context: str) -> None:
    for has_no_answers in (False, True):
        task = Answer(has_no_answers=has_no_answers)
        example = question(context=context)
        (samples,) = task.samples([example], letter_tokenizer, labelled=False)
        (found,) = task.decode([example], [samples], [random_logits(samples, 0)], HEAD)
        assert (found.text, found.start, found.end, found.probability, found.spans) == ("", 0, 0, 1.0, ())


# What training data say.


def test_language_and_whether_there_may_be_no_answer() -> None:
    chinese = question("北京", context="人在北京")
    assert (Answer().fitted([chinese]).scorer, Answer().fitted([question("ab")]).scorer) == ("chinese", "squad")
    assert Answer(scorer="squad").fitted([chinese]).scorer == "squad"
    japanese = Answer().fitted([question("さくら", context="これはさくらです")])
    assert japanese.scored_by == "by characters, those of scripts without blanks each by itself"
    found = answered("さくらの")
    assert japanese.score([question("さくら", context="さくらの花")], [japanese.apply(found)])["f1"] == pytest.approx(2 * 3 / 7)
    assert (Answer().fitted([chinese]).has_no_answers, Answer().fitted([chinese, question()]).has_no_answers) == (False, True)
    assert Answer(has_no_answers=True).fitted([chinese]).has_no_answers is True


def test_what_pipelines_take() -> None:
    expected = Question("", "who?", "ab cd", (), "", "")
    assert Answer().example(("who?", "ab cd")) == Answer().example({"question": "who?", "context": "ab cd"}) == expected
    for wrong in ("who?", ("who?",), ("who?", None), {"question": "who?"}):
        with pytest.raises(InputError, match="answer takes pairs of a question and a context, or a list of paragraphs, not"):
            Answer().example(wrong)


# Scores.


def answered(text: str, probability: float = 0.5) -> Answered:
    return Answered(text, 0, len(text), probability, -1.0, (Span(text, 0, len(text), probability),))


def test_scores_and_review() -> None:
    task = Answer().fitted([question("ab cd")])
    examples = [question("ab cd", "ab", name="1"), question("ef gh", name="2"), question("kl", name="3")]
    found = [answered("Ab"), answered("ef ij", 0.9), answered("st", 0.6)]
    assert task.outcomes(examples, found).tolist() == [[1, 1, 1], [0, 0.5, 1], [0, 0, 1]]
    assert task.score(examples, found) == {"f1": 0.5, "exact_match": pytest.approx(1 / 3)}
    review = task.review(examples, found)
    assert [(one.expected, one.predicted) for one in review.mistakes] == [("kl", "st (60%)"), ("ef gh", "ef ij (90%)")]
    assert [one.badness for one in review.mistakes] == pytest.approx([0.6, 0.45])
    assert review.is_right is not None
    assert review.is_right.tolist() == [True, False, False]
    assert review.used == {"an answer": (3, 3), "no answer": (0, 0)}


@pytest.mark.parametrize(("paragraph", "shown"), [(None, "who?\nab cd"), (2, "who?\nab cd"), (1, "who?\nab cd\nef gh")])
def test_a_mistake_is_shown_with_its_passages(paragraph: int | None, shown: str) -> None:
    gold = Gold("ab", 0)
    example = Question("1", "who?", "ab cd", (gold,), "", "", ("ef gh", "ab cd"), () if paragraph is None else (0, 1))
    found = dataclasses.replace(answered("cd"), paragraph=paragraph)
    assert [one.text for one in Answer(scorer="squad").review([example], [found]).mistakes] == [shown]


def test_of_questions_with_one_id_the_last_is_scored() -> None:
    task = Answer(has_no_answers=True)
    gold = [question("ab", name="q1"), question("cd", name="q2"), question("ef", name="q1")]
    found = [Answered(text, 0, 2, 0.5, no_answer, ()) for text, no_answer in (("ab", 0.0), ("cd", 0.0), ("cd", 0.0))]
    assert task.outcomes(gold, found)[:, 0].tolist() == [0, 1]
    assert task.scores(task.outcomes(gold, found))["exact_match"] == 0.5
    assert [one.expected for one in task.review(gold, found).mistakes] == ["ef"]
    assert len(task.outcomes([question("ab", name="")] * 3, found)) == 3


def test_chinese_answers_are_compared_as_cmrc_does() -> None:
    example = question("北京人", context="北京人。")
    task = Answer().fitted([example])
    assert task.outcomes([example], [answered("北京人。")]).tolist() == [[1, 1, 1]]
    assert task.outcomes([example], [answered("北京")])[0, 1] == pytest.approx(0.8)


def test_a_model_that_says_nan_is_refused(letter_tokenizer: Tokenizer) -> None:
    for has_no_answers in (False, True):
        task = Answer(has_no_answers=has_no_answers)
        example = question("ab")
        (samples,) = task.samples([example], letter_tokenizer, labelled=False)
        logits = [np.full((sample.n_tokens, 2), np.nan, np.float32) for sample in samples]
        found = task.decode([example], [samples], [logits], HEAD)
        with pytest.raises(DivergedError, match="NaN"):
            task.tuned([example], found).score([example], found)


def test_submission_is_json_with_every_id() -> None:
    form = Answer().submission()
    examples = [question(name="1"), question(name='a"b'), question(name="三")]
    found = [answered("ab"), answered(""), answered('北"京')]
    entries = [form.line(example, one) for example, one in zip(examples, found, strict=True)]
    assert json.loads(form.before + form.between.join(entries) + form.behind) == {"1": "ab", 'a"b': "", "三": '北"京'}
    assert json.loads(form.before + form.behind) == {}

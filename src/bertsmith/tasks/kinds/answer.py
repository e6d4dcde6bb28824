"""Extractive question answering: a span of the context, or none (Devlin et al. 2019, sections 4.2 and 4.3).

Of several paragraphs, all tokens compete for being the answer's first and last under one softmax, in training and in reading:
the shared normalisation of Clark and Gardner (2018), section 3.

Dimensions: T tokens, B sequences, S tokens of one sequence, M rows that are right, n examples.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.batches.windows import Part, Window, make_windows
from bertsmith.errors import InputError, Refusal, UsageError
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.span import SpanScores
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.paragraphs import nearest
from bertsmith.tasks.files.questions import Candidates, Question, QuestionColumns, read_questions
from bertsmith.tasks.scoring.answer_scores import SCORED_BY, SCORERS, Scorer, best_threshold, usual_scorer
from bertsmith.tasks.scoring.scores import check_predictions
from bertsmith.tasks.shown import SpanAnswer, Stretch
from bertsmith.tasks.spans import Answered, Span, SpanTarget, distinct, right_rows, rows_of, tokens_of_answer
from bertsmith.tasks.split_keys import SplitKeys
from bertsmith.tasks.task import (
    Explains,
    Floats,
    Logits,
    Mistake,
    Review,
    Sample,
    SampleBatch,
    Seen,
    Submission,
    Task,
    counted,
    log,
    worst,
)
from bertsmith.text.tokenizer import Tokenizer

_STARTS_AND_ENDS = 20
_ALTERNATIVES = 5
MOST_ANSWERS = 20
"""Answers given of several paragraphs, at most."""


class Answer(Task[Question, Answered]):
    """A question and a context, a span of the context: SQuAD 1.1 and 2.0, CMRC, DRCD."""

    kind: ClassVar[str] = "answer"
    pipeline_tag: ClassVar[str] = "question-answering"
    usual_metric: ClassVar[str] = "f1"
    reads_examples_of: ClassVar[Literal["text", "question", "query", "choices"]] = "question"
    explains: ClassVar[Explains] = "span"
    look_ahead: ClassVar[int] = 256

    columns: QuestionColumns = QuestionColumns()
    max_length: int = pydantic.Field(default=384, ge=16)
    """The longest sequence, question and special tokens included; longer contexts are read in windows."""
    stride: int = pydantic.Field(default=128, gt=0)
    """Tokens from the beginning of one window to that of the next."""
    max_question: int = pydantic.Field(default=64, gt=0)
    """The longest question in tokens; the rest is cut off, with a warning."""
    max_answer: int = pydantic.Field(default=30, gt=0)
    """The longest answer in tokens."""
    scorer: Scorer | None = None
    """How answers are compared: as SQuAD does, as CMRC does, or by the characters of any script without blanks; by the script
    of the training answers unless given."""
    has_no_answers: bool | None = None
    """Whether a context may hold no answer; whether the training file has such questions, unless given."""
    threshold: float | None = None
    """No-answer score above which no answer is given; tuned on the dev file unless given."""
    paragraphs: int = pydantic.Field(default=1, ge=1)
    """Paragraphs trained on together for a question: its own, and those of the article that share most words with it."""
    candidates: Candidates | None = None
    """Paragraphs of the article to look for the answer in, with its own, or all; by default as many as --paragraphs."""

    def read(self, path: str | Path, *, labelled: bool, format: str | None = None) -> Iterator[Question]:  # noqa: A002
        """Yield the questions of a file, with the paragraphs to read where these are more than the question's own."""
        wanted = self.candidates or self.paragraphs
        for question in read_questions(path, self.columns, labelled=labelled, format=format):
            if question.article and not self.paragraphs == wanted == 1:
                yield dataclasses.replace(question, candidates=nearest(question, wanted))
            elif question.article or self.candidates in (None, 1):
                yield question
            else:
                raise _without_article(question, "--candidates 1")

    def example(self, value: Any) -> Question:
        """Return the example for (question, context) or (question, list of paragraphs)."""
        match value:
            case (str() as question, str() as context) | {"question": str() as question, "context": str() as context}:
                return Question("", question, context, (), "", "")
            case (str() as question, [str() as context, *others]) if all(isinstance(other, str) for other in others):
                return Question("", question, context, (), "", "", (context, *others), tuple(range(1 + len(others))))
        raise InputError(f"answer takes pairs of a question and a context, or a list of paragraphs, not {value!r:.80}")

    def question(self, text: str, pair: str | None, choices: Sequence[str] | None) -> tuple[str, str]:  # noqa: ARG002
        """Return the question with the second text as its context."""
        if pair is None:
            raise Refusal("needs_pair", "a question needs a text to be answered from: give it as the pair")
        return text, pair

    @property
    def scored_by(self) -> str | None:
        """What answers are compared by."""
        return SCORED_BY[self.scorer or "squad"]

    def fitted(self, examples: Sequence[Question]) -> Self:
        """Return the task with the scorer of the answers, and whether there may be none; refuse examples without the
        paragraphs that they are to be trained on."""
        alone = next((example for example in examples if not example.article), None)
        if self.paragraphs > 1 and alone is not None:
            raise _without_article(alone, "--paragraphs 1")
        texts = [answer.text for example in examples for answer in example.answers]
        has_no_answers = any(not example.answers for example in examples)
        return self.model_copy(
            update={
                "scorer": self.scorer or usual_scorer(texts),
                "has_no_answers": has_no_answers if self.has_no_answers is None else self.has_no_answers,
            }
        )

    def split_keys(self, examples: Sequence[Question]) -> SplitKeys:
        """Keep the questions of a paragraph together, or of an article that is read as a whole; stratify by having answers."""
        several = self.paragraphs > 1 or self.candidates not in (None, 1)
        groups = [example.article if several and example.article else example.context for example in examples]
        texts = [(example.question, example.context) for example in examples]
        strata = [(bool(example.answers),) for example in examples]
        return SplitKeys(texts, groups, "article" if several else "paragraph", strata, "having an answer")

    def content(self, example: Question) -> Content:
        """Return the question with its paragraph; where some have no answer, it is counted how many."""
        answers = sorted({answer.text for answer in example.answers})
        classes = ("with an answer" if answers else "without an answer",) if self.has_no_answers else ()
        return Content(((example.question, example.context),), " ¦ ".join(answers), classes, group=example.context)

    def caveat(self, examples: Sequence[Question]) -> str | None:
        """Return that no question has an answer, if so."""
        return (
            None if any(example.answers for example in examples) else "no question has an answer: to give none is always right"
        )

    def head(self) -> TaskHead:
        """Return the head that scores the beginnings and ends of spans."""
        return SpanScores()

    def samples(self, examples: Sequence[Question], tokenizer: Tokenizer, *, labelled: bool) -> list[list[Sample]]:
        """Return a sample for each window, or one for all that are to be learnt from together; each window has its target.

        The target of a window without the answer points to ``[CLS]``.
        """
        passages = [self._passages(example, labelled) for example in examples]
        texts = list(dict.fromkeys(text for own in passages for _, text in own))
        encoded = {
            text: (encoding.token_ids[1:-1], np.array(encoding.offsets[1:-1], np.int64).reshape(-1, 2))
            for text, encoding in zip(texts, tokenizer.encode_many(texts), strict=True)
        }
        cls, sep, end = Part([tokenizer.cls_id]), Part([tokenizer.sep_id]), Part([tokenizer.sep_id], segment=1)
        found: list[list[Sample]] = []
        for example, question, own in zip(examples, self._questions(examples, tokenizer), passages, strict=True):
            span = tokens_of_answer(example, encoded[example.context][1]) if labelled else None
            if labelled and example.answers and span is None:
                found.append([])  # what stands elsewhere than it is said to is no question without an answer
                continue
            parts: list[tuple[Window, SpanTarget]] = []
            for number, text in own:
                token_ids, offsets = encoded[text]
                gold = span if text == example.context else None
                before = [cls, Part(question), sep]
                windows = make_windows(before, Part(token_ids, segment=1), [end], self.max_length, self.stride)
                parts += [(window, SpanTarget(number, offsets, *rows_of(window, gold))) for window in windows]
            if labelled and self.paragraphs > 1:
                found.append([Sample(*zip(*parts, strict=True))])
            else:
                found.append([Sample((window,), (target,)) for window, target in parts])
        return found

    def _passages(self, example: Question, labelled: bool) -> list[tuple[int | None, str]]:
        """Return the texts to learn or to find the answer from, each with its number in the article."""
        places = example.candidates
        if labelled:
            places = nearest(example, self.paragraphs) if self.paragraphs > 1 else ()
        return [(place + 1, example.article[place]) for place in places] or [(None, example.context)]

    def _questions(self, examples: Sequence[Question], tokenizer: Tokenizer) -> list[list[int]]:
        """Return the token ids of the questions, cut where they are too long."""
        questions = tokenizer.token_ids([example.question for example in examples])
        # Of a short sequence, half is for the context.
        longest = min(self.max_question, (self.max_length - 3) // 2)
        n_cut = sum(len(token_ids) > longest for token_ids in questions)
        if n_cut:
            log.warning("%d question(s) of more than %d tokens (--max-question) were cut to it", n_cut, longest)
        return [token_ids[:longest] for token_ids in questions]

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:  # noqa: ARG002
        """Return the mean of the cross-entropies of the first and of the last token, each among those of its sample.

        Where windows overlap and several hold the answer, the probability of its being found in any of them counts; where none
        does, that of any ``[CLS]``.
        """
        log_probabilities_T2 = self.log_probabilities(logits, batch)
        offsets = np.cumsum([0, *(sample.n_tokens for sample in batch.samples)])
        pairs = zip(offsets, batch.samples, strict=False)
        rows = [offset + right_rows(sample.windows, sample.target) for offset, sample in pairs]
        right_M2 = log_probabilities_T2.gather(0, torch.from_numpy(np.concatenate(rows)).to(logits.device))
        return -torch.stack([own.logsumexp(0) for own in torch.split(right_M2, [len(own) for own in rows])]).sum() / 2

    def log_probabilities(self, logits: Tensor, batch: SampleBatch) -> Tensor:
        """Return (T, 2): of being the first and the last token of the answer, among those of the sample."""
        lengths = [sample.n_tokens for sample in batch.samples]
        return torch.cat([F.log_softmax(scores_S2, dim=0) for scores_S2 in torch.split(logits, lengths)])

    def decode(
        self,
        examples: Sequence[Question],
        samples: Sequence[Sequence[Sample]],
        logits: Sequence[Sequence[Logits]],
        head: nn.Module,  # noqa: ARG002
    ) -> list[Answered]:
        """Return the best span over all windows of what was read; where its first token has most context, it counts."""
        return [
            self.apply(self._answered(example, own, found))
            for example, own, found in zip(examples, samples, logits, strict=True)
        ]

    def _answered(self, example: Question, samples: Sequence[Sample], logits: Sequence[Logits]) -> Answered:
        null = self._null(logits)
        scored: dict[_Place, float] = {}
        for sample, scores_S2 in zip(samples, logits, strict=True):
            (target,) = sample.target
            for score, first, last in self._candidates(sample.windows[0], scores_S2):
                place = target.paragraph, int(target.offsets[first, 0]), int(target.offsets[last, 1])
                scored[place] = max(score, scored.get(place, -math.inf))
        best = sorted(scored.items(), key=lambda item: -item[1])
        if not best:
            return Answered("", 0, 0, 0.0, 0.0 * null + _CERTAIN, ())
        if not example.candidates:
            best = best[:_STARTS_AND_ENDS]
        top = best[0][1]
        total = sum(math.exp(score - top) for _, score in best)
        total += math.exp(min(null - top, 700.0)) if self.has_no_answers else 0.0
        spans = (
            Span(_passage(example, place)[start:end], start, end, math.exp(score - top) / total, place)
            for (place, start, end), score in best
        )
        shown = islice(distinct(spans), MOST_ANSWERS) if example.candidates else islice(spans, _ALTERNATIVES)
        return Answered("", 0, 0, 0.0, null - top, tuple(shown))

    def _null(self, logits: Sequence[Logits]) -> float:
        """Return the score of no answer.

        Windows that were normalised together in training have one place for it, all their ``[CLS]``; of others, which say it
        each for itself, that one counts which says it least.
        """
        null_W2 = np.array([scores_S2[0] for scores_S2 in logits], np.float64)
        return float(np.logaddexp.reduce(null_W2).sum() if self.paragraphs > 1 else null_W2.sum(1).min())

    def _candidates(self, window: Window, scores_S2: Logits) -> Iterator[tuple[float, int, int]]:
        """Yield score, first and last token of the spans that the best beginnings and ends of a window make up."""
        rows = slice(window.first_row, window.first_row + window.stop - window.start)
        starts, ends = scores_S2[rows, 0].astype(np.float64), scores_S2[rows, 1].astype(np.float64)
        owned = np.arange(window.owned[0] - window.start, window.owned[1] - window.start)
        best_starts = owned[np.argsort(-starts[owned], kind="stable")[:_STARTS_AND_ENDS]]
        best_ends = np.argsort(-ends, kind="stable")[:_STARTS_AND_ENDS]
        for first in best_starts.tolist():
            for last in best_ends[(best_ends >= first) & (best_ends < first + self.max_answer)].tolist():
                yield float(starts[first] + ends[last]), window.start + first, window.start + last

    def apply(self, prediction: Answered) -> Answered:
        """Return the prediction under the task's threshold."""
        threshold = (self.threshold or 0.0) if self.has_no_answers else math.inf
        if not prediction.spans or prediction.no_answer > threshold:
            # The scores are logarithms of probabilities but for a constant.
            ahead = math.exp(min(prediction.no_answer, 700.0))
            certain = ahead * prediction.spans[0].probability if prediction.spans else 1.0
            return dataclasses.replace(prediction, text="", start=0, end=0, probability=certain, paragraph=None)
        best = prediction.spans[0]
        return Answered(
            best.text, best.start, best.end, best.probability, prediction.no_answer, prediction.spans, best.paragraph
        )

    def tuned(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> Self:
        """Return the task with the no-answer threshold that is best on these examples, unless it was given."""
        if not self.has_no_answers or self.threshold is not None:
            return self
        scored = _scored(examples, predictions)
        answered = [self._score(example, found.spans[0].text if found.spans else "")[1] for example, found in scored]
        empty = [self._score(example, "")[1] for example, _ in scored]
        threshold, _ = best_threshold([found.no_answer for _, found in scored], answered, empty)
        return self.model_copy(update={"threshold": threshold})

    def _score(self, example: Question, text: str) -> tuple[float, float]:
        golds = [answer.text for answer in example.answers] or [""]
        matched, shared = SCORERS[self.scorer or "squad"]
        return matched(text, golds), shared(text, golds)

    def outcomes(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> Floats:
        """Return (n, 3): exact match, F1, and whether there is an answer to be found; n are the ids of the examples."""
        return np.array(
            [
                (*self._score(example, found.text), float(bool(example.answers)) + 0 * found.no_answer)
                for example, found in _scored(examples, predictions)
            ]
        ).reshape(-1, 3)

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return the means of F1 and exact match; where some questions have no answer, also for either kind of them."""
        check_predictions(outcomes, outcomes)
        matched, shared, has_answer = outcomes.T
        scores = {"f1": shared.mean(), "exact_match": matched.mean()}
        if 0 < has_answer.sum() < len(has_answer):
            scores |= {"f1_with_answer": shared[has_answer > 0].mean(), "f1_without_answer": shared[has_answer == 0].mean()}
        return {name: float(value) for name, value in scores.items()}

    def shown(self, seen: Seen[Question, Answered]) -> SpanAnswer:
        """Return the likeliest spans, and the probabilities of the sequence's tokens of being the first and the last of one."""
        found = seen.prediction
        spans = [Stretch(one.text, one.start, one.end, one.probability) for one in found.spans]
        starts, ends = seen.scores.softmax(0).T.tolist()
        return SpanAnswer(found.text, found.start, found.end, found.probability, found.no_answer, spans, starts, ends)

    def review(self, examples: Sequence[Question], predictions: Sequence[Answered]) -> Review:
        """Return confidences and the answers that are surest and wrong."""
        scored, outcomes = _scored(examples, predictions), self.outcomes(examples, predictions)
        mistakes = [
            Mistake(
                _described(example, found),
                " / ".join(dict.fromkeys(answer.text for answer in example.answers)) or "(no answer)",
                f"{found.text or '(no answer)'} ({found.probability:.0%})",
                found.probability * (1 - shared),
            )
            for (example, found), shared in zip(scored, outcomes[:, 1], strict=True)
            if shared < 1
        ]
        confidence = np.array([found.probability for found in predictions])
        has_answer, answered = outcomes[:, 2] > 0, np.array([bool(found.text) for found in predictions])
        kinds = [np.array([of.sum(), (~of).sum()]) for of in (has_answer, answered)]
        return Review(worst(mistakes), confidence, outcomes[:, 0] > 0, used=counted(("an answer", "no answer"), *kinds))

    def record(self, example: Question, prediction: Answered) -> Mapping[str, Any]:
        """Return a prediction as one JSON object; numbers of paragraphs stand in it where there were several."""
        record = dict(super().record(example, prediction))
        if not example.candidates:
            for found in (record, *record["spans"]):
                del found["paragraph"]
        return record

    def submission(self) -> Submission[Question, Answered]:
        """Return SQuAD's form: one JSON object from the questions' ids to their answers."""

        def entry(example: Question, found: Answered) -> str:
            return f"{json.dumps(example.id, ensure_ascii=False)}: {json.dumps(found.text, ensure_ascii=False)}"

        return Submission(entry, before="{", between=",\n", behind="}\n")


# For contexts without a token to answer with.
_CERTAIN = 1e9


_Place = tuple[int | None, int, int]


def _described(example: Question, found: Answered) -> str:
    """Return the question, its passage, and the one that the answer was found in where that is another, to be read."""
    passages = [example.context]
    if found.paragraph is not None and example.article:
        passages.append(example.article[found.paragraph - 1])
    return "\n".join(dict.fromkeys((example.question, *passages)))


def _scored(examples: Sequence[Question], predictions: Sequence[Answered]) -> list[tuple[Question, Answered]]:
    """Return the questions with their answers; of those with one id the last, as SQuAD's scorer has it."""
    pairs = zip(examples, predictions, strict=True)
    return list({pair[0].id or f"{number}": pair for number, pair in enumerate(pairs)}.values())


def _without_article(question: Question, remedy: str) -> UsageError:
    return UsageError(
        f"{question.source}: several paragraphs are to be read, and only SQuAD's JSON says which belong to one article; "
        f"give {remedy} to read each question's own"
    )


def _passage(example: Question, paragraph: int | None) -> str:
    return example.context if paragraph is None else example.article[paragraph - 1]

"""A label for every word: named entities, parts of speech, segmentation (Devlin et al. 2019, section 5.3).

Words are read by their first WordPiece; a CRF, where there is one, sees whole sentences of words and nothing else.

Dimensions: T tokens, M words, C classes, n examples.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.batches.windows import Part, make_windows
from bertsmith.config import Names
from bertsmith.errors import InputError, UsageError
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.token import Decoder, TokenHead, TokenScores
from bertsmith.sources.streams import input_name
from bertsmith.sources.tables import open_table
from bertsmith.tasks.content import Content
from bertsmith.tasks.files.columns import looks_like_text, read_tagged
from bertsmith.tasks.files.tagged import TagColumns, TaggedSentence
from bertsmith.tasks.kinds.classify import check_labels
from bertsmith.tasks.scoring.scores import check_predictions, chunk_counts, precision_recall_f1
from bertsmith.tasks.shown import Entity, TaggedWord, TagsAnswer
from bertsmith.tasks.split_keys import SplitKeys
from bertsmith.tasks.tag_examples import LearntScheme, as_columns, different, entity_of, known_tags, of_words, scheme_to_learn
from bertsmith.tasks.tag_examples import TagExample as TagExample
from bertsmith.tasks.tag_schemes import (
    Chunk,
    Spelling,
    all_labels,
    chunk_letters,
    chunks,
    legal_moves,
    rewrite,
    spelling_under,
)
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
    log,
    worst,
)
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.words import word_spans


@dataclass(frozen=True, slots=True)
class Tagged:
    """The words of a text with their tags and their probabilities, and the entities that the tags make up."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    entities: tuple[Entity, ...]


class Tag(Task[TagExample, Tagged]):
    """A label a word: CoNLL columns, CoNLL-U, one character a line, JSON lines."""

    kind: ClassVar[str] = "tag"
    pipeline_tag: ClassVar[str] = "token-classification"
    explains: ClassVar[Explains] = "token"

    columns: TagColumns = TagColumns()
    decoder: Decoder = "linear"
    """What decides the tags of a sentence: the paper's linear layer, a CRF on it, or a BiLSTM with a CRF."""
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)
    """Share of each target given to all labels alike; without a CRF only."""
    labels: Names = ()
    """The tags, in order; those of the training file unless given."""
    scheme: LearntScheme | None = None
    """How tags make up entities: found in the training file unless given; IOB1 is read and turned into IOB2, and io, types
    without B- and I-, must be asked for."""
    units: Literal["words", "characters"] | None = None
    """What raw text is split into before it is tagged: what the training file has, unless given."""

    @pydantic.model_validator(mode="after")
    def _a_crf_has_no_smoothing(self) -> Self:
        if self.label_smoothing and self.decoder != "linear":
            raise ValueError("--label-smoothing is for --decoder linear; leave one out")
        return self

    @property
    def has_probe(self) -> bool:
        """Whether one linear layer decides the tags."""
        return self.decoder == "linear"

    @property
    def usual_head_rate(self) -> float | None:
        """A CRF or a BiLSTM starts from nothing and needs larger steps than a trained encoder."""
        return None if self.decoder == "linear" else 1e-3

    @property
    def main_metric(self) -> str:
        """F1 over entities, or the share of right tags where tags make up none."""
        return self.metric or ("accuracy" if self.scheme == "plain" else "f1")

    def read(self, path: str | Path, *, labelled: bool, format: str | None = None) -> Iterator[TagExample]:  # noqa: A002
        """Yield the sentences of a file of tagged words, or of text, as standard input without tags is, lines with words."""
        may_be_text = format is None and not labelled and self.columns.word_column is None
        decoding, by_characters = self.columns.decoding, self.units == "characters"
        if may_be_text and looks_like_text(path, self.labels, decoding, by_characters=by_characters):
            log.info("%s is read as text, a sentence a line; if its lines are words with columns, say --format columns", path)
            format = "text"  # noqa: A001
        if format == "text" or (format is None and not labelled and str(path) == "-"):
            yield from self._read_text(path, labelled)
            return
        for sentence in read_tagged(path, self.columns, labelled=labelled, format=format):
            yield of_words(sentence)

    def _read_text(self, path: str | Path, labelled: bool) -> Iterator[TagExample]:
        name = input_name(path)
        if labelled:
            raise UsageError(f"{name}: plain text has no tags; give a file of columns, CoNLL-U or JSON lines")
        any_words = False
        for record in open_table(path, "txt", decoding=self.columns.decoding).rows:
            example = self.example(record.text("text"))
            if example.words:
                any_words = True
                yield replace(example, source=record.source)
        if not any_words:
            raise InputError(f"{name} holds no text; give a file with one sentence a line")

    def example(self, value: Any) -> TagExample:
        """Return the example for a text, or for a list of words."""
        if isinstance(value, str):
            spans = tuple(word_spans(value, characters=self.units == "characters"))
            return TagExample(tuple(value[start:end] for start, end in spans), None, value, spans, "")
        if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
            return of_words(TaggedSentence(tuple(value), None, ""))
        raise InputError(f"tag takes texts and lists of words, not {value!r:.80}")

    def question(self, text: str, pair: str | None, choices: Sequence[str] | None) -> str:  # noqa: ARG002
        """Return the text."""
        return text

    def fitted(self, examples: Sequence[TagExample]) -> Self:
        """Return the task with the scheme, the units and the labels that the examples have."""
        scheme = scheme_to_learn(examples, self.scheme)
        words = [word for example in examples for word in example.words]
        is_single = sum(len(word) == 1 for word in words) > 0.98 * len(words)
        fitted = self.model_copy(update={"scheme": scheme, "units": self.units or ("characters" if is_single else "words")})
        if self.labels:
            fitted.check(examples)
        else:
            tags = {tag for example in examples for tag in known_tags(example)}
            fitted = fitted.model_copy(update={"labels": all_labels(tags, scheme, spelling_under(tuple(tags), scheme))})
        if len(fitted.labels) < 2:
            raise InputError(f"all words of the training examples have the tag {fitted.labels[0]!r}; two are needed")
        return fitted

    def split_keys(self, examples: Sequence[TagExample]) -> SplitKeys:
        """Keep equal sentences together, and those of a document where the file says which; stratify by types of entities."""
        documents = [example.document for example in examples]
        strata = [{chunk.type for chunk in self._chunks(self.tags_of(example))} for example in examples]
        groups, name = (documents, "document") if any(documents) else ((), "")
        return SplitKeys([example.words for example in examples], groups, name, strata if any(strata) else (), "type")

    def check(self, examples: Sequence[TagExample]) -> None:
        """Refuse tags that the task does not have."""
        known = set(self.labels)
        for example in examples:
            # What is of no scheme would become O.
            foreign = [tag for tag in dict.fromkeys(known_tags(example)) if tag not in known and not self._spelling.split(tag)]
            if foreign or not known.issuperset(self.tags_of(example)):
                check_labels(example.source, foreign or self.tags_of(example), self.labels)

    def content(self, example: TagExample) -> Content:
        """Return the sentence with the types of its entities, or with its tags where these make up none."""
        tags = self.tags_of(example)
        counted = tags if self.scheme == "plain" else [chunk.type for chunk in self._chunks(tags)]
        return Content(((example.text,),), " ".join(tags), tuple(counted), n_scored=len(counted))

    def caveat(self, examples: Sequence[TagExample]) -> str | None:
        """Return that there are no entities, or but one tag, if so."""
        tags = {tag for example in examples for tag in self.tags_of(example)}
        if self.scheme != "plain":
            return None if self._chunks(sorted(tags)) else "no word is part of an entity: F1 is 0, whatever is said"
        return None if len(tags) > 1 else f"every word has the tag {tags.pop()!r}: whoever always says so is always right"

    def tags_of(self, example: TagExample) -> list[str]:
        """Return the right tags in the task's scheme."""
        if self.scheme is None or self.scheme == "plain":
            return list(known_tags(example))
        return rewrite(known_tags(example), chunk_letters(self.labels, self.scheme, self._spelling), self._spelling)

    @property
    def _spelling(self) -> Spelling:
        return spelling_under(self.labels, self.scheme)

    def _chunks(self, tags: Sequence[str]) -> list[Chunk]:
        """Return the chunks that tags of the task make up; none of plain ones."""
        return [] if self.scheme == "plain" else chunks(tags, self._spelling)

    def head(self) -> TaskHead:
        """Return the head that scores the tags of tokens."""
        if self.decoder == "linear":
            return TokenScores(self.labels)
        allowed_CC, starts_C, ends_C = legal_moves(self.labels, self.scheme or "plain", self._spelling)
        moves = ["".join("01"[int(move)] for move in row) for row in (*allowed_CC, starts_C, ends_C)]
        return TokenScores(self.labels, self.decoder, tuple(moves))

    def samples(self, examples: Sequence[TagExample], tokenizer: Tokenizer, *, labelled: bool) -> list[list[Sample]]:
        """Return a sample for each window; a word belongs to the window that owns its first WordPiece."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        vocabulary = list(dict.fromkeys(word for example in examples for word in example.words))
        # A word that the tokenizer leaves nothing of, such as a control character, still has its place.
        pieces = {
            word: token_ids or [tokenizer.unk_id]
            for word, token_ids in zip(vocabulary, tokenizer.token_ids(vocabulary), strict=True)
        }
        before, behind = [Part([tokenizer.cls_id])], [Part([tokenizer.sep_id])]
        found = []
        for example in examples:
            words = [pieces[word] for word in example.words]
            firsts = np.cumsum([0, *(len(word) for word in words)])[:-1]
            text = Part([token_id for word in words for token_id in word])
            labels = np.array([numbers[tag] for tag in self.tags_of(example)], np.int64) if labelled else None
            samples = []
            for window in make_windows(before, text, behind, self.max_length, self.stride):
                first, last = np.searchsorted(firsts, window.owned).tolist()
                own = None if labels is None else labels[first:last]
                target = _WindowWords(window.rows(firsts[first:last]), own, first == 0, last == len(words))
                samples.append(Sample((window,), target))
            found.append(samples)
        return found

    def n_targets(self, sample: Sample) -> int:
        """Return the number of words."""
        return len(sample.target.rows)

    def loss(self, logits: Tensor, batch: SampleBatch, head: nn.Module) -> Tensor:
        """Return the cross-entropy of the words' tags, or the negative log-likelihood of the sentences' under a CRF."""
        labels_M = torch.from_numpy(np.concatenate([sample.target.labels for sample in batch.samples])).to(logits.device)
        logits_MC = logits[_rows(batch, logits.device)]
        assert isinstance(head, TokenHead)
        if head.crf is None:
            return F.cross_entropy(logits_MC, labels_M, reduction="sum", label_smoothing=self.label_smoothing)
        targets = [sample.target for sample in batch.samples]
        lengths = [len(target.rows) for target in targets]
        begins_B, ends_B = torch.tensor([(target.begins, target.ends) for target in targets], device=logits.device).T
        return head.crf.negative_log_likelihood(logits_MC, labels_M, lengths, begins_B, ends_B).sum()

    def log_probabilities(self, logits: Tensor, batch: SampleBatch) -> Tensor:
        """Return (M, C) without regard to a CRF."""
        return logits[_rows(batch, logits.device)].log_softmax(-1)

    def decode(
        self,
        examples: Sequence[TagExample],
        samples: Sequence[Sequence[Sample]],
        logits: Sequence[Sequence[Logits]],
        head: nn.Module,
    ) -> list[Tagged]:
        """Return the tags of each sentence, decided on the whole of it however many windows it took."""
        lengths = [len(example.words) for example in examples]
        if not sum(lengths):
            return [Tagged((), (), (), ()) for _ in examples]
        pairs = [
            (one, window) for own, found in zip(samples, logits, strict=True) for one, window in zip(own, found, strict=True)
        ]
        logits_MC = torch.from_numpy(np.concatenate([found[sample.target.rows] for sample, found in pairs]))
        labels_M, probabilities_M = _decide(logits_MC, lengths, head)
        stops = np.cumsum(lengths)
        return [
            self._tagged(example, labels_M[stop - length : stop], probabilities_M[stop - length : stop])
            for example, length, stop in zip(examples, lengths, stops.tolist(), strict=True)
        ]

    def _tagged(self, example: TagExample, labels: Sequence[int], probabilities: Sequence[float]) -> Tagged:
        tags = tuple(self.labels[label] for label in labels)
        entities = [entity_of(example, chunk, probabilities) for chunk in self._chunks(tags)]
        return Tagged(example.words, tags, tuple(probabilities), tuple(entities))

    def _types(self) -> list[str]:
        return sorted({chunk.type for label in self.labels for chunk in self._chunks([label])})

    def outcomes(self, examples: Sequence[TagExample], predictions: Sequence[Tagged]) -> Floats:
        """Return (n, 3 types + 2): right, predicted and gold entities of each type, then right words and words."""
        types = self._types()
        rows = []
        for example, found in zip(examples, predictions, strict=True):
            gold = self.tags_of(example)
            # What is not a number must not pass for a tag.
            right = sum(one == other for one, other in zip(gold, found.tags, strict=True)) + 0 * sum(found.probabilities)
            counts = chunk_counts(self._chunks(gold), self._chunks(found.tags), types).ravel()
            rows.append([*counts, right, len(gold)])
        return np.array(rows, dtype=np.float64)

    def scores(self, outcomes: Floats) -> dict[str, float]:
        """Return precision, recall and F1 over entities as conlleval counts them, and the share of right tags."""
        check_predictions(outcomes, outcomes)
        *counts, right, words = outcomes.sum(axis=0)
        scores = {"accuracy": right / max(words, 1.0)}
        if counts:
            precision, recall, f1 = precision_recall_f1(*np.array(counts).reshape(3, -1).sum(axis=1))
            scores = {"f1": f1, "precision": precision, "recall": recall, **scores}
        return {name: float(value) for name, value in scores.items()}

    def shown(self, seen: Seen[TagExample, Tagged]) -> TagsAnswer:
        """Return the words with their tags, and the entities."""
        found, encoding = seen.prediction, seen.encoding
        pieces = zip(encoding.offsets, encoding.segment_ids, encoding.word_ids, strict=True)
        starts = [start if segment == 0 and word is not None else -1 for (start, _), segment, word in pieces]
        words = []
        for word, span, tag, probability in zip(
            found.words, seen.example.offsets, found.tags, found.probabilities, strict=True
        ):
            position = next((row for row, start in enumerate(starts) if span[0] <= start < span[1]), None)
            words.append(TaggedWord(word, *span, tag, probability, position))
        return TagsAnswer(words, list(found.entities))

    def review(self, examples: Sequence[TagExample], predictions: Sequence[Tagged]) -> Review:
        """Return figures by type, confidences of words, and the sentences with the most errors."""
        gold_tags = [self.tags_of(example) for example in examples]
        confidence = np.array([probability for found in predictions for probability in found.probabilities])
        flags = [one == other for gold, found in zip(gold_tags, predictions, strict=True) for one, other in _both(gold, found)]
        mistakes = [
            Mistake(example.text, different(example, gold, found.tags), different(example, found.tags, gold), float(n_wrong))
            for example, gold, found in zip(examples, gold_tags, predictions, strict=True)
            if (n_wrong := sum(one != other for one, other in _both(gold, found)))
        ]
        gold_counts, found_counts = self._counts(gold_tags), self._counts(found.tags for found in predictions)
        used = {name: (gold_counts[name], found_counts[name]) for name in self._types() or self.labels}
        table = self._table(self.outcomes(examples, predictions))
        return Review(worst(mistakes), confidence, np.array(flags), table=table, used=used)

    def _counts(self, tags: Iterable[Sequence[str]]) -> Counter[str]:
        """Count entities by their type, or words by their tag where there are none."""
        if self.scheme == "plain":
            return Counter(tag for of_one in tags for tag in of_one)
        return Counter(chunk.type for of_one in tags for chunk in self._chunks(of_one))

    def _table(self, outcomes: Floats) -> list[tuple[Any, ...]]:
        types = self._types()
        if not types:
            return []
        counts = outcomes.sum(axis=0)[:-2].reshape(3, -1)
        figures = [figure.tolist() for figure in precision_recall_f1(*counts)]
        rows = list(zip(types, *figures, map(int, counts[2]), strict=True))
        return [("type", "precision", "recall", "F1", "entities"), *rows]

    def record(self, example: TagExample, prediction: Tagged) -> dict[str, Any]:
        """Return source, text, words, tags and entities."""
        return {"source": example.source, "text": example.text, **asdict(prediction)}

    def submission(self) -> Submission[TagExample, Tagged]:
        """Return CoNLL's form: a word and its tag a line, a blank line behind each sentence."""
        return Submission(lambda example, found: as_columns(example, found.tags))


@dataclass(frozen=True, slots=True)
class _WindowWords:
    """The words of a window: rows of first WordPieces, numbers of labels, and whether their sentence begins and ends here."""

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None
    begins: bool
    ends: bool


def _rows(batch: SampleBatch, device: torch.device) -> Tensor:
    """Return the rows of the batch at which the words stand."""
    offsets = batch.inputs.cu_seqlens.tolist()
    rows = [sample.target.rows + offset for sample, offset in zip(batch.samples, offsets, strict=False)]
    return torch.from_numpy(np.concatenate(rows)).to(device)


def _decide(logits_MC: Tensor, lengths: Sequence[int], head: nn.Module) -> tuple[list[int], list[float]]:
    """Return the label of each word and its probability."""
    assert isinstance(head, TokenHead)
    if head.crf is None:
        probabilities_M, labels_M = logits_MC.softmax(-1).max(-1)
        return labels_M.tolist(), probabilities_M.tolist()
    logits_MC = logits_MC.to(head.crf.transitions.device)
    labels = [label for path in head.crf.viterbi(logits_MC, lengths) for label in path]
    marginals_MC = head.crf.marginals(logits_MC, lengths)
    return labels, marginals_MC[torch.arange(len(labels)), torch.tensor(labels)].tolist()


def _both(gold: Sequence[str], found: Tagged) -> Iterator[tuple[str, str]]:
    return zip(gold, found.tags, strict=True)

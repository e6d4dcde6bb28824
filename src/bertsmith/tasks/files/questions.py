"""Questions on texts that may hold the answer: SQuAD 1.1 and 2.0 files and those made like them, and JSON lines."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from bertsmith.errors import InputError, UsageError
from bertsmith.sources.streams import input_name, known_extension, read_input
from bertsmith.sources.tables import open_table, quoted

Candidates = Annotated[int, pydantic.Field(ge=1)] | Literal["all"]
"""How many paragraphs of an article."""

_FORMATS = {".json": "squad", ".jsonl": "jsonl"}
_EXPECTED = {
    "squad": "SQuAD's JSON is one object whose key 'data' lists articles; for JSON lines, give --format jsonl",
    "jsonl": "JSON lines hold an object with 'question' and 'context' each; for SQuAD's JSON, give --format squad",
}
_KINDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_N_LISTED = 5
_log = logging.getLogger("bertsmith")


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """A gold answer and the character of the context at which it begins; -1 when it does not stand where the file says."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the context to answer it from, and its gold answers.

    ``answers`` is empty where the context holds no answer (SQuAD 2.0's ``is_impossible``), and in unlabelled data. A
    question that has answers of which none is :attr:`trainable` says nothing for training: it is not one without answer.
    ``title`` is that of the article, or empty; ``source`` is ``file: question ID`` or ``file:line``, for messages.
    ``article`` has the texts of all paragraphs of the context's article where the file says which these are, one tuple for
    all of its questions, and ``candidates`` the places in it of the paragraphs to read instead of the context alone.
    """

    id: str
    question: str
    context: str
    answers: tuple[GoldAnswer, ...]
    title: str
    source: str
    article: tuple[str, ...] = ()
    candidates: tuple[int, ...] = ()

    @property
    def trainable(self) -> tuple[GoldAnswer, ...]:
        """The answers that stand in the context where their offset says."""
        return tuple(answer for answer in self.answers if answer.start >= 0)


def read_questions(
    path: str | Path,
    *,
    labelled: bool,
    format: str | None = None,  # noqa: A002
) -> Iterator[Question]:
    """Yield the questions of a file in order; JSON lines are streamed.

    Each file may also be compressed, and ``-`` is standard input. In labelled data every question must say its answers, and
    all of them are yielded, since scores are taken over all. Answers that do not stand where their offset says, or have no
    offset, and questions without words are counted and listed in a warning at the end.

    Args:
        path: a file of SQuAD's JSON (``.json``), or of JSON lines (``.jsonl``) with the keys ``question``, ``context`` and,
            where there are, ``id`` (else "line" and its number), ``title``, ``is_impossible`` and ``answers``; the latter
            as SQuAD has them, or as two lists ``{"text": [...], "answer_start": [...]}``.
        labelled: whether answers are wanted; otherwise they are not looked at.
        format: ``"squad"`` or ``"jsonl"``; by default what the extension says, and JSON lines for standard input.

    Raises:
        InputError: a file that cannot be read as its format; a key that is missing or of a wrong type; two questions with
            one id; no question; and in labelled data a context without words, or no answer in the whole file.
        UsageError: an unknown format.
    """
    ids: set[str] = set()
    question = None
    misplaced: list[str] = []  # the question's id, once for each answer
    wordless: list[str] = []
    any_answer = False
    for question in _read(path, labelled, format):
        if labelled:  # otherwise there may be any number of them, and memory is bounded
            if question.id in ids:
                raise InputError(f"{question.source}: the id {question.id!r} is there twice; give each its own")
            ids.add(question.id)
            if not question.context.strip():
                raise InputError(f"{question.source}: question {question.id!r} has an empty context; remove it")
            any_answer |= bool(question.answers)
            misplaced += [question.id for answer in question.answers if answer.start < 0]
            if not question.question.strip():
                wordless.append(question.id)
        yield question
    if question is None:
        raise InputError(f"{input_name(path)} holds no question")
    if labelled and not any_answer:
        raise InputError(f"{input_name(path)} has no answer to any question; questions with their answers are needed here")
    _warn(path, misplaced, "answers that do not stand where their offset says, of use for scores but not for training")
    _warn(path, wordless, "questions without words")


def _warn(path: str | Path, ids: Sequence[str], what: str) -> None:
    if ids:
        listed = list(dict.fromkeys(ids))
        others = " and others" if len(listed) > _N_LISTED else ""
        _log.warning("%s: %s: %d (questions %s%s)", input_name(path), what, len(ids), ", ".join(listed[:_N_LISTED]), others)


def _read(path: str | Path, labelled: bool, named_format: str | None) -> Iterator[Question]:
    kind = named_format or _format(path)
    if kind not in _EXPECTED:
        raise UsageError(f"--format {kind!r} is unknown; choose one of {', '.join(_EXPECTED)}")
    yield from (_from_squad if kind == "squad" else _from_json_lines)(path, labelled)


def _format(path: str | Path) -> str:
    if str(path) == "-" or str(path).startswith("hub:"):  # the latter is refused when it is read
        return "jsonl"
    return _FORMATS[known_extension(Path(path), _FORMATS, "say what it is with --format squad or jsonl")]


def _from_squad(path: str | Path, labelled: bool) -> Iterator[Question]:
    name = input_name(path)
    articles = _parse("".join(read_input(path)), name)
    for in_article, article in _objects(articles, "data", "article", name):
        title = _field(article, "title", in_article, str, default="")
        paragraphs = list(_objects(article, "paragraphs", "paragraph", in_article))
        contexts = tuple(_field(paragraph, "context", in_paragraph, str) for in_paragraph, paragraph in paragraphs)
        for (in_paragraph, paragraph), context in zip(paragraphs, contexts, strict=True):
            for where, record in _objects(paragraph, "qas", "question", in_paragraph):
                question_id = str(_field(record, "id", where, str, int))
                text = _field(record, "question", where, str)
                answers = _answers(record, context, where) if labelled else ()
                yield Question(question_id, text, context, answers, title, f"{name}: question {question_id}", contexts)


def _from_json_lines(path: str | Path, labelled: bool) -> Iterator[Question]:
    for row in open_table(path, "jsonl").rows:
        record, where = _with_key(row.values, "question", row.source, "jsonl"), row.source
        question_id = str(_field(record, "id", where, str, int, default=f"line {row.line}"))
        text = _field(record, "question", where, str)
        context = _field(record, "context", where, str)
        title = _field(record, "title", where, str, default="")
        answers = _answers(record, context, where) if labelled else ()
        yield Question(question_id, text, context, answers, title, where)


def _parse(text: str, where: str) -> Mapping[str, Any]:
    """Return the object of SQuAD's JSON."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON, or not the whole of it: {error}; {_EXPECTED['squad']}") from None
    if not isinstance(record, dict):
        raise InputError(f"{where} holds {record!r:.60} where an object is expected; {_EXPECTED['squad']}")
    return _with_key(record, "data", where, "squad")


def _with_key(record: Mapping[str, Any], key: str, where: str, kind: str) -> Mapping[str, Any]:
    if key not in record:
        raise InputError(f"{where} has no key {key!r}; its keys are {quoted(record)}; {_EXPECTED[kind]}")
    return record


def _objects(record: Mapping[str, Any], key: str, noun: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects that ``record[key]`` lists, each with its place for messages."""
    for number, value in enumerate(_field(record, key, where, list), start=1):
        here = f"{where}, {noun} {number}"
        if not isinstance(value, dict):
            raise InputError(f"{here} is {value!r:.60} where an object is expected")
        yield here, value


def _field(record: Mapping[str, Any], key: str, where: str, *kinds: type, default: Any = None) -> Any:
    """Return ``record[key]``, checked to be of one of the kinds; ``default``, if any, where it is missing or null.

    Lone surrogates, which JSON can escape but no encoding can carry, become U+FFFD; offsets stay true.
    """
    value = record.get(key)
    if value is None and default is not None:
        return default
    if value is None:
        raise InputError(f"{where} has no key {key!r}; its keys are {quoted(record)}")
    if type(value) not in kinds:
        expected = " or ".join(_KINDS[kind] for kind in kinds)
        raise InputError(f"{where}: the key {key!r} holds {value!r:.60} where {expected} is expected")
    return _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _answers(record: Mapping[str, Any], context: str, where: str) -> tuple[GoldAnswer, ...]:
    """Return the answers of a labelled record; blank ones, with which some files say that there is none, are left out."""
    impossible = _field(record, "is_impossible", where, bool, default=False)
    listed = _field(record, "answers", where, list, dict, default=[] if impossible else None)
    if isinstance(listed, dict):
        listed = _paired(listed, where)
    found: list[GoldAnswer] = []
    for here, answer in _objects({"answers": listed}, "answers", "answer", where):
        text = _field(answer, "text", here, str)
        start = _field(answer, "answer_start", here, int, default=-1)
        if text.strip():
            found.append(GoldAnswer(text, start if start >= 0 and context.startswith(text, start) else -1))
    if impossible and found:
        raise InputError(
            f"{where} is marked is_impossible and yet has the answer {found[0].text!r:.60}; remove one or the other"
        )
    return tuple(found)


def _paired(lists: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Return answers given as two lists, one of texts and one of offsets, in SQuAD's form."""
    texts = _field(lists, "text", where, list)
    starts = _field(lists, "answer_start", where, list, default=[None] * len(texts))
    if len(texts) != len(starts):
        raise InputError(f"{where}: 'answers' has {len(texts)} texts and {len(starts)} offsets; there must be one for each")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]

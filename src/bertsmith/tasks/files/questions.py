"""Questions on texts that may hold the answer: files of SQuAD 1.1 and 2.0, those made like them, CMRC's own, tables."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from bertsmith.errors import InputError, UsageError
from bertsmith.sources.example_tables import RowConfig, read_columns
from bertsmith.sources.streams import input_name, known_extension
from bertsmith.sources.tables import quoted
from bertsmith.sources.written_lists import written_list

Candidates = Annotated[int, pydantic.Field(ge=1)] | Literal["all"]
"""How many paragraphs of an article."""

_TEXT_TABLES = ("csv", "tsv", "xlsx")
_EXTENSIONS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}
_EXTENSIONS |= {f".{name}": name for name in _TEXT_TABLES}
_FORMATS = {"squad": "json", "jsonl": "json", **{name: name for name in ("json", "parquet", "arrow", *_TEXT_TABLES)}}
# Keys, as SQuAD and those who follow it have them and as CMRC was published; the first that an object has is taken.
_CONTEXT = ("context", "context_text", "passage", "paragraph", "text")
_QUESTION, _ID = ("question", "query_text", "query"), ("id", "query_id", "qid")
_ANSWERS, _START = ("answers", "answer", "answer_text"), ("answer_start", "start")
_EXPECTED = "questions come as SQuAD or CMRC has them, or as objects with 'question' and 'context' each"
_KINDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}
# As CJRC and spreadsheets write them.
_TRUTHS = {"true": True, "false": False, "1": True, "0": False, "": False}
_N_LISTED = 5
_log = logging.getLogger("bertsmith")


class QuestionColumns(RowConfig):
    """Which columns or keys of the data hold what."""

    context: str | None = None
    """Column of the text that holds the answer; "context", "passage", "paragraph" and "text" are found by themselves."""
    question: str | None = None
    """Column of the question; found by itself under the usual names."""
    answer: str | None = None
    """Column of the answer; where it stands in the text is looked for, unless a column answer_start says it."""


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
    columns: QuestionColumns = QuestionColumns(),  # noqa: B008 (it never changes)
    *,
    labelled: bool,
    format: str | None = None,  # noqa: A002
) -> Iterator[Question]:
    """Yield the questions of a file in order; those that stand one a line are streamed.

    Each file may also be compressed, and ``-`` is standard input. In labelled data every question must say its answers, and
    all of them are yielded, those with the id of another too. Answers that do not stand where their offset says, answers
    without an offset, questions without words and ids that are there twice are counted and listed in a warning at the end.

    Args:
        path: a file of JSON, Parquet or Arrow: of SQuAD's form, in which DRCD, DuReader and CMRC come too; of CMRC's own
            form; or of objects in an array or one a line with the keys ``question``, ``context`` and, where there are,
            ``id`` (else "line" and its number), ``title``, ``is_impossible`` and ``answers``. Answers are objects as SQuAD
            has them, texts, or two lists ``{"text": [...], "answer_start": [...]}``; or there is one ``answer``, perhaps
            with its ``answer_start``. The same keys are the columns of a CSV, TSV or Excel file.
        columns: other keys or columns than these; how CSV and TSV are written.
        labelled: whether answers are wanted; otherwise they are not looked at.
        format: ``"squad"``, ``"jsonl"`` and ``"json"`` are all JSON, what stands in it says which; ``"parquet"``,
            ``"arrow"``, ``"csv"``, ``"tsv"``, ``"xlsx"``. By default what the extension says, and JSON for standard input.

    Raises:
        InputError: a file that cannot be read as its format; a key that is missing or of a wrong type; no question; and in
            labelled data a context without words, or no answer in the whole file.
        UsageError: an unknown format.
    """
    question = None
    notes = _QuestionNotes()
    any_answer = False
    for question in _read(path, columns, notes if labelled else None, format):
        if labelled:  # otherwise there may be any number of them, and memory is bounded
            if not question.context.strip():
                raise InputError(f"{question.source}: question {question.id!r} has an empty context; remove it")
            any_answer |= bool(question.answers)
            notes.add(question)
        yield question
    if question is None:
        raise InputError(f"{input_name(path)} holds no question")
    if labelled and not any_answer:
        raise InputError(f"{input_name(path)} has no answer to any question; questions with their answers are needed here")
    notes.report(input_name(path))


@dataclass(slots=True)
class _QuestionNotes:
    """The ids of the questions of which something is to be said, once for each answer where it is about these."""

    seen: set[str] = field(default_factory=set)
    twice: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    wordless: list[str] = field(default_factory=list)
    n_placed: int = 0
    ambiguous: list[str] = field(default_factory=list)

    def add(self, question: Question) -> None:
        """Note what is to be said of a question."""
        if question.id in self.seen:
            self.twice.append(question.id)
        self.seen.add(question.id)
        self.misplaced += [question.id for answer in question.answers if answer.start < 0]
        if not question.question.strip():
            self.wordless.append(question.id)

    def placed(self, text: str, context: str, where: str) -> int:
        """Return where an answer without an offset first stands in the context, -1 if it does not, and note it."""
        start = context.find(text)
        self.n_placed += start >= 0
        if start >= 0 and context.find(text, start + 1) >= 0:
            self.ambiguous.append(where)
        return start

    def report(self, name: str) -> None:
        """Say all of it."""
        _warn(
            name,
            self.misplaced,
            "answers that do not stand where their offset says, or without one nowhere in their context, of use for scores but "
            "not for training",
        )
        _warn(name, self.wordless, "questions without words")
        _warn(name, self.twice, "questions with the id of another: all are trained on, and the last of each id is scored")
        if self.n_placed:
            again = f"{len(self.ambiguous)} stand in it again{f', the first {self.ambiguous[0]}' if self.ambiguous else ''}"
            _log.warning(
                "%s: answers without an offset: %d, taken where they first stand in their context; %s",
                name,
                self.n_placed,
                again,
            )


def _warn(name: str, ids: Sequence[str], what: str) -> None:
    if ids:
        listed = list(dict.fromkeys(ids))
        others = " and others" if len(listed) > _N_LISTED else ""
        _log.warning("%s: %s: %d (questions %s%s)", name, what, len(ids), ", ".join(listed[:_N_LISTED]), others)


def _read(
    path: str | Path, columns: QuestionColumns, notes: _QuestionNotes | None, named_format: str | None
) -> Iterator[Question]:
    """Yield the questions, with their answers where there are notes to be taken."""
    if named_format is not None and named_format not in _FORMATS:
        raise UsageError(f"--format {named_format!r} is unknown; choose one of {', '.join(_FORMATS)}")
    table_format = _FORMATS[named_format] if named_format else _format(path)
    known = (*_CONTEXT, *_QUESTION, *_ID, *_ANSWERS, *_START)
    table, columns = read_columns(path, table_format, columns, known, labelled=notes is not None)
    named = {
        "id": columns.id,
        "context": columns.context,
        "question": columns.question,
        "answers": columns.answer if notes else None,
    }
    table.check_columns(context=columns.context, question=columns.question, answer=named["answers"])
    for row in table.rows:
        values = {**row.values, **{key: row.values.get(name) for key, name in named.items() if name is not None}}
        if table_format in _TEXT_TABLES:
            values = _typed(values)
        if "data" in values and _key(values, _QUESTION) not in values:
            for where, article in _objects(values, "data", "article", row.path):
                yield from _of_article(article, where, row.path, notes)
        elif "paragraphs" in values or "qas" in values:
            yield from _of_article(values, row.source, row.path, notes)
        elif _key(values, _QUESTION) not in values:
            raise InputError(f"{row.source} has no key 'question'; its keys are {quoted(values)}; {_EXPECTED}")
        else:
            yield _question(
                values, _field(values, _key(values, _CONTEXT), row.source, str), row.source, f"line {row.line}", notes
            )


def _format(path: str | Path) -> str:
    if str(path) == "-" or str(path).startswith("hub:"):  # the latter is refused when it is read
        return "json"
    return _EXTENSIONS[known_extension(Path(path), _EXTENSIONS, "say what it is with --format squad, jsonl or parquet")]


def _typed(cells: Mapping[str, str]) -> dict[str, Any]:
    """Return the cells of a table of text as JSON would have them: answers that are none left out, offsets as numbers."""
    values: dict[str, Any] = {name: cell for name, cell in cells.items() if cell.strip() or name in (*_CONTEXT, *_QUESTION)}
    answers = _key(values, _ANSWERS)
    values["answers"] = _written(values.pop(answers, ""))
    start = values.get(_key(values, _START), "")
    if start.strip().isdecimal() and len(values["answers"]) == 1:
        values["answer_starts"] = [int(start)]
    return values


def _written(cell: str) -> list[Any] | dict[str, Any]:
    """Return the answers of a cell, which may be JSON or a written list; none of a blank one."""
    if cell[:1] == "{":
        with suppress(ValueError, RecursionError):
            return dict(json.loads(cell))
    listed = written_list(cell)
    if listed is not None and all(isinstance(answer, str) for answer in listed):
        return listed
    return [cell] if cell.strip() else []


def _of_article(article: Mapping[str, Any], where: str, name: str, notes: _QuestionNotes | None) -> Iterator[Question]:
    """Yield the questions on the paragraphs of an article, or on the one that it is."""
    title = _field(article, "title", where, str, default="")
    paragraphs = [(where, article)]
    if "paragraphs" in article or "qas" not in article:
        paragraphs = list(_objects(article, "paragraphs", "paragraph", where))
    contexts = tuple(_field(paragraph, _key(paragraph, _CONTEXT), place, str) for place, paragraph in paragraphs)
    for (in_paragraph, paragraph), context in zip(paragraphs, contexts, strict=True):
        for place, record in _objects(paragraph, "qas", "question", in_paragraph):
            found = _question(record, context, place, place.removeprefix(f"{name}, "), notes)
            yield replace(found, title=title, source=f"{name}: question {found.id}", article=contexts)


def _question(record: Mapping[str, Any], context: str, where: str, default_id: str, notes: _QuestionNotes | None) -> Question:
    question_id = str(_field(record, _key(record, _ID), where, str, int, default=default_id))
    text = _field(record, _key(record, _QUESTION), where, str)
    answers = () if notes is None else _answers(record, context, where, notes)
    return Question(question_id, text, context, answers, _field(record, "title", where, str, default=""), where)


def _key(record: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((name for name in names if name in record), names[0])


def _objects(record: Mapping[str, Any], key: str, noun: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects that ``record[key]`` lists, each with its place for messages."""
    for number, value in enumerate(_field(record, key, where, list), start=1):
        here = f"{where}, {noun} {number}"
        if not isinstance(value, dict):
            raise InputError(f"{here} is {value!r:.60} where an object is expected")
        yield here, value


def _field(record: Mapping[str, Any], key: str, where: str, *kinds: type, default: Any = None) -> Any:
    """Return ``record[key]``, checked to be of one of the kinds; ``default``, if any, where it is missing or null."""
    value = record.get(key)
    if value is None and default is not None:
        return default
    if value is None:
        raise InputError(f"{where} has no key {key!r}; its keys are {quoted(record)}")
    if type(value) not in kinds:
        expected = " or ".join(_KINDS[kind] for kind in kinds)
        raise InputError(f"{where}: the key {key!r} holds {value!r:.60} where {expected} is expected")
    return value


def _answers(record: Mapping[str, Any], context: str, where: str, notes: _QuestionNotes) -> tuple[GoldAnswer, ...]:
    """Return the answers of a labelled record; blank ones, with which some files say that there is none, are left out."""
    said = record.get("is_impossible")
    said = _TRUTHS.get(said.lower(), said) if isinstance(said, str) else said
    impossible = _field({"is_impossible": said}, "is_impossible", where, bool, default=False)
    key = _key(record, _ANSWERS)
    listed = _field(record, key, where, list, dict, str, default=[] if impossible else None)
    if isinstance(listed, str):
        start = record.get(_key(record, _START))
        listed = [{"text": listed, "answer_start": start}]
    starts = _field(record, "answer_starts", where, list, default=[])
    if isinstance(listed, dict):
        listed = _paired(listed, "answer_start", where)
    elif starts:
        listed = _paired({"text": listed, "answer_starts": starts}, "answer_starts", where)
    listed = [{"text": answer} if isinstance(answer, str) else answer for answer in listed]
    found: list[GoldAnswer] = []
    for here, answer in _objects({"answers": listed}, "answers", "answer", where):
        text = _field(answer, "text", here, str)
        start = _field(answer, "answer_start", here, int) if answer.get("answer_start") is not None else None
        if not text.strip():
            continue
        if start is None:
            found.append(GoldAnswer(text, notes.placed(text, context, here)))
        else:
            found.append(GoldAnswer(text, start if start >= 0 and context.startswith(text, start) else -1))
    if impossible and found:
        raise InputError(
            f"{where} is marked is_impossible and yet has the answer {found[0].text!r:.60}; remove one or the other"
        )
    return tuple(found)


def _paired(lists: Mapping[str, Any], starts_key: str, where: str) -> list[dict[str, Any]]:
    """Return answers given as two lists, one of texts and one of offsets, in SQuAD's form."""
    texts = _field(lists, "text", where, list)
    starts = _field(lists, starts_key, where, list, default=[None] * len(texts))
    if len(texts) != len(starts):
        raise InputError(f"{where}: 'answers' has {len(texts)} texts and {len(starts)} offsets; there must be one for each")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]

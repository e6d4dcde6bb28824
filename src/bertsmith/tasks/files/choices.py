"""Questions with choices, one of them right, from tables: the layouts of the usual benchmarks, or columns named."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from bertsmith.errors import InputError
from bertsmith.sources.example_tables import RowConfig, id_of, read_columns
from bertsmith.sources.tables import Record, Table, quoted
from bertsmith.sources.written_lists import written_list
from bertsmith.tasks.files.labels import class_name

# Names of columns; the first that a table has is taken.
_PROMPTS = ("prompt", "ctx", "article", "premise", "context", "goal", "sent1", "passage", "sentence")
_QUESTIONS = ("question", "questions", "question_stem", "sent2")
_LISTS = ("choices", "endings", "options")
_LABELS = ("label", "answerKey", "answer", "answers")
_IDS = ("id", "fold-ind", "ind", "idx")
_KNOWN = {*_PROMPTS, *_QUESTIONS, *_LISTS, *_LABELS, *_IDS}
_NUMBERED = re.compile(r"(ending|choice|option|answer|sol)_?(\d+|[A-H])|()([A-H])")
# Benchmarks whose labels count from 1, known by a column: Social IQa and WinoGrande.
_COUNTED_FROM_ONE = ("answerA", "option1")
# COPA's two kinds of question, in its own words.
_COPA = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}


class ChoiceColumns(RowConfig):
    """Which columns of the data hold what."""

    prompt: str | None = None
    """Column of the text before the choices; found by itself in the layouts of the usual benchmarks."""
    question: str | None = None
    """Column of a question that is put before each choice, if there is one besides the prompt."""
    choices: str | None = None
    """Column of the list of choices, or the columns of a choice each, with commas between their names."""
    label: str | None = None
    """Column of the right choice: its number, its letter or its text."""
    first_number: int | None = pydantic.Field(default=None, ge=0, le=1)
    """The number of the first choice; 0 unless the layout is known to count from 1."""


@dataclass(frozen=True, slots=True)
class ChoiceExample:
    """A prompt, what may follow it or answer it, and the number of the right choice from 0 (None where it is not known)."""

    prompt: str
    choices: tuple[str, ...]
    label: int | None
    id: str
    source: str


def read_choices(
    path: str | Path,
    columns: ChoiceColumns,
    *,
    labelled: bool,
    format: str | None = None,  # noqa: A002
) -> Iterator[ChoiceExample]:
    """Open a table (see :func:`~bertsmith.sources.example_tables.read_table`) and return its questions, read as asked for.

    A row may also hold several questions on one text, in lists, as RACE does.

    Raises:
        InputError: as ``read_table``; columns are missing, here; from the examples, what is no question, or an impossible
            label.
        UsageError: as ``read_table``.
    """
    table, columns = read_columns(path, format, columns, _KNOWN, labelled=labelled)
    chosen = _choose(table, columns, labelled)
    rows = table.with_columns(chosen.prompt, chosen.question, *chosen.choices, chosen.label, columns.id, *_IDS)
    return (example for number, record in enumerate(rows) for example in _examples(record, chosen, number))


# Which columns.


@dataclass(frozen=True, slots=True)
class _ChoicePlaces:
    """The columns to read; ``label`` is None where labels are not asked for."""

    prompt: str
    question: str | None
    choices: tuple[str, ...]
    label: str | None
    first_number: int
    config: ChoiceColumns


def _choose(table: Table, columns: ChoiceColumns, labelled: bool) -> _ChoicePlaces:
    table.check_columns(prompt=columns.prompt, question=columns.question, label=columns.label if labelled else None)
    prompt, question = columns.prompt or _first(_PROMPTS, table), columns.question
    if question is None and columns.prompt is None:
        question = _first(_QUESTIONS, table)
    choices = _choice_columns(table, columns)
    if not choices and question == "question":
        choices = (question,)  # ARC: an object of the question and its choices
    label = (columns.label or _first(_LABELS, table)) if labelled else None
    if not (prompt or question) or not choices or (labelled and label is None):
        raise InputError(
            f"{table.path}: its columns {quoted(table.columns)} are not known to hold a prompt, choices and a label; say which "
            "with --prompt, --choices and --label"
        )
    counted_from_one = any(name in choices for name in _COUNTED_FROM_ONE) and columns.choices is None
    first_number = int(counted_from_one) if columns.first_number is None else columns.first_number
    return _ChoicePlaces(prompt or question or "", question if prompt else None, choices, label, first_number, columns)


def _first(names: Iterable[str], table: Table) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _choice_columns(table: Table, columns: ChoiceColumns) -> tuple[str, ...]:
    if columns.choices is not None:
        names = [columns.choices] if columns.choices in table.columns else [name.strip() for name in columns.choices.split(",")]
        for name in names:
            table.check_columns(choices=name)
        return tuple(names)
    if (listed := _first(_LISTS, table)) is not None:
        return (listed,)
    numbered = [match for name in table.columns if (match := _NUMBERED.fullmatch(name))]
    own = [match[0] for match in numbered if match[1] == numbered[0][1]]
    return tuple(sorted(own, key=lambda name: (len(name), name)))


# Examples.


def _examples(record: Record, chosen: _ChoicePlaces, number: int) -> Iterator[ChoiceExample]:
    """Yield the question of a row, or each of those that stand in lists."""
    values = record.values
    row_id = id_of(values, chosen.config, number, _IDS)
    questions = values.get(chosen.question or chosen.prompt)
    if not isinstance(questions, list):
        yield _example(record, chosen, values, row_id)
        return
    columns = [name for name in (chosen.question or chosen.prompt, *chosen.choices, chosen.label) if name is not None]
    lists = [values.get(name) for name in columns]
    if not all(isinstance(one, list) and len(one) == len(questions) for one in lists):
        raise InputError(f"{record.source}: {quoted(columns)} must be lists of one length, one entry a question")
    for place, own in enumerate(zip(*lists, strict=True)):
        yield _example(record, chosen, {**values, **dict(zip(columns, own, strict=True))}, f"{row_id}-{place}")


def _example(record: Record, chosen: _ChoicePlaces, values: Mapping[str, Any], example_id: str) -> ChoiceExample:
    prompt, question = values.get(chosen.prompt), values.get(chosen.question or "") or ""
    if isinstance(prompt, dict):
        prompt = prompt.get("stem")
    if isinstance(question, dict):
        question = question.get("stem")
    choices, marks = _choices_of(values, chosen)
    if not isinstance(prompt, str) or not isinstance(question, str) or not all(isinstance(one, str) for one in choices):
        raise InputError(
            f"{record.source}: a question has a text under {chosen.prompt!r} and a list of texts, or a text each, under "
            f"{quoted(chosen.choices)}; this has {', '.join(f'{name}: {value!r:.40}' for name, value in values.items())}"
        )
    if len(choices) < 2:
        raise InputError(f"{record.source} has {len(choices)} choice(s); a question needs two or more")
    label = None if chosen.label is None else _number(record.source, values.get(chosen.label), choices, marks, chosen)
    question = _COPA.get(question, question)
    return ChoiceExample(prompt, tuple(_joined(question, one) for one in choices), label, example_id, record.source)


def _joined(question: str, choice: str) -> str:
    """Put the question before a choice, or the choice into the question's blank."""
    return question.replace("_", choice) if "_" in question else f"{question} {choice}".strip()


def _choices_of(values: Mapping[str, Any], chosen: _ChoicePlaces) -> tuple[list[Any], list[str]]:
    """Return the choices and, where the file names these, what it calls them."""
    if len(chosen.choices) > 1:
        choices = [values.get(name) for name in chosen.choices]
        while choices and choices[-1] in ("", None):  # some questions have fewer than others
            choices.pop()
        return choices, []
    value = values.get(chosen.choices[0])
    if isinstance(value, dict) and "stem" in value:
        value = value.get("choices")
    if isinstance(value, str):
        value = written_list(value)
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [one.get("text") for one in value], [str(one.get("label")) for one in value]
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        marks = value.get("label")
        return value["text"], [str(mark) for mark in marks] if isinstance(marks, list) else []
    if isinstance(value, dict):
        return list(value.values()), list(value)
    return (value, []) if isinstance(value, list) else ([None], [])


def _number(source: str, written: Any, choices: Sequence[str], marks: Sequence[str], chosen: _ChoicePlaces) -> int:
    """Return the number from 0 of the choice that a label means."""
    if written is None or written == "":
        raise InputError(f"{source} has no label; write the number of the right choice, from 0, under {chosen.label}")
    text, n_choices = class_name(str(written)), len(choices)
    if text in marks:
        return marks.index(text)
    if text.isdecimal() and chosen.first_number <= int(text) < n_choices + chosen.first_number:
        return int(text) - chosen.first_number
    if len(text) == 1 and 0 <= (place := ord(text.upper()) - ord("A")) < n_choices:
        return place
    if list(choices).count(str(written)) == 1:
        return list(choices).index(str(written))
    hint = "; if the first one is 1, give --first-number 1" if text == str(n_choices) else ""
    last = n_choices - 1 + chosen.first_number
    raise InputError(
        f"{source}: the label {written!r} is no number of a choice: {chosen.first_number} to {last}, and no letter or text of "
        f"one{hint}"
    )

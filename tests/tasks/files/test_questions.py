"""Reading questions: the formats, and what is said about files that deviate from them."""

import csv
import gzip
import io
import json
import logging
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from bertsmith.errors import InputError, UsageError
from bertsmith.tasks.files.questions import GoldAnswer, Question, QuestionColumns, read_questions

CONTEXT = "北京 is the capital of China."
ANSWER = {"text": "China", "answer_start": 21}
DATA = Path(__file__).parents[4] / "shared" / "data" / "tasks"


def record(**changes: Any) -> dict[str, Any]:
    """Return a question as SQuAD has it; a change to None takes the key away."""
    values = {"id": "q1", "question": "Where is it?", "answers": [ANSWER]} | changes
    return {key: value for key, value in values.items() if value is not None}


def squad(*records: dict[str, Any], context: Any = CONTEXT, **article: Any) -> str:
    paragraph = {"context": context, "qas": list(records)}
    return json.dumps({"version": "1.1", "data": [{"title": "Capitals", "paragraphs": [paragraph]} | article]})


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps({"context": CONTEXT} | one) + "\n" for one in records)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Question]]:
    def written_and_read(content: str | bytes, name: str = "dev.json", labelled: bool = True, **options: Any) -> list[Question]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_questions(path, labelled=labelled, **options))

    return written_and_read


Read = Callable[..., list[Question]]


# What is read.


def test_squad(read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    impossible = record(id="q2", answers=[], is_impossible=True, plausible_answers=[ANSWER])
    found = read(squad(record(is_impossible=False), impossible))
    answers = (GoldAnswer("China", 21),)
    path = tmp_path / "dev.json"
    assert found == [
        Question("q1", "Where is it?", CONTEXT, answers, "Capitals", f"{path}: question q1", (CONTEXT,)),
        Question("q2", "Where is it?", CONTEXT, (), "Capitals", f"{path}: question q2", (CONTEXT,)),
    ]
    assert found[0].trainable == answers
    assert not caplog.records


def test_json_lines(read: Read, tmp_path: Path) -> None:
    hub = {"text": ["China", "北京"], "answer_start": [21, 0]}
    text = "\n" + lines(record(id=None), record(answers=hub, title="Capitals"), record(id=7, answers={"text": []}))
    found = read(text, "dev.jsonl")
    path = tmp_path / "dev.jsonl"
    assert [(one.id, one.title, one.source) for one in found] == [
        ("line 2", "", f"{path}:2"),
        ("q1", "Capitals", f"{path}:3"),
        ("7", "", f"{path}:4"),
    ]
    assert [one.answers for one in found] == [(GoldAnswer("China", 21),), (GoldAnswer("China", 21), GoldAnswer("北京", 0)), ()]


def test_questions_without_ids_stand_beside_those_with_numbers(read: Read) -> None:
    assert [one.id for one in read(lines(record(id=2), record(id=None), record(id=3)), "dev.jsonl")] == ["2", "line 2", "3"]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".xz", lzma.compress), (".zst", lambda data: pyarrow.compress(data, "zstd", asbytes=True))],
)
def test_compressed(read: Read, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    assert read(compress(squad(record()).encode()), f"dev.json{suffix}")[0].answers == (GoldAnswer("China", 21),)
    assert read(compress(lines(record()).encode()), f"dev.jsonl{suffix}")[0].answers == (GoldAnswer("China", 21),)


@pytest.mark.parametrize(("format", "content"), [(None, lines(record())), ("squad", "\ufeff" + squad(record()))])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, format: str | None, content: str) -> None:  # noqa: A002
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode()), "ascii"))
    (question,) = read_questions("-", labelled=True, format=format)
    assert question.answers == (GoldAnswer("China", 21),)
    assert question.context == CONTEXT
    assert question.source.startswith("standard input:")


def test_json_lines_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO((lines(record()) + "{").encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream, "utf-8"))
    questions = read_questions("-", labelled=True)
    assert next(questions).id == "q1"
    with pytest.raises(InputError, match="standard input:2 is not valid JSON"):
        next(questions)


def test_the_format_given_overrides_the_extension(read: Read) -> None:
    assert read(lines(record()), "dev.json", format="jsonl")[0].id == "q1"
    assert read(squad(record()), "dev.txt", format="squad")[0].id == "q1"


CMRC = {"context_id": "T", "context_text": "挪威在北欧。北欧很冷。", "title": "挪威"}


def test_cmrc_as_it_was_published(read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    qas = [
        {"query_id": "T1", "query_text": "挪威在哪里？", "answers": ["北欧", "在北欧", "南欧"]},
        {"query_id": "T2", "query_text": "冷吗？", "answers": ["很冷"]},
    ]
    for indent in (None, 1):
        first, second = read(json.dumps([CMRC | {"qas": qas}], ensure_ascii=False, indent=indent))
        assert (first.id, first.question, first.context, first.title) == ("T1", "挪威在哪里？", CMRC["context_text"], "挪威")
        assert first.answers == (GoldAnswer("北欧", 3), GoldAnswer("在北欧", 2), GoldAnswer("南欧", -1))
        assert first.source == f"{tmp_path / 'dev.json'}: question T1"
        assert second.answers == (GoldAnswer("很冷", 8),)
    misplaced, placed = caplog.messages[-2:]
    assert misplaced.endswith("of use for scores but not for training: 1 (questions T1)")
    assert placed.endswith(
        "answers without an offset: 3, taken where they first stand in their context; 1 stand in it again",
        0,
        placed.index(", the first "),
    )
    assert placed.endswith("dev.json:2, question 1, answer 1")


@pytest.mark.parametrize("name", ["dev.json", "dev.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
def test_what_stands_in_json_says_which_form_it_has(read: Read, name: str, indent: int | None) -> None:
    flat = [record(context=CONTEXT), record(context=CONTEXT, id="q2")]
    article = json.loads(squad(*(record(id=one["id"]) for one in flat)))["data"][0]
    forms: list[Any] = [{"data": [article]}, [article], {"data": article["paragraphs"]}, article["paragraphs"], flat]
    for form in forms:
        found = read(json.dumps(form, indent=indent), name)
        assert [(one.id, one.context, one.trainable) for one in found] == [
            (one, CONTEXT, (GoldAnswer("China", 21),)) for one in ("q1", "q2")
        ]
    assert [one.id for one in read("\n".join(json.dumps(one, indent=indent) for one in flat), name)] == ["q1", "q2"]


def test_parquet(tmp_path: Path) -> None:
    row = record(context=CONTEXT, title="Capitals", answers={"text": ["China"], "answer_start": [21]})
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "dev.parquet")
    (question,) = read_questions(tmp_path / "dev.parquet", labelled=True)
    assert (question.id, question.title, question.trainable) == ("q1", "Capitals", (GoldAnswer("China", 21),))


@pytest.mark.parametrize(
    "changes",
    [
        {"answers": ["China"]},
        {"answers": [{"text": "China"}]},
        {"answers": [{"text": "China", "answer_start": None}]},
        {"answers": {"text": ["China"]}},
        {"answers": ["China"], "answer_starts": [21]},
        {"answers": ["", "China"], "is_impossible": "false"},
    ],
)
def test_spellings_of_answers(read: Read, changes: dict[str, Any]) -> None:
    for content, name in ((squad(record(**changes)), "a.json"), (lines(record(**changes)), "a.jsonl")):
        assert read(content, name)[0].trainable == (GoldAnswer("China", 21),)
    (_, impossible) = read(squad(record(), record(answers=[], is_impossible="True")))
    assert impossible.answers == ()


def test_questions_need_no_ids(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    found = read(squad(record(id=None), record(id=None)))
    assert [one.id for one in found] == [f"article 1, paragraph 1, question {number}" for number in (1, 2)]
    assert not caplog.messages
    assert [one.id for one in read(squad(record(), record(question="Why?"), record(id=1), record(id="1")))] == [
        "q1",
        "q1",
        "1",
        "1",
    ]
    assert [message.partition("dev.json: ")[2] for message in caplog.messages] == [
        "questions with the id of another: all are trained on, and the last of each id is scored: 2 (questions q1, 1)"
    ]


def test_unlabelled(read: Read) -> None:
    content = squad(record(answers=None), record(id="q2", question="", answers=7), context="")
    assert [(one.question, one.context, one.answers) for one in read(content, labelled=False)] == [
        ("Where is it?", "", ()),
        ("", "", ()),
    ]


def test_numbers_as_ids_and_no_title(read: Read) -> None:
    (question,) = read(squad(record(id=3), title=None))
    assert (question.id, question.title) == ("3", "")


def test_blank_answers_mean_none(read: Read) -> None:
    blank = {"text": "", "answer_start": -1}
    found = read(
        squad(record(), record(id="q2", answers=[blank], is_impossible=True), record(id="q3", answers=[blank, ANSWER]))
    )
    assert [len(one.answers) for one in found] == [1, 0, 1]


def test_lone_surrogates_are_replaced_in_place(read: Read) -> None:
    (question,) = read(squad(record(answers=[{"text": "b\ud800", "answer_start": 2}]), context="a\udc00b\ud800"))
    assert question.context == "a\ufffdb\ufffd"
    assert question.trainable == (GoldAnswer("b\ufffd", 2),)


# Answers that do not stand where they should.


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "China", "answer_start": 20},
        {"text": "China", "answer_start": 22},
        {"text": "China ", "answer_start": 21},
        {"text": "china", "answer_start": 21},
        {"text": "China", "answer_start": 10**30},
        {"text": "China.", "answer_start": -6},
    ],
)
def test_misplaced_answers_are_kept_for_scores_alone(
    read: Read, caplog: pytest.LogCaptureFixture, answer: dict[str, Any]
) -> None:
    (question,) = read(squad(record(answers=[answer, ANSWER])))
    assert question.answers == (GoldAnswer(answer["text"], -1), GoldAnswer("China", 21))
    assert question.trainable == (GoldAnswer("China", 21),)
    (warning,) = caplog.records
    assert (warning.name, warning.levelno) == ("bertsmith", logging.WARNING)
    assert "dev.json: answers that do not stand where their offset says" in warning.message
    assert warning.message.endswith(": 1 (questions q1)")


def test_the_warning_counts_answers_and_lists_five_questions(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    wrong = {"text": "China", "answer_start": 0}
    found = read(squad(*(record(id=f"q{i}", answers=[wrong, wrong]) for i in range(6))))
    assert [one.trainable for one in found] == [()] * 6
    assert ": 12 (questions q0, q1, q2, q3, q4 and others)" in caplog.text


def test_questions_without_words_are_listed(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read(squad(record(), record(id="q2", question=" ")))) == 2
    assert "dev.json: questions without words: 1 (questions q2)" in caplog.text


# What cannot be read.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (squad(record(), record(question=None)), r"article 1, paragraph 1, question 2 has no key 'question'"),
        (squad(record(answers=None)), r"question 1 has no key 'answers'"),
        (squad(record(), context=None), r"article 1, paragraph 1 has no key 'context'"),
        (squad(record(), paragraphs=None), r"article 1 has no key 'paragraphs'"),
        (squad(record(question=["x"])), r"question 1: the key 'question' holds \['x'\] where text is expected"),
        (squad(record(id=1.5)), r"the key 'id' holds 1\.5 where text or a whole number is expected"),
        (squad(record(is_impossible="no")), r"the key 'is_impossible' holds 'no' where true or false is expected"),
        (squad(record(answers=7)), r"the key 'answers' holds 7 where a list or an object or text is expected"),
        (squad(record(answers=[{"text": "China", "answer_start": "21"}])), r"answer 1: the key 'answer_start' holds '21'"),
        (squad(record(answers=[{"text": "China", "answer_start": True}])), r"holds True where a whole number is expected"),
        (squad(record(answers=[{"answer_start": 21}])), r"question 1, answer 1 has no key 'text'"),
        (squad(record(answers={"text": ["China"], "answer_start": []})), r"has 1 texts and 0 offsets"),
        (squad(record(is_impossible=True)), r"marked is_impossible and yet has the answer 'China'"),
        (squad(record(), paragraphs=[7]), r"article 1, paragraph 1 is 7 where an object is expected"),
        (squad(record(), context=" "), r"question 'q1' has an empty context"),
        (squad(record(answers=[])), r"dev\.json has no answer to any question"),
        (squad(), r"dev\.json holds no question"),
        (squad(record())[:-9], r"dev\.json:1 is not valid JSON: .*: the text ends there"),
        (squad(record(answers=[7])), r"question 1, answer 1 is 7 where an object is expected"),
        (squad(record(answers=["China"], answer_starts=[1, 2])), r"has 1 texts and 2 offsets"),
        ("[]", r"dev\.json holds no rows"),
        (
            '{"rows": 1}',
            r"dev\.json:1 has no key 'question'; its keys are 'rows'; questions come as SQuAD or CMRC has them, or",
        ),
        ("", r"dev\.json holds no rows"),
        ("[" * 100_000, r"dev\.json:1 is not valid JSON"),
        ('{"data": ' + "1" * 5000 + "}", r"dev\.json:1 is not valid JSON"),
        (b'{"data": "\xff"}', r"dev\.json:1: invalid UTF-8 at byte 10"),
    ],
)
def test_bad_squad(read: Read, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines(record()) + "{", r"dev\.jsonl:2 is not valid JSON"),
        ("7\n", r"dev\.jsonl:1 holds 7 where a JSON object is expected"),
        (lines(record(context=7)), r"dev\.jsonl:1: the key 'context' holds 7 where text is expected"),
        (lines(record(answers=None)), r"dev\.jsonl:1 has no key 'answers'"),
        ("\n \n", r"dev\.jsonl holds no rows"),
    ],
)
def test_bad_json_lines(read: Read, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content, "dev.jsonl")


def test_bad_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8"))
    with pytest.raises(InputError, match="standard input:1: invalid UTF-8 at byte 0 of the line"):
        list(read_questions("-", labelled=False))


def test_unknown_formats(read: Read) -> None:
    with pytest.raises(
        InputError,
        match=r"dev\.txt has no extension that says how to read it: known are \.json \.jsonl .*--format squad, jsonl or",
    ):
        read(squad(record()), "dev.txt")
    with pytest.raises(UsageError, match="--format 'xml' is unknown; choose one of squad, jsonl"):
        read(squad(record()), format="xml")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json does not exist; check its name"):
        list(read_questions(tmp_path / "none.json", labelled=True))


# The real files.


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize(
    ("name", "n_questions", "n_answers", "n_misplaced"),
    [
        ("xquad/xquad.en.json", 1190, 1190, 0),
        ("drcd/DRCD_dev.json", 3524, 7048, 0),
        ("drcd/DRCD_test.json", 3493, 6986, 0),
        ("cmrc2018/cmrc2018_trial.json", 1002, 1002, 5),
    ],
)
def test_real_files(caplog: pytest.LogCaptureFixture, name: str, n_questions: int, n_answers: int, n_misplaced: int) -> None:
    found = list(read_questions(DATA / name, labelled=True))
    assert len(found) == n_questions
    assert sum(len(one.answers) for one in found) == n_answers
    assert sum(len(one.trainable) for one in found) == n_answers - n_misplaced
    for one in found:
        assert all(one.context[answer.start :].startswith(answer.text) for answer in one.trainable)
    warnings = [warning.message for warning in caplog.records if "offset" in warning.message]
    assert [f"for training: {n_misplaced} (questions " in message for message in warnings] == [True] * (n_misplaced > 0)
    assert [one.question for one in read_questions(DATA / name, labelled=False)] == [one.question for one in found]


# Tables.


@pytest.mark.parametrize("name", ["dev.csv", "dev.tsv"])
def test_answers_as_columns(read: Read, name: str, caplog: pytest.LogCaptureFixture) -> None:
    rows = ["text;question;answer", "ab cd ab;what?;cd", "ab cd ab;what?;ab", "ab cd;what?;ef", "ab cd;what?;"]
    content = "\n".join(row.replace(";", "\t") if name == "dev.tsv" else row for row in rows)
    found = read(content, name)
    assert [(one.context, one.question) for one in found[:2]] == [("ab cd ab", "what?")] * 2
    answers = [(GoldAnswer("cd", 3),), (GoldAnswer("ab", 0),), (GoldAnswer("ef", -1),), ()]
    assert [one.answers for one in found] == answers
    assert found[0].id == "line 2"
    misplaced, placed = caplog.messages
    assert "without one nowhere in their context" in misplaced and misplaced.endswith("1 (questions line 4)")
    assert "answers without an offset: 2, " in placed and placed.endswith(
        f"1 stand in it again, the first {found[1].source}, answer 1"
    )


@pytest.mark.parametrize(
    ("cells", "answers"),
    [
        ({"answer": "ab", "answer_start": "6"}, [("ab", 6)]),
        ({"answers": '["ab", "cd"]'}, [("ab", 0), ("cd", 3)]),
        ({"answers": '{"text": ["ab"], "answer_start": [6]}'}, [("ab", 6)]),
        ({"answers": "", "is_impossible": "TRUE"}, []),
        ({"answer": "[1]"}, [("[1]", -1)]),
    ],
)
def test_spellings_of_answers_in_cells(read: Read, cells: dict[str, str], answers: list[tuple[str, int]]) -> None:
    rows = [{"context": "ab cd ab", "question": "what?", **cells}, {"context": "x", "question": "y", "answer": "x"}]
    names = list(dict.fromkeys(name for row in rows for name in row if name != "answer" or "answers" not in cells))
    rows[1] = {name: rows[1].get(name, rows[1]["answer"] if name == "answers" else "") for name in names}
    stream = io.StringIO()
    csv.writer(stream).writerows([names, *([row[name] for name in names] for row in rows)])
    found = read(stream.getvalue(), "dev.csv")[0]
    assert [(one.text, one.start) for one in found.answers] == answers


def test_columns_of_answers_that_are_named(read: Read) -> None:
    columns = QuestionColumns(context="2", question="1", answer="3", header=False)
    (found,) = read("what?,ab cd,cd\n", "dev.csv", columns=columns)
    assert (found.question, found.context, found.answers) == ("what?", "ab cd", (GoldAnswer("cd", 3),))
    with pytest.raises(InputError, match=r"has no column 'reply'; .* choose one with --answer"):
        read("question,context,answer\nwhat?,ab cd,cd\n", "dev.csv", columns=QuestionColumns(answer="reply"))
    (found,) = read(json.dumps({"q": "what?", "body": "ab cd", "reply": "cd"}), "a.jsonl", columns=NAMED)
    assert found.answers == (GoldAnswer("cd", 3),)


NAMED = QuestionColumns(context="body", question="q", answer="reply")

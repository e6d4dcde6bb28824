"""How examples are held out: strata in all parts, what belongs together in one."""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import BertsmithError, InputError
from bertsmith.finetuning.grid import LabelledFiles
from bertsmith.finetuning.splits import Splitter, hold_out
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.task import Task

Parts = tuple[list[Any], list[Any], str]


@pytest.fixture
def held_out(tmp_path: Path) -> Callable[..., Parts]:
    def split(task: Task, name: str, text: str, **files: Any) -> Parts:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        examples = list(task.read(path, labelled=True))
        return hold_out(task.fitted(examples), examples, LabelledFiles(train=str(path), **files))

    return split


def rows(*lines: Sequence[Any], names: str) -> str:
    return "".join("\t".join(map(str, line)) + "\n" for line in (names.split(), *lines))


def json_rows(values: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def together(parts: Parts, group: Callable[[Any], Hashable]) -> bool:
    """Say whether both parts have examples, and no group is in both."""
    train, dev = ({group(example) for example in part} for part in parts[:2])
    return bool(train and dev) and not train & dev


# Strata.


def test_a_rare_class_is_in_both_parts(held_out: Callable[..., Parts]) -> None:
    lines = [(f"text {place}", "rare" if place in (10, 50, 90) else "usual") for place in range(98)]
    train, dev, how = held_out(Classify(), "train.tsv", rows(*lines, names="text label"))
    assert [Counter(example.label for example in part)["rare"] for part in (train, dev)] == [2, 1]
    assert 10 <= len(dev) <= 11
    assert how == "stratified by label, equal texts in one part"


def test_each_class_has_its_share(held_out: Callable[..., Parts]) -> None:
    lines = [(f"text {place}", "abc"[place % 10 // 4]) for place in range(400)]
    _, dev, _ = held_out(Classify(), "train.tsv", rows(*lines, names="text label"), dev_share=0.2)
    assert Counter(example.label for example in dev) == {"a": 32, "b": 32, "c": 16}


def test_rare_labels_among_several_are_in_both_parts(held_out: Callable[..., Parts]) -> None:
    values = [{"text": f"text {place}", "labels": ["x"] + ["rare"] * (place % 40 == 0)} for place in range(160)]
    train, dev, _ = held_out(Multilabel(), "train.jsonl", json_rows(values))
    assert 14 <= len(dev) <= 18
    assert sum("rare" in example.label for example in dev) == 1 and sum("rare" in example.label for example in train) == 3


def test_numbers_are_held_out_over_their_range(held_out: Callable[..., Parts]) -> None:
    lines = [(f"text {place}", place * place) for place in range(100)]
    _, dev, how = held_out(Regress(), "train.tsv", rows(*lines, names="text label"))
    assert {int(float(example.label) ** 0.5) // 10 for example in dev} == set(range(10)) and len(dev) == 10
    assert how.startswith("stratified by size of the number, ")


def test_types_of_entities_are_in_both_parts(held_out: Callable[..., Parts]) -> None:
    sentences = [f"word{place} {'B-RARE' if place in (3, 4) else 'B-USUAL'}\nis O\n" for place in range(60)]
    parts = held_out(Tag(), "train.conll", "\n".join(sentences))
    assert all(any("B-RARE" in example.tags for example in part) for part in parts[:2])


# What belongs together.


TEXTS = rows(*[(f"text {place % 25}", "ab"[place % 25 % 2]) for place in range(100)], names="text label")
PAIRS = rows(*[(f"one {place % 25}", f"other {place % 25}") for place in range(100)], names="anchor positive")
CHOICES = json_rows(
    [{"prompt": f"what {place % 20}?", "choices": [f"a{place}", f"b{place}"], "label": 0} for place in range(80)]
)
QUERIES = json_rows(
    [{"query": f"who {place % 20}?", "candidates": [f"a{place}", "b"], "labels": [1, 0]} for place in range(80)]
)
QUESTIONS = json_rows(
    [
        {"id": f"{place}", "question": f"what {place}?", "context": f"it is so {place % 20}", "answers": ["so"]}
        for place in range(80)
    ]
)
SENTENCES = "\n".join(f"word{place % 25} B-X\nis O\n" for place in range(100))
DOCUMENTS = "\n".join(("-DOCSTART- -X-\n\n" if place % 5 == 0 else "") + f"word{place} B-X\nis O\n" for place in range(100))


@pytest.mark.parametrize(
    ("task", "name", "text", "group", "said"),
    [
        (Classify(), "train.tsv", TEXTS, lambda one: one.text, "equal texts in one part"),
        (Embed(), "train.tsv", PAIRS, lambda one: one.texts, "equal texts in one part"),
        (Choose(), "train.jsonl", CHOICES, lambda one: one.prompt, "each prompt in one part"),
        (Rank(), "train.jsonl", QUERIES, lambda one: one.query, "each query in one part"),
        (Answer(), "train.jsonl", QUESTIONS, lambda one: one.context, "each paragraph in one part"),
        (Tag(), "train.conll", SENTENCES, lambda one: one.words, "equal texts in one part"),
        (Tag(), "train.conll", DOCUMENTS, lambda one: one.document, "each document in one part"),
    ],
)
def test_what_belongs_together_is_in_one_part(
    held_out: Callable[..., Parts], task: Task, name: str, text: str, group: Callable[[Any], Hashable], said: str
) -> None:
    parts = held_out(task, name, text)
    assert together(parts, group) and said in parts[2]
    assert 0.05 <= len(parts[1]) / (len(parts[0]) + len(parts[1])) <= 0.15


def test_one_prompt_of_all_rows_does_not_keep_them_together(held_out: Callable[..., Parts]) -> None:
    values = [{"prompt": "which?", "choices": [f"a{place % 10}", f"b{place % 10}"], "label": 0} for place in range(40)]
    parts = held_out(Choose(), "train.jsonl", json_rows(values))
    assert together(parts, lambda one: one.choices) and "prompt" not in parts[2]


def test_a_column_keeps_its_rows_together(held_out: Callable[..., Parts]) -> None:
    lines = [(f"text {place}", "ab"[place % 2], f"p{place % 10}") for place in range(100)]
    parts = held_out(Classify(), "train.tsv", rows(*lines, names="text label patient"), group="patient")
    assert together(parts, lambda one: int(one.text.split()[1]) % 10) and len(parts[1]) == 10
    assert "each patient in one part" in parts[2]


def test_rows_without_a_value_in_the_column_are_alone(held_out: Callable[..., Parts]) -> None:
    lines = [(f"text {place}", "ab"[place % 2], "") for place in range(100)]
    assert len(held_out(Classify(), "train.tsv", rows(*lines, names="text label patient"), group="patient")[1]) == 10


@pytest.mark.parametrize(
    ("name", "text", "task", "message"),
    [
        ("train.tsv", TEXTS, Classify(), "'author'"),
        ("train.conll", SENTENCES, Tag(), "author"),
        ("train.jsonl", QUESTIONS, Answer(), "'author'"),
    ],
)
def test_a_column_that_is_not_there_is_refused(
    held_out: Callable[..., Parts], name: str, text: str, task: Task, message: str
) -> None:
    with pytest.raises(BertsmithError, match=message):
        held_out(task, name, text, group="author")


def test_examples_that_all_belong_together_are_refused(held_out: Callable[..., Parts]) -> None:
    lines = [(f"text {place}", "ab"[place % 2], "p") for place in range(10)]
    with pytest.raises(InputError, match=r"10 example\(s\) that belong together .*each patient in one part.*give a --dev file"):
        held_out(Classify(), "train.tsv", rows(*lines, names="text label patient"), group="patient")


def test_folds_share_out_all_examples_and_each_class(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(TEXTS, encoding="utf-8")
    examples = list(Classify().read(path, labelled=True))
    parts = Splitter.of(Classify(labels=("a", "b")), examples, LabelledFiles(train=str(path))).parts([0.2] * 5)
    assert sorted(place for part in parts for place in part) == list(range(100))
    assert all(18 <= len(part) <= 22 and {examples[place].label for place in part} == {"a", "b"} for part in parts)
    texts = [{examples[place].text for place in part} for part in parts]
    assert sum(map(len, texts)) == 25

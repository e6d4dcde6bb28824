"""Labelled toy data of every task, runs that are stopped at a step, and what is compared of two runs."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TIMINGS = {"tokens_per_second", "utilisation", "seconds"}


class Crash(BaseException):
    """Stands for SIGKILL: nothing in the package handles it, so what is on the disk is all that is left."""


@pytest.fixture
def crash_at(at: Callable[..., Any]) -> Callable[[int], Any]:
    """Make a progress that ends the run behind a step as a power cut would."""

    def crash() -> None:
        raise Crash

    return lambda step: at(step, crash)


@pytest.fixture
def crash() -> type[Crash]:
    return Crash


def records(run: Path) -> list[dict[str, Any]]:
    """Return the lines of ``metrics.jsonl`` without what depends on the time they took."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in record.items() if name not in TIMINGS} for record in lines]


@pytest.fixture(name="records")
def _records() -> Callable[[Path], list[dict[str, Any]]]:
    return records


SUBJECTS, VERBS, OBJECTS = ("the cat", "my teacher", "the king"), ("sees", "likes", "finds"), ("a song", "some bread")


def sentences(n: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield subject, verb and object of sentences."""
    draw = random.Random(seed)
    return ((draw.choice(SUBJECTS), draw.choice(VERBS), draw.choice(OBJECTS)) for _ in range(n))


def table(n: int, seed: int, label: Callable[[str, str], object]) -> str:
    rows = (f"{subject} {verb} {thing}\t{label(verb, thing)}\n" for subject, verb, thing in sentences(n, seed))
    return "sentence\tlabel\n" + "".join(rows)


def tags(n: int, seed: int) -> str:
    def tagged(subject: str, verb: str, thing: str) -> Iterator[str]:
        yield from (f"{word} {'BI'[bool(place)]}-WHO" for place, word in enumerate(subject.split()))
        yield from (f"{word} O" for word in (verb, *thing.split()))

    return "".join("\n".join(tagged(*parts)) + "\n\n" for parts in sentences(n, seed))


def questions(n: int, seed: int) -> str:
    records = (
        {
            "id": f"q{number}",
            "question": verb,
            "context": f"{subject} {verb} {thing}",
            "answers": [{"text": subject, "answer_start": 0}],
        }
        for number, (subject, verb, thing) in enumerate(sentences(n, seed))
    )
    return "".join(json.dumps(record) + "\n" for record in records)


def choices(n: int, seed: int) -> str:
    records = (
        {"prompt": subject, "choices": [verb, thing, "moon"][: 2 + number % 2], "label": number % 2}
        for number, (subject, verb, thing) in enumerate(sentences(n, seed))
    )
    return "".join(json.dumps(record) + "\n" for record in records)


def queries(n: int, seed: int) -> str:
    records = (
        {"query": subject, "candidates": [verb, thing, "moon"], "labels": [number % 2, 1 - number % 2, 0]}
        for number, (subject, verb, thing) in enumerate(sentences(n, seed))
    )
    return "".join(json.dumps(record) + "\n" for record in records)


def scored_pairs(n: int, seed: int) -> str:
    rows = (f"{subject} {verb}\t{verb} {thing}\t{VERBS.index(verb)}\n" for subject, verb, thing in sentences(n, seed))
    return "sentence1\tsentence2\tscore\n" + "".join(rows)


DATA: dict[str, tuple[str, Callable[[int, int], str]]] = {
    "classify": ("tsv", lambda n, seed: table(n, seed, lambda verb, _: VERBS.index(verb) % 2)),
    "multilabel": ("tsv", lambda n, seed: table(n, seed, lambda verb, thing: f"{verb},{thing.split()[-1]}")),
    "regress": ("tsv", lambda n, seed: table(n, seed, lambda verb, _: VERBS.index(verb) / 2)),
    "tag": ("conll", tags),
    "answer": ("jsonl", questions),
    "choose": ("jsonl", choices),
    "rank": ("jsonl", queries),
    "embed": ("tsv", scored_pairs),
}


@pytest.fixture(scope="session")
def toy_data() -> Callable[..., dict[str, str]]:
    """Write "train", "dev" and "test" of a kind of task into a directory unless they are there; return their paths."""

    def write(kind: str, directory: Path, n_train: int, n_dev: int) -> dict[str, str]:
        suffix, content = DATA[kind]
        paths = {}
        for name, n in (("train", n_train), ("dev", n_dev), ("test", n_dev)):
            paths[name] = directory / f"{name}.{suffix}"
            if not paths[name].exists():
                directory.mkdir(parents=True, exist_ok=True)
                paths[name].write_text(content(n, len(name)), encoding="utf-8")
        return {name: str(path) for name, path in paths.items()}

    return write

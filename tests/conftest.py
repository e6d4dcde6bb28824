"""Shapes in the model's annotations are checked in every test; tiny models, and batches of random tokens for them;
a toy language, a corpus and labelled files of it, runs on them that are stopped at a step, and what is compared of two runs."""

import json
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jaxtyping

# Before anything imports the model.
jaxtyping.install_import_hook("bertsmith.model", "beartype.beartype")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from bertsmith.artifacts.directory import save_model  # noqa: E402
from bertsmith.cli import main  # noqa: E402
from bertsmith.corpus.build import CorpusConfig, build_corpus  # noqa: E402
from bertsmith.model.bert import PRETRAINING, Bert, Heads, initialise, uninitialised  # noqa: E402
from bertsmith.model.model_config import ModelConfig  # noqa: E402
from bertsmith.pretraining.options import PretrainConfig  # noqa: E402
from bertsmith.progress import ProgressTask  # noqa: E402
from bertsmith.text.tokenizer import Tokenizer  # noqa: E402
from bertsmith.threads import usual_threads  # noqa: E402
from bertsmith.types import PackedBatch  # noqa: E402

RandomBatch = Callable[[Sequence[int], int, int], PackedBatch]
RandomModel = Callable[..., Bert]

TOY_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOY_SUBJECTS = ["the cat", "the dog", "a bird", "my teacher", "the old sailor", "her brother", "the king", "a small child"]
TOY_VERBS = ["sees", "likes", "follows", "paints", "finds", "remembers", "asks", "carries"]
TOY_OBJECTS = ["the red house", "a green tree", "the river", "some bread", "the long road", "a letter", "the moon", "a song"]
TOY_ENDINGS = ["today", "at night", "in the garden", "with great care", "again", "by the sea", "after the rain", "slowly"]


@pytest.fixture(autouse=True)
def _log_as_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what the command line does to the logger, so that each test can see what is logged."""
    logger = logging.getLogger("bertsmith")
    for name, value in {"propagate": True, "handlers": [], "level": logging.NOTSET}.items():
        monkeypatch.setattr(logger, name, value)


@pytest.fixture(scope="session")
def random_batch() -> RandomBatch:
    """Build a batch from lengths, the size of the vocabulary and a seed; the second half of each sequence is segment 1."""

    def make(lengths: Sequence[int], vocabulary_size: int, seed: int) -> PackedBatch:
        token_ids = np.random.default_rng(seed).integers(0, vocabulary_size, sum(lengths))
        segment_ids = np.concatenate([np.arange(length) >= (length + 1) // 2 for length in lengths])
        return PackedBatch.from_arrays(token_ids, segment_ids, np.array(lengths))

    return make


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """A tokenizer of 31 entries: special tokens and letters."""
    return Tokenizer.build(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"], lowercase=True)


@pytest.fixture(scope="session")
def tiny_config(tiny_tokenizer: Tokenizer) -> ModelConfig:
    """The shape of a model for ``tiny_tokenizer``, in which no two sizes are the same."""
    return ModelConfig(
        vocabulary_size=tiny_tokenizer.vocabulary_size,
        width=24,
        n_layers=3,
        n_heads=4,
        feed_forward_width=40,
        max_positions=32,
    )


@pytest.fixture(scope="session")
def random_model(tiny_config: ModelConfig) -> RandomModel:
    """Build a tiny model with given heads in which every value is random, biases and norms too; keywords change its shape."""

    @torch.no_grad()
    def make(heads: Heads, **changes: Any) -> Bert:
        model = uninitialised(tiny_config.model_copy(update=changes), heads)
        generator = torch.Generator().manual_seed(7)
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
        return model.eval()

    return make


def toy_text(n_documents: int, seed: int = 0) -> str:
    """Documents of three to twelve lines, one sentence each, about a subject of their own."""
    draw = random.Random(seed)
    documents = []
    for _ in range(n_documents):
        subjects = draw.sample(TOY_SUBJECTS, 2)
        documents.append(
            "\n".join(
                f"{draw.choice(subjects)} {draw.choice(TOY_VERBS)} {draw.choice(TOY_OBJECTS)} {draw.choice(TOY_ENDINGS)}."
                for _ in range(draw.randint(3, 12))
            )
        )
    return "\n\n".join(documents) + "\n"


@pytest.fixture(scope="session")
def toy_tokenizer() -> Tokenizer:
    phrases = [*TOY_SUBJECTS, *TOY_VERBS, *TOY_OBJECTS, *TOY_ENDINGS]
    words = sorted({word for phrase in phrases for word in phrase.split()})
    return Tokenizer.build([*TOY_SPECIAL, ".", "北", "京", "##s", *words], lowercase=True)


@pytest.fixture(scope="session")
def toy_directory(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Tokenizer) -> Path:
    """A directory with ``text.txt``, ``tokenizer``, ``corpus`` of 300 documents, and ``model``."""
    directory = tmp_path_factory.mktemp("toy")
    (directory / "text.txt").write_text(toy_text(300), encoding="utf-8")
    toy_tokenizer.save(directory / "tokenizer")
    build_corpus(
        CorpusConfig(
            files=[str(directory / "text.txt")],
            tokenizer=directory / "tokenizer",
            out=directory / "corpus",
            workers=1,
            sentences="lines",
        )
    )
    save_model(make_toy_model(toy_tokenizer), toy_tokenizer, directory / "model", "A toy.\n")
    return directory


def make_toy_model(tokenizer: Tokenizer, **changes: Any) -> Bert:
    settings: dict[str, Any] = {"width": 32, "n_layers": 2, "n_heads": 2, "feed_forward_width": 64, "max_positions": 64}
    model = uninitialised(ModelConfig(vocabulary_size=tokenizer.vocabulary_size, **{**settings, **changes}), PRETRAINING)
    initialise(model, seed=1)
    return model


@pytest.fixture
def toy_model(toy_tokenizer: Tokenizer) -> Callable[..., Bert]:
    """Make the toy model, or one of another shape."""
    return lambda **changes: make_toy_model(toy_tokenizer, **changes)


@pytest.fixture
def toy_run(toy_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PretrainConfig]:
    """Make the configuration of a run of a second: 12 steps of 512 tokens; keyword arguments change or add settings."""
    monkeypatch.setattr("bertsmith.pretraining.run.matrix_product_rate", lambda _device, _dtype: 1e9)

    def make(**changes: Any) -> PretrainConfig:
        values = toy_run_values(toy_directory, tmp_path / "run")
        for name, value in changes.items():
            values[name] = {**values[name], **value} if isinstance(values.get(name), dict) else value
        return PretrainConfig.from_values(values, "test")

    return make


def toy_run_values(toy_directory: Path, out: Path) -> dict[str, Any]:
    return {
        "corpus": str(toy_directory / "corpus"),
        "out": str(out),
        "model": str(toy_directory / "model"),
        "steps": 12,
        "loader_workers": 0,
        "examples": {"max_length": 48, "held_out": 0.05},
        "optimisation": {"batch_tokens": 512, "learning_rate": 1e-3},
        "machine": {"device": "cpu", "precision": "float32"},
        "record": {"log_every": 1, "evaluate_every": 6, "evaluation_tokens": 1000, "save_every": 4},
    }


@pytest.fixture
def three_threads() -> Iterator[None]:
    """A process that is set to three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    usual_threads.cache_clear()
    yield
    usual_threads.cache_clear()
    torch.set_num_threads(before)


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``bertsmith`` with arguments in this process; return exit code, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main.run([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        out, err = capsys.readouterr()
        return code, out, err

    return command


class At:
    """A progress that calls ``action`` when the run has made ``step`` steps, and otherwise shows nothing."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action, self.done = step, action, 0.0

    @contextmanager
    def task(self, description: str, total: float | None, unit: str) -> Iterator[ProgressTask]:  # noqa: ARG002
        yield self if unit == "steps" else At(-1, self.action)

    def advance(self, amount: float) -> None:
        self.done += amount
        if amount == 1 and self.done == self.step:
            self.action()

    def note(self, text: str) -> None:
        pass


@pytest.fixture
def at() -> type[At]:
    """``at(step, action)`` is a progress to give to a run."""
    return At


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

"""Files that come from outside, damaged at random: each reader gives what it reads or one error of bertsmith's own.

A seed names each mutation. ``benchmarks/mutated_files.py`` runs many more of them.
"""

import json
import logging
import random
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import bertsmith
from bertsmith.artifacts import pickles
from bertsmith.artifacts.directory import save_model
from bertsmith.corpus.build import CorpusConfig, build_corpus
from bertsmith.corpus.store import Corpus
from bertsmith.errors import BertsmithError
from bertsmith.files import MANIFEST, read_manifest, write_manifest
from bertsmith.finetuning.grid import FinetuneConfig
from bertsmith.finetuning.hints import hints
from bertsmith.finetuning.results import read_histories
from bertsmith.model.bert import MASKED_TOKEN, Heads, initialise, uninitialised
from bertsmith.model.heads.sequence import SequenceScores
from bertsmith.model.model_config import ModelConfig
from bertsmith.pretraining.options import PretrainConfig
from bertsmith.retrieval.passages import read_passages
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.readers import ReaderConfig, read_documents
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.run_directory import RunDirectory
from bertsmith.training.run_report import series
from bertsmith.words.word_similarity import read_pairs

MUTATIONS_OF_A_READER = 60
SECONDS_OF_A_READING, MEMORY_OF_A_READING = 20, 2 << 30
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "##e", "北"]


@dataclass(frozen=True)
class Reader:
    """What is read: ``make`` writes good files into a directory, ``read`` reads them."""

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    is_sealed: bool = False
    """Whether the manifest's digests are mended after each mutation, so that what lies behind them is read."""


ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**32, 2**63, -(2**63) - 1, 10**400, 0.5, 1e300, float("nan"), float("inf")),
    *("", " ", "a", "\x00", "\ud800", "x" * 300, "../../etc/passwd", "/etc/passwd", "None", "nan", "北京", "[MASK]", "\u202e"),
    *([], {}, [[]], [None], {"": None}, {"a": {"a": {"a": 1}}}, ["a", 1], [1, 0, 1], list(range(50))),
]
ODD_WORDS = [
    "",
    "-1",
    "99999999999999999999",
    "1e999",
    "NaN",
    "null",
    "{}",
    "[",
    "]",
    '"',
    "'",
    ",",
    "\t",
    "\n",
    "\\",
    "\\u0000",
]
ODD_WORDS += [
    "\\ud800",
    "\x00",
    "\x1f",
    "\ufeff",
    "\u2028",
    "\r",
    "北",
    "🙂",
    "[" * 3000,
    '{"a":' * 3000,
    "B-",
    "O",
    "#",
    "=",
    "_",
]


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return the content of a file after one to three random changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice((_bytes, _words, _words, _lines, _json, _json, _json))(content, draw)
    return content


def _bytes(content: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    end = min(end, start + draw.choice((1, 1, 4, 100, len(content))))
    cut = content[start:end]
    changed = draw.choice(
        (
            lambda: content[:start],
            lambda: content[:start] + content[end:],
            lambda: content[:start] + cut + cut + content[end:],
            lambda: content[:start] + bytes(len(cut)) + content[end:],
            lambda: content[:start] + draw.randbytes(draw.randrange(1, 9)) + content[end:],
            lambda: content[:start] + bytes(byte ^ 1 << draw.randrange(8) for byte in cut) + content[end:],
            lambda: b"",
            lambda: content * 2,
        )
    )
    return changed()


def _words(content: bytes, draw: random.Random) -> bytes:
    words = list(re.finditer(rb"[\w.+-]+|[^\w\s]|\s", content[:100_000]))
    if not words:
        return content
    word = draw.choice(words)
    odd = draw.choice(ODD_WORDS).encode("utf-8", "surrogatepass")
    return content[: word.start()] + odd + content[draw.choice((word.start(), word.end())) :]


def _lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    place = draw.randrange(len(lines))
    changed = draw.choice(
        (
            lambda: [*lines[:place], *lines[place + 1 :]],
            lambda: [*lines[:place], lines[place], *lines[place:]],
            lambda: [*lines[:place], b"\n", *lines[place:]],
            lambda: draw.sample(lines, len(lines)),
            lambda: [line.replace(b"\n", b"\r\n") for line in lines],
            lambda: [b"\xef\xbb\xbf", *lines],
            lambda: [content.decode("utf-8", "replace").encode(draw.choice(("utf-16", "utf-16-le", "latin-1")), "replace")],
        )
    )
    return b"".join(changed())


def _json(content: bytes, draw: random.Random) -> bytes:
    """Change a value or a key in the content, or in one of its lines, where that is JSON."""
    lines = [content] if draw.random() < 0.5 else content.splitlines()
    place = draw.randrange(len(lines)) if lines else 0
    try:
        value = json.loads(lines[place])
    except (ValueError, IndexError, RecursionError):
        return _bytes(content, draw)
    lines[place] = json.dumps(_changed(value, draw)).encode()
    return b"\n".join(lines)


def _changed(value: Any, draw: random.Random) -> Any:
    if draw.random() < 0.2 or not value or not isinstance(value, dict | list):
        return draw.choice(ODD_VALUES)
    if isinstance(value, list):
        place = draw.randrange(len(value))
        return draw.choice(
            (
                lambda: [*value[:place], _changed(value[place], draw), *value[place + 1 :]],
                lambda: [*value[:place], *value[place + 1 :]],
                lambda: [*value, value[place]],
            )
        )()
    key = draw.choice(list(value))
    rest = {name: of for name, of in value.items() if name != key}
    return draw.choice(
        (
            lambda: {**value, key: _changed(value[key], draw)},
            lambda: {**value, key: _changed(value[key], draw)},
            lambda: rest,
            lambda: {**rest, str(draw.choice(ODD_VALUES)): value[key]},
            lambda: {**value, str(draw.choice(ODD_VALUES)): draw.choice(ODD_VALUES)},
        )
    )()


def mutations(reader: Reader, directory: Path, seeds: range) -> Iterator[tuple[int, Path]]:
    """Yield the seed and the file of each mutation while it stands in the directory; then the file is as it was."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    for seed in seeds:
        draw = random.Random(seed)
        file = draw.choice(files)
        content = file.read_bytes()
        manifest = directory / MANIFEST
        sealed = manifest.read_bytes() if reader.is_sealed else b""
        if draw.random() < 0.02 and len(files) > 1:
            file.unlink()
        else:
            file.write_bytes(mutated(content, draw))
        if reader.is_sealed and file != manifest:
            values = json.loads(sealed)
            facts = {name: value for name, value in values.items() if name not in ("kind", "files", "format", "seal")}
            write_manifest(directory, values["kind"], facts)
        yield seed, file
        file.write_bytes(content)
        if reader.is_sealed:
            manifest.write_bytes(sealed)


def outcome(reader: Reader, directory: Path) -> str:
    """Return "read", "refused", or what went wrong."""
    try:
        with _limited():
            reader.read(directory)
    except BertsmithError as error:
        message = str(error)
        return "refused" if message and "Traceback" not in message else f"says {message!r}"
    except BaseException as error:  # anything else is a fault, whatever it is
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"
    return "read"


@contextmanager
def _limited() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"reading took more than {SECONDS_OF_A_READING} s")

    before, (memory, ceiling) = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":  # elsewhere a process may not limit its address space
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_OF_A_READING, ceiling))
    signal.alarm(SECONDS_OF_A_READING)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (memory, ceiling))
        signal.signal(signal.SIGALRM, before)


def _text(name: str, content: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).write_text(content, encoding="utf-8") and None


def _lines_of(*records: object) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _labelled(task: Task[Any, Any], name: str, content: str) -> Reader:
    def read(directory: Path) -> None:
        for labelled in (False, True):
            examples = list(task.read(directory / name, labelled=labelled))
        task.fitted(examples).check(examples)

    return Reader(_text(name, content), read)


def _parquet(directory: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = pyarrow.table({"text": ["good film", "bad film", "dull"], "label": [1, 0, 0]})
    pyarrow.parquet.write_table(rows, directory / "a.parquet")


def _tokenizer() -> Tokenizer:
    return Tokenizer.build(TOKENS, lowercase=True)


def _model(heads: Heads, task: Task[Any, Any] | None, *, with_manifest: bool) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        tokenizer = _tokenizer()
        sizes = {"width": 8, "n_layers": 1, "n_heads": 2, "feed_forward_width": 8, "max_positions": 16}
        n_tokens = tokenizer.vocabulary_size + (not with_manifest)
        model = uninitialised(ModelConfig(vocabulary_size=n_tokens, **sizes), heads)
        initialise(model, 0)
        save_model(model, tokenizer, directory, "A card.\n", None if task is None else task_values(task))
        if not with_manifest:
            (directory / MANIFEST).unlink()
            (directory / "special_tokens_map.json").write_text('{"mask_token": "[MASK]", "pad_token": {"content": "[PAD]"}}')
            (directory / "added_tokens.json").write_text('{"[E1]": 33}')

    return make


def _pickle(directory: Path) -> None:
    tensors = {"a": torch.ones(3), "b.c": torch.zeros(2, 2, dtype=torch.int64)}
    torch.save(tensors, directory / "new.bin")
    torch.save(tensors, directory / "old.bin", _use_new_zipfile_serialization=False)


def _read_pickles(directory: Path) -> None:
    for name in ("new.bin", "old.bin"):
        if (directory / name).exists():
            with (directory / name).open("rb") as file:
                is_zip = file.read(2) == b"PK"
                file.seek(0)
                try:
                    content, read = pickles._read_zip(file) if is_zip else pickles._read_stream(file)
                    with (directory.parent / "written").open("wb") as written:
                        pickles._write_safetensors(pickles._checked_tensors(content), read, written)
                except Exception:  # its own process turns whatever this raises into a message
                    pass


def _corpus(directory: Path) -> None:
    text = directory.parent / "text.txt"
    text.write_text("a b c\nd e\n\nf g\nh i j\n", encoding="utf-8")
    tokens = directory.parent / "tokens"
    _tokenizer().save(tokens)
    directory.rmdir()
    build_corpus(CorpusConfig(files=[str(text)], tokenizer=tokens, out=directory, workers=1, sentences="lines"))


def _read_corpus(directory: Path) -> None:
    corpus = Corpus.open(directory)
    corpus.tokenizer()
    for index in range(len(corpus.sentence_offsets) - 1):
        corpus.sentence(index).sum()


def _run(directory: Path) -> None:
    trial = directory / "trials" / "lr-0.1-epochs-1-batch-2-seed-1"
    trial.mkdir(parents=True)
    records = [{"kind": kind, "step": step, "loss": 1.0, "accuracy": 0.5} for step in range(4) for kind in ("train", "dev")]
    (trial / "metrics.jsonl").write_text(_lines_of(*records))
    fields = {"learning_rate": 0.1, "epochs": 1.0, "batch_size": 2, "seed": 1}
    result = {"trial": fields, "dev": {"accuracy": 0.5}, "test": None, "steps": 3, "seconds": 1.0, "setting": "lr-0.1"}
    (trial / "result.json").write_text(json.dumps(result))


def _read_run(directory: Path) -> None:
    hints({}, read_histories(directory), "accuracy")
    for history in read_histories(directory):
        series("loss", history.train, "step", "loss")
        history.scores("dev")
        history.rank("accuracy")
    for trial in (directory / "trials").iterdir():
        RunDirectory(trial).keep_metrics_until(2)


QUESTION = {"id": "q1", "question": "who sees", "context": "the cat sees", "answers": [{"text": "the cat", "answer_start": 0}]}
SQUAD = {"data": [{"title": "t", "paragraphs": [{"context": "the cat sees", "qas": [{**QUESTION, "is_impossible": False}]}]}]}
CLASSIFY = Classify(labels=("0", "1"))
READERS = {
    "text": Reader(
        _text("a.txt", "A cat. It sees.\n\n北京很大。\n"), lambda path: list(read_documents([path / "a.txt"], ReaderConfig()))
    ),
    "text.jsonl": Reader(
        _text("a.jsonl", _lines_of({"text": "a b", "id": 1}, {"text": "c"})),
        lambda path: list(read_documents([path / "a.jsonl"], ReaderConfig())),
    ),
    "passages.csv": Reader(_text("a.csv", 'text,n\nA cat,1\n"B, c",2\n'), lambda path: read_passages(path)),
    "passages.md": Reader(_text("a.md", "# A\n\ncat\n\nB c\n"), lambda path: read_passages(path)),
    "classify.tsv": _labelled(Classify(), "a.tsv", "sentence\tlabel\ngood film\t1\nbad\t0\nbad one\t0\n"),
    "classify.csv": _labelled(Classify(), "a.csv", 'text,label\n"good, film",yes\nbad,no\n'),
    "classify.jsonl": _labelled(Classify(), "a.jsonl", _lines_of({"text": "good", "label": 1}, {"text": "bad", "label": 0})),
    "classify.json": _labelled(
        Classify(), "a.json", json.dumps([{"text": "good", "label": "a"}, {"text": "bad", "label": "b"}])
    ),
    "classify.parquet": Reader(_parquet, lambda path: list(Classify().read(path / "a.parquet", labelled=True))),
    "multilabel.csv": _labelled(Multilabel(), "a.csv", 'text,labels\ngood,"a,b"\nbad,\nfine,b\n'),
    "multilabel.jsonl": _labelled(
        Multilabel(), "a.jsonl", _lines_of({"text": "a", "labels": ["x"]}, {"text": "b", "labels": []})
    ),
    "regress.tsv": _labelled(Regress(), "a.tsv", "sentence1\tsentence2\tscore\na b\tc d\t1.5\ne\tf\t2\n"),
    "embed.tsv": _labelled(Embed(), "a.tsv", "sentence1\tsentence2\tscore\na b\tc d\t1.5\ne\tf\t2\n"),
    "tag.conll": _labelled(Tag(), "a.txt", "Ann B-PER\nLee I-PER\nsees O\n\nRome B-LOC\n. O\n\n"),
    "tag.jsonl": _labelled(Tag(), "a.jsonl", _lines_of({"tokens": ["Ann", "sees"], "tags": ["B-PER", "O"]})),
    "answer.json": _labelled(Answer(), "a.json", json.dumps(SQUAD)),
    "answer.jsonl": _labelled(Answer(), "a.jsonl", _lines_of(QUESTION, {**QUESTION, "id": "q2"})),
    "choose.jsonl": _labelled(Choose(), "a.jsonl", _lines_of({"prompt": "a", "choices": ["b", "c"], "label": 1})),
    "choose.csv": _labelled(Choose(), "a.csv", "sent1,sent2,ending0,ending1,label\na,b,c,d,1\n"),
    "rank.jsonl": _labelled(Rank(), "a.jsonl", _lines_of({"query": "a", "candidates": ["b", "c"], "labels": [1, 0]})),
    "rank.tsv": _labelled(Rank(), "a.tsv", "query\tdocument\tlabel\na b\tc d\t1\na b\te f\t0\n"),
    "pairs": Reader(_text("a.tsv", "cat\tdog\t7.5\nking\tsong\t1.0\n"), lambda path: read_pairs(path / "a.tsv")),
    "pretrain.toml": Reader(
        _text("a.toml", 'corpus = "c"\nout = "o"\nsteps = 3\n[examples]\nmax_length = 48\n[masking]\nwhole_words = true\n'),
        lambda path: PretrainConfig.from_toml(path / "a.toml"),
    ),
    "finetune.toml": Reader(
        _text("a.toml", 'model = "m"\nout = "o"\nlr = [1e-4]\ntrain = "t"\n[recipe]\nwarmup = 0.1\n'),
        lambda path: FinetuneConfig.from_toml(path / "a.toml"),
    ),
    "model": Reader(_model(MASKED_TOKEN, None, with_manifest=False), lambda path: (bertsmith.load(path), Tokenizer.load(path))),
    "classifier": Reader(
        _model(Heads(task=SequenceScores(("0", "1"))), CLASSIFY, with_manifest=False),
        lambda path: bertsmith.pipeline(path)(["a b"]),
    ),
    "sealed classifier": Reader(
        _model(Heads(task=SequenceScores(("0", "1"))), CLASSIFY, with_manifest=True),
        lambda path: bertsmith.pipeline(path)(["a b"]),
    ),
    "pickle": Reader(_pickle, _read_pickles),
    "corpus": Reader(_corpus, _read_corpus),
    "mended corpus": Reader(_corpus, _read_corpus, is_sealed=True),
    "run": Reader(_run, _read_run),
}


def make(reader: Reader, folder: Path) -> Path:
    """Write the good files into a new directory, and read them."""
    directory = folder / "made"
    directory.mkdir()
    reader.make(directory)
    if reader.is_sealed:
        read_manifest(directory, json.loads((directory / MANIFEST).read_text())["kind"])
    assert outcome(reader, directory) == "read"
    return directory


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    logging.getLogger("bertsmith").setLevel(logging.CRITICAL)
    reader = READERS[name]
    directory = make(reader, tmp_path)
    faults = {}
    for seed, file in mutations(reader, directory, range(MUTATIONS_OF_A_READER)):
        found = outcome(reader, directory)
        if found not in ("read", "refused"):
            faults[f"seed {seed}, {file.name}"] = found
            shutil.copy(file, tmp_path / f"seed-{seed}-{file.name}") if file.exists() else None
    assert not faults

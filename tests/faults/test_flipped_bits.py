"""A bit flipped in, and a piece cut off, every file that a verb leaves, finished or not: found, or without any effect."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bertsmith.cli.info_command import describe
from bertsmith.comparing.feature_comparison import CompareFeaturesConfig, compare_features
from bertsmith.corpus import build
from bertsmith.corpus.build import CorpusConfig, build_corpus
from bertsmith.corpus.store import Corpus
from bertsmith.errors import BertsmithError, Interrupted
from bertsmith.files import MANIFEST, read_manifest, verify_manifest
from bertsmith.finetuning import run as finetuning
from bertsmith.finetuning.grid import Usual, config_of
from bertsmith.finetuning.run import finetune
from bertsmith.inference.pipelines import FillPipeline, VectorPipeline, pipeline
from bertsmith.pretraining.run import pretrain
from bertsmith.retrieval.search import TextIndex, build_index, digest
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.text.vocabulary import VocabularyConfig, build_vocabulary
from bertsmith.words.word_similarity import CompareWordsConfig, compare_words

DAMAGES_OF_A_FILE = 20 if os.environ.get("BERTSMITH_ALL_FAULTS") else 4
# Nothing reads them.
UNREAD = (".lock", "report.html", "dev-predictions.jsonl", "table.md")


@dataclass(frozen=True)
class Left:
    """A directory that is left, and the next step that reads it, whose result must not change unseen."""

    directory: Path
    next_step: Callable[[], Any]


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Return the content with one bit flipped, or cut somewhere."""
    if draw.random() < 0.3 or not content:
        return content[: draw.randrange(len(content) + 1)]
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def check_every_file(left: Left, tmp_path: Path) -> None:
    """Damage one file after the other and take the next step: it names the file, or its directory, or gives the same result."""
    kept = tmp_path / "kept"
    shutil.copytree(left.directory, kept)
    expected = left.next_step()
    silent, unnamed = [], []
    for file in sorted(path.relative_to(kept) for path in kept.rglob("*") if path.is_file() and path.name not in UNREAD):
        for seed in range(DAMAGES_OF_A_FILE):
            shutil.rmtree(left.directory, ignore_errors=True)
            shutil.copytree(kept, left.directory)
            content = (kept / file).read_bytes()
            changed = damaged(content, random.Random(f"{file} {seed}"))
            (left.directory / file).write_bytes(changed)
            try:
                found = left.next_step()
            except BertsmithError as error:
                if str((left.directory / file).parent) not in str(error):
                    unnamed.append(f"{file}, seed {seed}: {error}")
                continue
            if changed != content and found != expected:
                silent.append(f"{file}, seed {seed}")
    assert not silent
    assert not unnamed


def _bytes(directory: Path, *names: str) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names}


def test_corpus(toy_directory: Path, tmp_path: Path) -> None:
    shutil.copytree(toy_directory / "corpus", tmp_path / "corpus")

    def read() -> Any:
        corpus = Corpus.open(tmp_path / "corpus")
        tokens = [corpus.sentence(index).tolist() for index in range(len(corpus.sentence_offsets) - 1)]
        return corpus.manifest, corpus.tokenizer().digest, tokens

    check_every_file(Left(tmp_path / "corpus", read), tmp_path)


def test_unfinished_corpus(toy_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_SHARD_CHARACTERS", 8000)
    out = tmp_path / "corpus"
    config = CorpusConfig(
        files=[str(toy_directory / "text.txt")], tokenizer=toy_directory / "tokenizer", out=out, workers=1, sentences="lines"
    )

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(build, "_join", stop)
        build_corpus(config)

    def resume() -> Any:
        shutil.rmtree(out, ignore_errors=True)
        return _bytes(build_corpus(config).path, "tokens.npy", "word_starts.npy", "sentence_offsets.npy", MANIFEST)

    check_every_file(Left(tmp_path / "corpus.partial", resume), tmp_path)


def test_vocabulary(toy_directory: Path, tmp_path: Path) -> None:
    build_vocabulary(VocabularyConfig(files=[str(toy_directory / "text.txt")], out=tmp_path / "vocabulary", size=300))

    def read() -> Any:
        manifest = read_manifest(tmp_path / "vocabulary", "vocabulary")
        verify_manifest(tmp_path / "vocabulary", manifest)
        return manifest

    check_every_file(Left(tmp_path / "vocabulary", read), tmp_path)


def test_index(toy_directory: Path, tmp_path: Path) -> None:
    model, text = toy_directory / "model", tmp_path / "lines.txt"
    text.write_text("the cat sees\na bird finds the moon\nthe king\n", encoding="utf-8")
    pipe = VectorPipeline.load(model)
    build_index(pipe, digest(model, pipe), text, tmp_path / "index")

    def search() -> Any:
        return TextIndex.open(tmp_path / "index", digest(model, pipe), text).search(pipe(["the moon"]), 2)

    check_every_file(Left(tmp_path / "index", search), tmp_path)


def test_unfinished_pretraining(toy_run: Any, crash_at: Any, crash: type[BaseException], records: Any, tmp_path: Path) -> None:
    config = toy_run(steps=5, record={"save_every": 2, "evaluate_every": 2, "keep": 2})
    with pytest.raises(crash):
        pretrain(config, crash_at(5))

    def resume() -> Any:
        final = pretrain(config)
        return _bytes(final, "model.safetensors"), records(config.out)

    check_every_file(Left(config.out, resume), tmp_path)


@pytest.fixture
def grid(toy_directory: Path, toy_data: Any, tmp_path: Path) -> Any:
    files = toy_data("classify", tmp_path / "data", 24, 12)
    values = {
        **{name: files[name] for name in ("train", "dev")},
        "model": str(toy_directory / "model"),
        "out": str(tmp_path / "run"),
        "epochs": [1],
        "batch_size": [8],
        "seeds": 2,
        "machine": {"device": "cpu", "precision": "float32"},
        "task": {"max_length": 32},
    }
    return config_of(Classify).from_values(values, "test")


def test_unfinished_grid(grid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(finetuning, "_finish", stop)
        finetune(grid)

    def resume() -> Any:
        final = finetune(grid)
        return _bytes(final, "model.safetensors"), (grid.out / "dev-predictions.jsonl").read_bytes()

    check_every_file(Left(grid.out, resume), tmp_path)


def test_grid_stopped_amid_a_trial(grid: Any, crash_at: Any, crash: type[BaseException], records: Any, tmp_path: Path) -> None:
    grid = grid.model_copy(update={"record": grid.record.model_copy(update={"save_every": 1}), "patience": 2})
    second = grid.out / "trials" / grid.trials(Usual(32, (1000,)))[1].name
    with pytest.raises(crash):
        finetune(grid, crash_at(5))
    assert second.is_dir()

    def resume() -> Any:
        final = finetune(grid)
        return _bytes(final, "model.safetensors"), records(second), (grid.out / "dev-predictions.jsonl").read_bytes()

    check_every_file(Left(grid.out, resume), tmp_path)


def test_finished_finetuning(grid: Any, tmp_path: Path) -> None:
    finetune(grid)

    def use() -> Any:
        return describe(grid.out), pipeline(finetune(grid))(["the cat sees a song"])

    check_every_file(Left(grid.out, use), tmp_path)


def test_finished_pretraining(toy_run: Any, tmp_path: Path) -> None:
    config = toy_run(steps=3, record={"save_every": 2, "evaluate_every": 2})
    pretrain(config)

    def use() -> Any:
        run, fill = describe(config.out), FillPipeline.load(pretrain(config))
        return run, [describe(config.out / "checkpoints" / name) for name in run["checkpoints"]], fill(["the [MASK] sees"])

    check_every_file(Left(config.out, use), tmp_path)


@pytest.fixture
def comparison(toy_directory: Path, toy_data: Any, tmp_path: Path) -> Any:
    files = toy_data("tag", tmp_path / "tags", 12, 4)
    values = {
        **{name: files[name] for name in ("train", "dev")},
        "model": str(toy_directory / "model"),
        "out": str(tmp_path / "comparison"),
        "variants": ["last", "fine-tuned"],
        "seeds": 1,
        "finetune_epochs": [1],
        "task": {"max_length": 32},
        "tagger": {"width": 8, "epochs": 1},
        "machine": {"device": "cpu", "precision": "float32"},
    }
    return CompareFeaturesConfig.from_values(values, "test")


def test_unfinished_comparison_of_features(comparison: Any, tmp_path: Path) -> None:
    """The features are there, and the scores of one training: those of the next are made from the former."""
    config = comparison.model_copy(update={"variants": ("last",), "seeds": 2})
    compare_features(comparison.model_copy(update={"variants": ("last",)}))
    check_every_file(Left(config.out, lambda: compare_features(config)), tmp_path)


def test_finished_comparison_of_features(comparison: Any, tmp_path: Path) -> None:
    compare_features(comparison)
    check_every_file(Left(comparison.out, lambda: (describe(comparison.out), compare_features(comparison))), tmp_path)


def test_comparison_of_words(toy_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("cat\tdog\t7\nking\tsong\t1\nmoon\triver\t3\n")
    config = CompareWordsConfig(model=toy_directory / "model", pairs=(tmp_path / "pairs.txt",), out=tmp_path / "words")
    compare_words(config)
    check_every_file(Left(config.out, lambda: (describe(config.out), compare_words(config))), tmp_path)


def test_model_of_a_task(grid: Any, tmp_path: Path) -> None:
    final = finetune(grid)

    def answer() -> Any:
        return pipeline(final)(["the cat sees a song"])

    check_every_file(Left(final, answer), tmp_path)

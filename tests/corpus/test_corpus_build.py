import filecmp
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertsmith import files
from bertsmith.corpus import build
from bertsmith.corpus.build import CorpusConfig, build_corpus
from bertsmith.corpus.store import Corpus
from bertsmith.corpus.workers import WorkerPool
from bertsmith.errors import ArtifactError, BusyError, InputError, Interrupted
from bertsmith.progress import SILENT
from bertsmith.text.readers import ReaderConfig, read_documents
from bertsmith.text.sentences import split_sentences
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.words import chinese_word_starts


def config(source: Path, tokenizer_path: Path, **changes: Any) -> CorpusConfig:
    values = {"files": [str(source)], "tokenizer": tokenizer_path, "out": source.parent / "corpus", "workers": 1}
    return CorpusConfig(**(values | changes))


def assert_same_directory(one: Path, other: Path) -> None:
    names = [sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()) for path in (one, other)]
    assert names[0] == names[1]
    assert filecmp.cmpfiles(one, other, names[0], shallow=False) == (names[0], [], [])


def slow_tokenisation(source: Path, tokenizer: Tokenizer, mode: Any) -> list[list[list[int]]]:
    """Token ids by document and sentence, one sentence at a time, without what comes to nothing."""
    with SILENT.task("", None, "bytes") as task:
        texts = [document.text for document in read_documents([source], ReaderConfig(), task)]
    documents = [[tokenizer.encode(sentence).token_ids[1:-1] for sentence in split_sentences(text, mode)] for text in texts]
    return [kept for document in documents if (kept := [sentence for sentence in document if sentence])]


def rows(corpus: Corpus) -> list[list[list[int]]]:
    return [
        [corpus.sentence(index).tolist() for index in range(begin, end)]
        for begin, end in zip(corpus.document_offsets[:-1], corpus.document_offsets[1:], strict=True)
    ]


@pytest.mark.parametrize("mode", ["prose", "lines"])
def test_the_rows_are_those_of_plain_tokenisation(source: Path, tokenizer_path: Path, mode: str) -> None:
    corpus = build_corpus(config(source, tokenizer_path, sentences=mode))
    expected = slow_tokenisation(source, corpus.tokenizer(), mode)
    assert rows(corpus) == expected
    assert corpus.manifest["n_documents"] == len(expected) == 100
    assert corpus.manifest["n_dropped_documents"] == 2
    assert corpus.manifest["sources"][0]["documents"] == 102
    assert corpus.tokens.dtype == np.uint16


def test_prose_joins_lines_and_splits_at_full_stops(tmp_path: Path, tokenizer_path: Path) -> None:
    source = tmp_path / "prose.txt"
    source.write_text("The cat sat on\nthe mat. The mat sat. The end\nis here.\n")
    prose = build_corpus(config(source, tokenizer_path, out=tmp_path / "prose"))
    lines = build_corpus(config(source, tokenizer_path, out=tmp_path / "lines", sentences="lines"))
    assert (prose.n_sentences, lines.n_sentences) == (3, 3)
    decode = prose.tokenizer().decode
    assert decode(prose.sentence(0).tolist()) == "the cat sat on the mat."
    assert decode(lines.sentence(0).tolist()) == "the cat sat on"


def test_word_starts_are_the_tokenizers(source: Path, tokenizer_path: Path) -> None:
    corpus = build_corpus(config(source, tokenizer_path))
    names = corpus.tokenizer().tokens
    expected = [not names[token].startswith("##") for token in corpus.tokens]
    assert corpus.starts_word(np.arange(corpus.n_tokens)).tolist() == expected
    some = np.array([corpus.n_tokens - 1, 0, 9])
    assert corpus.starts_word(some).tolist() == [expected[index] for index in some]
    assert not all(expected)


def test_word_starts_are_the_chinese_segmenters(tmp_path: Path, tokenizer_path: Path) -> None:
    source = tmp_path / "zh.txt"
    source.write_text("我来到北京清华大学。\nthe cats 中文分词\n", encoding="utf-8")
    corpus = build_corpus(config(source, tokenizer_path, sentences="lines", words="zh"))
    own = build_corpus(config(source, tokenizer_path, sentences="lines", out=tmp_path / "own"))
    assert corpus.tokens.tolist() == own.tokens.tolist()
    tokenizer = corpus.tokenizer()
    expected: list[bool] = []
    for line in source.read_text(encoding="utf-8").splitlines():
        expected += chinese_word_starts(line, tokenizer.encode(line).offsets[1:-1]).tolist()
    starts = corpus.starts_word(np.arange(corpus.n_tokens)).tolist()
    assert starts == expected
    sentence = "我来到北京清华大学"
    words = "".join(" " * start + character for start, character in zip(starts, sentence, strict=False)).split()
    assert "北京" in words


def test_the_number_of_workers_changes_no_byte(source: Path, tokenizer_path: Path) -> None:
    one = build_corpus(config(source, tokenizer_path, out=source.parent / "one", workers=1))
    two = build_corpus(config(source, tokenizer_path, out=source.parent / "two", workers=2))
    assert_same_directory(one.path, two.path)
    assert not list(source.parent.glob("*.partial"))


def interrupted_build(settings: CorpusConfig, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Build as far as a Ctrl-C just before the end; return the shards that are kept."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "publish_directory", interrupt)
        with pytest.raises(Interrupted, match="the same command resumes"):
            build_corpus(settings)
    assert not settings.out.exists()
    return sorted(settings.out.with_name("corpus.partial").glob("shards-*/*"))


def count_submissions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that grows with every shard that a worker is told to make."""
    submitted: list[Path] = []

    class CountingPool(WorkerPool[tuple[Path, list[str]]]):
        def submit(self, task: tuple[Path, list[str]]) -> None:
            submitted.append(task[0])
            super().submit(task)

    monkeypatch.setattr(build, "WorkerPool", CountingPool)
    return submitted


def test_resuming_makes_only_what_is_missing(source: Path, tokenizer_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_corpus(config(source, tokenizer_path, out=source.parent / "whole"))
    shards = interrupted_build(config(source, tokenizer_path), monkeypatch)
    missing = [shards[1], shards[4]]
    for shard in missing:
        shard.rename(shard.with_name(f".{shard.name}.1.partial"))
    submitted = count_submissions(monkeypatch)
    resumed = build_corpus(config(source, tokenizer_path, workers=2))
    assert submitted == missing
    assert_same_directory(resumed.path, whole.path)


@pytest.mark.parametrize("change", ["settings", "sources", "tokenizer digest"])
def test_another_plan_starts_over_and_says_why(
    change: str, source: Path, tokenizer_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shards = interrupted_build(config(source, tokenizer_path), monkeypatch)
    changes: dict[str, Any] = {}
    if change == "settings":
        changes["sentences"] = "lines"
    elif change == "sources":
        source.write_text(f"Another beginning. {source.read_text(encoding='utf-8')}", encoding="utf-8")
    else:
        Tokenizer.build([*Tokenizer.load(tokenizer_path).tokens, "more"], lowercase=True).save(tokenizer_path)
    submitted = count_submissions(monkeypatch)
    with caplog.at_level(logging.WARNING, "bertsmith"):
        corpus = build_corpus(config(source, tokenizer_path, **changes))
    assert "discarded" in caplog.text and change in caplog.text
    assert len(submitted) >= len(shards) - 1
    assert rows(corpus) == slow_tokenisation(source, corpus.tokenizer(), changes.get("sentences", "prose"))


def test_the_number_of_workers_is_no_part_of_the_plan(
    source: Path, tokenizer_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_build(config(source, tokenizer_path, workers=2), monkeypatch)
    submitted = count_submissions(monkeypatch)
    build_corpus(config(source, tokenizer_path, workers=1))
    assert not submitted


def test_one_document_of_one_token(tmp_path: Path, tokenizer_path: Path) -> None:
    source = tmp_path / "one.txt"
    source.write_text("cat")
    corpus = build_corpus(config(source, tokenizer_path))
    assert (corpus.n_documents, corpus.n_sentences, corpus.n_tokens) == (1, 1, 1)
    assert corpus.starts_word(np.array([0])).tolist() == [True]


def test_several_sources_are_counted_each(source: Path, tokenizer_path: Path) -> None:
    other = source.with_name("other.txt")
    other.write_text("The cat.\n\nThe mat.\n")
    corpus = build_corpus(config(source, tokenizer_path, files=[str(other), str(source)]))
    facts = {Path(fact["path"]).name: fact for fact in corpus.manifest["sources"]}
    assert {name: fact["documents"] for name, fact in facts.items()} == {"other.txt": 2, "source.txt": 102}
    assert facts["other.txt"]["bytes"] == other.stat().st_size
    assert facts["other.txt"]["sha256"] == files.sha256(other)


@pytest.mark.parametrize("text", ["", " \n\n \n", "\u0007"])
def test_no_text_at_all_is_refused_and_leaves_nothing(text: str, tmp_path: Path, tokenizer_path: Path) -> None:
    source = tmp_path / "empty.txt"
    source.write_text(text)
    with pytest.raises(InputError, match=r"no text in .*empty\.txt"):
        build_corpus(config(source, tokenizer_path))
    assert {path.name for path in tmp_path.iterdir()} == {"empty.txt", "tokenizer"}


def test_an_existing_directory_is_refused_before_any_work(source: Path, tokenizer_path: Path) -> None:
    settings = config(source, tokenizer_path)
    settings.out.mkdir()
    (settings.out / "precious").touch()
    with pytest.raises(ArtifactError, match="exists already"):
        build_corpus(settings)
    assert [path.name for path in settings.out.iterdir()] == ["precious"]
    assert not list(source.parent.glob("*.partial"))


def test_two_builds_into_one_place_exclude_each_other(source: Path, tokenizer_path: Path) -> None:
    settings = config(source, tokenizer_path)
    with files.exclusive(settings.out.with_name("corpus.partial")), pytest.raises(BusyError):
        build_corpus(settings)
    assert build_corpus(settings).n_documents == 100


def test_the_corpus_fits_large_vocabularies(tmp_path: Path, vocabulary: list[str]) -> None:
    large = [*vocabulary, *(f"token{number}" for number in range(1 << 16))]
    Tokenizer.build(large, lowercase=True).save(tmp_path / "large")
    source = tmp_path / "large.txt"
    source.write_text("The cat token65535")
    corpus = build_corpus(config(source, tmp_path / "large"))
    assert corpus.tokens.dtype == np.uint32
    assert corpus.tokens[-1] == len(large) - 1

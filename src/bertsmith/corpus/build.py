"""``bertsmith corpus``: text files to a corpus directory, on all cores, in bounded memory, resumable.

The main process reads documents and groups them into shards; worker processes split, tokenise and write them to
``OUT.partial``; when all are there, they are laid end to end and the directory is renamed to ``OUT``. How documents are
grouped depends on the text alone, so the result is the same, byte for byte, whatever the number of workers and however
often the work was interrupted.
"""

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pydantic

from bertsmith import __version__, files
from bertsmith.config import Config, Positional
from bertsmith.corpus import store
from bertsmith.corpus.shards import SentenceMode, ShardTask, ShardWriter, WordMode, lay_end_to_end
from bertsmith.corpus.store import Corpus
from bertsmith.corpus.workers import WorkerPool
from bertsmith.errors import DamagedError, InputError
from bertsmith.progress import SILENT, Progress
from bertsmith.signals import interruptible
from bertsmith.sources.digests import described, is_finished
from bertsmith.sources.file_patterns import find_files
from bertsmith.text.readers import Document, ReaderConfig, read_documents
from bertsmith.text.tokenizer import Tokenizer

_SHARD_CHARACTERS = 2_000_000
_SHARD_FORMAT = 2
_PLAN = "plan.json"
_logger = logging.getLogger("bertsmith")


class CorpusConfig(Config):
    """Tokenise text into a memory-mapped corpus, on all cores; the same command again resumes."""

    files: Positional[list[str]]
    """Text files, folders or glob patterns; - for standard input."""
    tokenizer: Path
    """A tokenizer: a directory, a tokenizer.json or a vocab.txt."""
    out: Path
    """The directory to write the corpus to."""
    workers: int = pydantic.Field(default_factory=lambda: len(os.sched_getaffinity(0)), ge=1)
    """Number of worker processes."""
    sentences: SentenceMode = "prose"
    """What a sentence is: "prose" finds their ends, "lines" takes every line as one."""
    words: WordMode = "tokenizer"
    """What a word is for whole-word masking: "tokenizer" for words between spaces and punctuation, "zh" for Chinese words."""
    reader: ReaderConfig = pydantic.Field(default_factory=ReaderConfig)


def build_corpus(config: CorpusConfig, progress: Progress = SILENT) -> Corpus:
    """Tokenise text files into the corpus directory ``config.out``.

    Called again after an interruption, it continues where it was; after it has finished, it says so. The workers are forks of
    this process.

    Raises:
        InputError: a file cannot be read, or there is no text in any.
        ArtifactError: ``config.out`` exists and was made of something else, or ``config.tokenizer`` is no tokenizer.
        BusyError: another process builds the same corpus.
        StorageError: the disk is full, read-only or forbidden.
        Interrupted: a signal stopped the work.
        BertsmithError: a worker process was killed.
    """
    out = config.out.absolute()
    work = out.with_name(f"{out.name}.partial")
    tokenizer = Tokenizer.load(config.tokenizer)
    if files.is_taken(out):
        plan = _plan(config, tokenizer, find_files(config.files), progress) if (out / files.MANIFEST).is_file() else {}
        is_finished(out, store.KIND, plan)
        _remove_work(work)
        return Corpus.open(out, verify=False)
    sources = find_files(config.files)
    with (
        WorkerPool(config.workers, ShardWriter(tokenizer, config.sentences, config.words)) as pool,
        interruptible(f"stopped; what is finished is kept in {work}: the same command resumes"),
        files.exclusive(work),
    ):
        files.refuse_existing(out)
        try:
            plan = _plan(config, tokenizer, sources, progress)
            with files.storage_errors(work):
                shards, n_documents = _write_shards(config, sources, _shard_directory(work, plan), pool, progress)
                for source in plan["sources"]:
                    source["documents"] = n_documents[source["path"]]
                final = _join(shards, work / "final", tokenizer, plan, progress)
                files.publish_directory(final, out)
        except InputError:
            shutil.rmtree(work)  # the sources must change first, so there is nothing to resume
            raise
        shutil.rmtree(work, ignore_errors=True)  # what is left of it goes when the verb is run again
    return Corpus.open(out, verify=False)


def _remove_work(work: Path) -> None:
    """Remove what is left of a build that has finished, if anything."""
    if work.exists():
        with files.exclusive(work):
            shutil.rmtree(work, ignore_errors=True)


def _plan(config: CorpusConfig, tokenizer: Tokenizer, sources: list[Path], progress: Progress) -> dict[str, Any]:
    """Return all that the result depends on, as JSON."""
    return {
        "bertsmith_version": __version__,
        "tokenizer_digest": tokenizer.digest,
        "settings": config.model_dump(mode="json", include={"sentences", "words", "reader"}),
        "sources": described(sources, progress),
    }


def _shard_directory(work: Path, plan: dict[str, Any]) -> Path:
    """Return where the shards of ``plan`` are; those of another plan are discarded."""
    # Named by the plan, so that a worker of a build that was just killed cannot write into this one.
    shards = work / f"shards-{hashlib.sha256(json.dumps([_SHARD_FORMAT, plan]).encode()).hexdigest()[:16]}"
    if not shards.exists():
        if (work / _PLAN).exists():
            _say_what_changed(work, plan)
        for other in work.glob("shards-*"):
            shutil.rmtree(other)
        files.write_json(work / _PLAN, plan)
        shards.mkdir()
    files.remove_leftovers(shards)
    return shards


def _say_what_changed(work: Path, plan: dict[str, Any]) -> None:
    try:
        old = files.read_json(work / _PLAN)
    except DamagedError:
        old = {}
    if changed := ", ".join(key.replace("_", " ") for key in plan if old.get(key) != plan[key]):
        _logger.warning("the unfinished build in %s is discarded, since these changed: %s", work, changed)


def _write_shards(
    config: CorpusConfig, sources: list[Path], directory: Path, pool: WorkerPool[ShardTask], progress: Progress
) -> tuple[list[Path], Counter[str]]:
    """Write those shards that are not there yet; return all in order, and the number of documents of each source."""
    paths: list[Path] = []
    n_documents: Counter[str] = Counter()
    with progress.task("Tokenising", _size(sources), "bytes") as task:
        for documents in _grouped(read_documents(sources, config.reader, task)):
            paths.append(directory / f"{len(paths):08}.safetensors")
            n_documents.update(str(document.path) for document in documents)
            if not paths[-1].exists():
                pool.submit((paths[-1], [document.text for document in documents]))
        pool.finish()
    return paths, n_documents


def _grouped(documents: Iterable[Document]) -> Iterator[list[Document]]:
    group: list[Document] = []
    n_characters = 0
    for document in documents:
        group.append(document)
        n_characters += len(document.text)
        if n_characters >= _SHARD_CHARACTERS:
            yield group
            group, n_characters = [], 0
    if group:
        yield group


def _join(shards: list[Path], final: Path, tokenizer: Tokenizer, plan: dict[str, Any], progress: Progress) -> Path:
    """Make the corpus directory ``final`` from all shards."""
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir()
    with progress.task("Joining shards", len(shards), "shards") as task:
        counts = lay_end_to_end(shards, final, tokenizer.vocabulary_size, task.advance)
    if not counts["n_documents"]:
        others = f" and {len(plan['sources']) - 1} other files" if len(plan["sources"]) > 1 else ""
        raise InputError(f"there is no text in {plan['sources'][0]['path']}{others}")
    tokenizer.save(final / store.TOKENIZER)
    with progress.task("Computing digests", _size(final.rglob("*")), "bytes") as task:
        facts = {**counts, "vocabulary_size": tokenizer.vocabulary_size, **plan}
        files.write_manifest(final, store.KIND, facts, task.advance)
    return final


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())

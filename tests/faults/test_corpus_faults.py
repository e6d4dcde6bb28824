"""Corpus building killed, interrupted and out of disk: nothing half-written, no process left, and the same bytes in the end."""

import filecmp
import os
import resource
import signal
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bertsmith.corpus import build
from bertsmith.corpus.build import CorpusConfig, build_corpus
from bertsmith.corpus.store import Corpus
from bertsmith.text.tokenizer import Tokenizer

N_DOCUMENTS = 30
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, ".", "##s", "the", "cat"]

# Builds a corpus with a shard for each document and says "paused" at the moment named: before reading document N, when the
# pool has finished all that came before, or before the finished directory is renamed.
SCRIPT = """
import signal, sys
from pathlib import Path
from bertsmith import files
from bertsmith.corpus import build
from bertsmith.errors import BertsmithError

source, tokenizer, out, moment = sys.argv[1:]
build._SHARD_CHARACTERS = 1
read, publish, pools = build.read_documents, files.publish_directory, []

def pause():
    for pool in pools:
        pool.finish()
    print("paused", flush=True)
    signal.pause()

def read_and_pause(*arguments):
    for index, document in enumerate(read(*arguments)):
        if str(index) == moment:
            pause()
        yield document

def pause_and_publish(*arguments):
    if moment == "publishing":
        pause()
    publish(*arguments)

class Pool(build.WorkerPool):
    def __enter__(self):
        pools.append(self)
        return super().__enter__()

build.read_documents, files.publish_directory, build.WorkerPool = read_and_pause, pause_and_publish, Pool
try:
    build.build_corpus(build.CorpusConfig(files=[source], tokenizer=Path(tokenizer), out=Path(out), workers=2))
except BertsmithError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CorpusConfig:
    monkeypatch.setattr(build, "_SHARD_CHARACTERS", 1)
    Tokenizer.build(VOCABULARY, lowercase=True).save(tmp_path / "tokenizer")
    source = tmp_path / "source.txt"
    source.write_text("\n\n".join(f"The cats sat {'on ' * 20 * number}the mat." for number in range(N_DOCUMENTS)))
    return CorpusConfig(files=[str(source)], tokenizer=tmp_path / "tokenizer", out=tmp_path / "corpus", workers=2)


def start(config: CorpusConfig, moment: str, prepare: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, config.files[0], str(config.tokenizer), str(config.out), moment],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


def kept_shards(config: CorpusConfig) -> list[Path]:
    return list(config.out.with_name("corpus.partial").glob("shards-*/[0-9]*"))


def assert_resumes(config: CorpusConfig, n_shards: int) -> None:
    """Check that so many shards are kept, and that building again gives the bytes of a build never disturbed."""
    assert not config.out.exists()
    assert len(kept_shards(config)) == n_shards
    resumed = build_corpus(config)
    whole = build_corpus(config.model_copy(update={"out": config.out.with_name("whole"), "workers": 1}))
    names = [str(file.relative_to(whole.path)) for file in whole.path.rglob("*") if file.is_file()]
    assert len(names) == sum(file.is_file() for file in resumed.path.rglob("*"))
    assert filecmp.cmpfiles(whole.path, resumed.path, names, shallow=False) == (names, [], [])
    assert Corpus.open(resumed.path).n_documents == N_DOCUMENTS
    assert not config.out.with_name("corpus.partial").exists()


def pause_and_signal(config: CorpusConfig, moment: str, send: Callable[[int], None]) -> tuple[int, str]:
    """Stop a build at that moment; return its exit code and what it said, when all of its processes are gone."""
    with start(config, moment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "paused\n"
        send(process.pid)
        # The workers hold the other ends of the pipes too: they are at their end when all of them are gone.
        _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize(("moment", "n_shards"), [("0", 0), ("1", 1), ("17", 17), ("publishing", N_DOCUMENTS)])
def test_a_killed_build_resumes(config: CorpusConfig, moment: str, n_shards: int) -> None:
    code, _ = pause_and_signal(config, moment, lambda pid: os.kill(pid, signal.SIGKILL))
    assert code == -signal.SIGKILL
    assert_resumes(config, n_shards)


@pytest.mark.parametrize("n_shards", [1, 9])
def test_a_build_killed_while_its_workers_write_resumes(config: CorpusConfig, n_shards: int) -> None:
    with start(config, str(N_DOCUMENTS - 1)) as process:
        while len(kept_shards(config)) < n_shards:
            assert process.poll() is None
        process.kill()
        process.communicate(timeout=60)
    assert_resumes(config, len(kept_shards(config)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_is_an_orderly_end(config: CorpusConfig, number: signal.Signals) -> None:
    code, said = pause_and_signal(config, "5", lambda pid: os.killpg(pid, number))
    assert code == 75
    assert said.startswith("stopped; what is finished is kept") and said.count("\n") == 1
    assert_resumes(config, 5)


def test_the_same_command_twice_at_once_is_refused(config: CorpusConfig) -> None:
    def start_another(pid: int) -> None:
        with start(config, "none") as other:
            _, said = other.communicate(timeout=60)
        assert other.returncode == 1
        assert said.startswith("another process is writing into")
        os.kill(pid, signal.SIGTERM)

    code, _ = pause_and_signal(config, "5", start_another)
    assert code == 75
    assert_resumes(config, 5)


@pytest.mark.parametrize(("limit", "where"), [(1500, "shards-"), (4000, "corpus.partial: ")])
def test_a_full_disk_is_one_message_and_resumable(config: CorpusConfig, limit: int, where: str) -> None:
    """A limit on the size of files stands in for the full disk: for a shard first, then for what they are joined to."""

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with start(config, "none", set_limit) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert said.startswith("cannot write ") and where in said and said.count("\n") == 1
    assert_resumes(config, len(kept_shards(config)))


def test_text_that_cannot_be_read_is_one_message(config: CorpusConfig) -> None:
    with Path(config.files[0]).open("ab") as file:
        file.write(b"\n\n\xff\n")
    with start(config, "none") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "invalid UTF-8 at byte" in said and "Traceback" not in said
    assert {path.name for path in config.out.parent.iterdir()} == {"source.txt", "tokenizer"}

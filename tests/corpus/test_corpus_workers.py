import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bertsmith.corpus.workers import WorkerPool
from bertsmith.errors import ArtifactError, BertsmithError
from bertsmith.text.tokenizer import Tokenizer


def test_every_task_is_done_once(tmp_path: Path) -> None:
    with WorkerPool[Path](3, Path.touch) as pool:
        for number in range(10):
            pool.submit(tmp_path / str(number))
        pool.finish()
    assert len(list(tmp_path.iterdir())) == 10


def test_no_task_at_all_is_fine() -> None:
    with WorkerPool[None](2, print) as pool:
        pool.finish()


def test_an_error_on_purpose_arrives_as_it_is() -> None:
    with WorkerPool[str](1, Tokenizer.load) as pool:
        pool.submit("/missing")
        with pytest.raises(ArtifactError, match="/missing"):
            pool.finish()


def test_an_unexpected_error_arrives_with_the_workers_traceback() -> None:
    with WorkerPool[str](1, int) as pool:
        pool.submit("x")
        with pytest.raises(ValueError, match="invalid literal") as caught:
            pool.finish()
    assert "do(task)" in caught.value.__notes__[0]


def test_a_killed_worker_is_an_error_and_no_hang() -> None:
    with WorkerPool[int](1, signal.raise_signal) as pool:
        pool.submit(signal.SIGKILL)
        with pytest.raises(BertsmithError, match=r"killed by SIGKILL; memory may have run out.*fewer workers"):
            pool.submit(signal.SIGKILL)


def test_workers_at_work_are_killed_on_leaving() -> None:
    with pytest.raises(KeyError), WorkerPool[int](2, time.sleep) as pool:
        pool.submit(1000)
        raise KeyError
    assert not any(process.is_alive() for process in pool._processes.values())


def test_workers_die_with_a_killed_parent() -> None:
    script = """
import time
from bertsmith.corpus.workers import WorkerPool
with WorkerPool(2, time.sleep) as pool:
    pool.submit(1000)
    pool.submit(1000)
    print("busy", flush=True)
    time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"busy\n"
        parent.kill()
        # The workers hold the other end of the pipe too: it is at its end when all of them are gone.
        assert parent.communicate(timeout=30)[0] == b""

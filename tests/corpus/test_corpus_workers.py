import operator
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from bertsmith.corpus.workers import WorkerPool
from bertsmith.errors import ArtifactError, BertsmithError
from bertsmith.text.tokenizer import Tokenizer

# A start function and its argument have to come from modules that a fresh interpreter can import:
# partial(f) is f, so WorkerPool(n, partial, f) calls f with every task.


def test_every_task_is_done_once(tmp_path: Path) -> None:
    with WorkerPool[Path](3, partial, Path.touch) as pool:
        for number in range(10):
            pool.submit(tmp_path / str(number))
        pool.finish()
    assert len(list(tmp_path.iterdir())) == 10


def test_no_task_at_all_is_fine() -> None:
    with WorkerPool[None](2, partial, print) as pool:
        pool.finish()


def test_an_error_on_purpose_arrives_as_it_is() -> None:
    with WorkerPool[str](1, partial, Tokenizer.load) as pool:
        pool.submit("/missing")
        with pytest.raises(ArtifactError, match="/missing"):
            pool.finish()


def test_an_unexpected_error_arrives_with_the_workers_traceback() -> None:
    with WorkerPool[str](1, partial, int) as pool:
        pool.submit("x")
        with pytest.raises(ValueError, match="invalid literal") as caught:
            pool.finish()
    assert "do(task)" in caught.value.__notes__[0]


def test_an_error_while_starting_arrives() -> None:
    with WorkerPool[str](2, Tokenizer.load, "/missing") as pool, pytest.raises(ArtifactError, match="/missing"):
        pool.submit("task")


def test_a_killed_worker_is_an_error_and_no_hang() -> None:
    with WorkerPool[int](1, partial, signal.raise_signal) as pool:
        pool.submit(signal.SIGKILL)
        with pytest.raises(BertsmithError, match=r"killed by SIGKILL; memory may have run out.*fewer workers"):
            pool.submit(signal.SIGKILL)


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
from functools import partial
from bertsmith.corpus.workers import WorkerPool
with WorkerPool(1, partial, print) as pool:
    pool.submit("task")
    pool.finish()
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "BertsmithError: a worker process ended with exit code 1; a script that uses workers needs" in done.stderr


def test_workers_at_work_are_killed_on_leaving() -> None:
    with pytest.raises(KeyError), WorkerPool[int](2, partial, operator.length_hint) as pool:
        pool.submit(1)
        raise KeyError
    assert not any(process.is_alive() for process in pool._processes.values())


def test_workers_die_with_a_killed_parent() -> None:
    script = """
import time
from functools import partial
from bertsmith.corpus.workers import WorkerPool
with WorkerPool(2, partial, time.sleep) as pool:
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

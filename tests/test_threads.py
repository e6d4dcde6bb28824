"""How many threads compute, and how they wait."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from bertsmith import machine, threads
from bertsmith.threads import IdleThreads, Use, others_need, processor_use, set_up_threads, threads_beside_others, threads_for

needs_gnu_openmp = pytest.mark.skipif(threads._gnu_openmp() is None, reason="OpenMP is not GNU's here")


@pytest.mark.parametrize(
    ("others", "n_threads", "n_cores", "needed"),
    [
        (0.0, 2, 2, False),
        (0.1, 2, 2, False),  # what a system does by the way
        (1.0, 2, 2, True),
        (0.5, 2, 2, True),
        (1.0, 1, 2, False),  # there is a core for each
        (1.9, 2, 4, False),
        (2.5, 2, 4, True),
    ],
)
def test_others_need_what_is_not_left_over(others: float, n_threads: int, n_cores: int, needed: bool) -> None:
    before, after = Use(at=10.0, all=100.0, own=50.0), Use(at=12.0, all=100.0 + 2 * (others + 1.5), own=53.0)
    assert others_need(before, after, n_threads, n_cores) is needed


def test_use_of_the_processor_grows_with_work_of_this_process_and_of_others() -> None:
    before = processor_use()
    if before is None:
        pytest.skip("the system does not tell")
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-S", "-c", spin], check=True)
    after = processor_use()
    assert after is not None
    assert after.own - before.own >= 0.1
    assert after.all - before.all >= 0.35
    assert after.at > before.at


@needs_gnu_openmp
def test_idle_threads_come_and_go() -> None:
    openmp = threads._gnu_openmp()
    assert openmp is not None
    idle_threads, before = IdleThreads(openmp), _n_threads()
    idle_threads.call()
    idle_threads.call()
    more = openmp.omp_get_num_procs() + 1
    end = time.monotonic() + 60
    while _n_threads() < before + more and time.monotonic() < end:
        os.sched_yield()
    assert _n_threads() == before + more
    idle_threads.send_away()
    idle_threads.send_away()
    while _n_threads() > before and time.monotonic() < end:
        os.sched_yield()
    assert _n_threads() == before


def _n_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize(("quota", "variable", "expected"), [(1.0, None, 1), (1.0, "2", 2), (None, None, 2)])
def test_as_many_threads_compute_as_a_quota_lets_be_at_work(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, variable: str | None, expected: int
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: machine.Cores(logical=2, physical=2, allowed=2, quota=quota))
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        set_up_threads.__wrapped__()
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(n_threads)


@needs_gnu_openmp
@pytest.mark.parametrize(
    ("variables", "watching"),
    [({}, True), ({"OMP_WAIT_POLICY": "active"}, False), ({"GOMP_SPINCOUNT": "5"}, False), ({"OMP_NUM_THREADS": "1"}, False)],
)
def test_an_engine_watches_unless_the_user_has_said_how_to_wait(variables: dict[str, str], watching: bool) -> None:
    code = (
        "import threading, torch\n"
        "torch.set_num_threads(int(__import__('os').environ['OMP_NUM_THREADS']))\n"
        "from bertsmith.threads import set_up_threads\n"
        "set_up_threads()\n"
        "print('bertsmith-threads' in [thread.name for thread in threading.enumerate()])"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", **variables}
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment).stdout
    assert said == f"{watching}\n"


@pytest.mark.parametrize(("n_tokens", "n_threads"), [(1, 1), (256, 1), (257, 3), (5000, 3)])
@pytest.mark.usefixtures("three_threads")
def test_the_threads_of_a_batch(n_tokens: int, n_threads: int) -> None:
    with threads_for(0), threads_for(n_tokens):
        assert torch.get_num_threads() == n_threads
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("n_tokens", "beside", "n_threads"), [(20, False, 3), (20, True, 1), (257, True, 3)])
@pytest.mark.usefixtures("three_threads")
def test_a_small_batch_gets_one_thread_while_others_need_the_cores(
    monkeypatch: pytest.MonkeyPatch, n_tokens: int, beside: bool, n_threads: int
) -> None:
    event = threading.Event()
    if beside:
        event.set()
    monkeypatch.setattr(threads, "_others_need_cores", event)
    with threads_beside_others(n_tokens):
        assert torch.get_num_threads() == n_threads

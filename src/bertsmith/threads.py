"""How many threads compute, and how they wait for one another.

PyTorch's threads meet after every operation, and a thread that comes first spins until the last is there. That is the quickest
way where each has a core. Where another process needs the core, the one that spins keeps off the one that it waits for, and
small steps take ten times as long. Then the threads should sleep.

GNU's OpenMP, which PyTorch computes with on Linux, decides that by a count: a thread spins for a millisecond and more, but
hardly at all once there are more of them than processors. So a team of idle threads makes all others wait politely, and is sent
away when the machine is free again.
"""

import ctypes
import functools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from bertsmith.errors import UsageError
from bertsmith.machine import cores

_SECONDS_BETWEEN_LOOKS = 0.25
_CORES_OF_OTHERS = 0.25
"""What other processes may use of the cores that threads here compute on, before the threads wait politely."""
_OWN_WISHES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_MOST_ON_ONE = 256
"""Tokens of a small batch: its many short parts end sooner on one thread than on two that take turns with other processes."""


@functools.cache
def set_up_threads() -> None:
    """Let as many threads compute as may be at work, and wait politely while others need their cores; once a process.

    A control group's quota (``docker --cpus``) limits the number, unless ``OMP_NUM_THREADS`` is set. How threads wait stays as
    ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` say, where one of them is set, and where OpenMP is not GNU's.
    """
    there = cores()
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > there.usable:
        torch.set_num_threads(there.usable)
    openmp = None if any(name in os.environ for name in _OWN_WISHES) else _gnu_openmp()
    if openmp is None or torch.get_num_threads() == 1:
        return
    idle_threads = IdleThreads(openmp)
    if there.quota is not None and there.quota < torch.get_num_threads():
        idle_threads.call()
    else:
        watched = idle_threads, torch.get_num_threads(), there.allowed
        threading.Thread(target=_watch, args=watched, name="bertsmith-threads", daemon=True).start()


_others_need_cores = threading.Event()


def threads_beside_others(n_tokens: int) -> AbstractContextManager[None]:
    """Compute a batch of so many tokens on one thread where it is small and other processes need the cores, else on all."""
    return threads_for(n_tokens) if _others_need_cores.is_set() else nullcontext()


@contextmanager
def threads_for(n_tokens: int) -> Iterator[None]:
    """Compute a batch of so many tokens on one thread where it is small, else on all."""
    usual, before = usual_threads(), torch.get_num_threads()
    torch.set_num_threads(1 if n_tokens <= _MOST_ON_ONE else usual)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def usual_threads() -> int:
    """Return the number of threads that the process was set to when this was called first."""
    return torch.get_num_threads()


# The process whose threads have computed something: in one that was forked from it there are none, and waiting has no end.
_used_in: int | None = None


def note_use() -> None:
    """Raise :class:`UsageError` in a process that was forked from one in which a model had been at work."""
    global _used_in
    if _used_in not in (None, os.getpid()):
        raise UsageError(
            "this process was forked from one in which a bertsmith model had been at work, whose threads are not here; "
            'start processes with multiprocessing.get_context("spawn"), or fork before the first model is used'
        )
    _used_in = os.getpid()


class IdleThreads:
    """A team of OpenMP threads that do nothing; while they are there, all others sleep when they wait."""

    def __init__(self, openmp: ctypes.CDLL) -> None:
        self._openmp = openmp
        self._leave: threading.Event | None = None

    def call(self) -> None:
        """Call them, if they are not there."""
        if self._leave is None:
            self._leave = threading.Event()
            self._thread = threading.Thread(target=self._stay, args=(self._leave,), name="bertsmith-idle", daemon=True)
            self._thread.start()

    def send_away(self) -> None:
        """Send them away, if they are there."""
        if self._leave is not None:
            self._leave.set()
            self._thread.join()
            self._leave = None

    def _stay(self, leave: threading.Event) -> None:
        # The team belongs to this thread and ends with it. Its task is any C function of one pointer that does nothing.
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        self._openmp.GOMP_parallel(nothing, None, self._openmp.omp_get_num_procs() + 1, 0)
        leave.wait()


@dataclass(frozen=True, slots=True)
class Use:
    """Seconds of processor time used till a moment: of the cores that are allowed here in all, and by this process."""

    at: float
    all: float
    own: float


def processor_use() -> Use | None:
    """Return what has been used till now; None where the system does not tell."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    counts = [line.split() for line in lines if line[:3] == "cpu" and line[3:4].isdigit()]
    # user, nice, system, idle, iowait, irq, softirq, steal: guests' time is part of user's.
    used = [sum(map(int, fields[1:9])) - sum(map(int, fields[4:6])) for fields in counts if int(fields[0][3:]) in allowed]
    return Use(time.perf_counter(), sum(used) / os.sysconf("SC_CLK_TCK"), time.process_time()) if used else None


def others_need(before: Use, after: Use, n_threads: int, n_cores: int) -> bool:
    """Say whether so many threads do not all have a core to themselves beside what other processes used in between."""
    others = (after.all - before.all - after.own + before.own) / (after.at - before.at)
    return others > n_cores - n_threads + _CORES_OF_OTHERS


def _watch(idle_threads: IdleThreads, n_threads: int, n_cores: int) -> None:
    before = processor_use()
    while before is not None:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        after = processor_use()
        if after is not None and others_need(before, after, n_threads, n_cores):
            _others_need_cores.set()
            idle_threads.call()
        else:
            _others_need_cores.clear()
            idle_threads.send_away()
        before = after


def _gnu_openmp() -> ctypes.CDLL | None:
    """Return the library that PyTorch computes with, if it is GNU's."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        path = next((line.split(maxsplit=5)[5] for line in lines if "libgomp" in line), None)
        return None if path is None else ctypes.CDLL(path)
    except OSError:
        return None

"""Processes that work through tasks and never outlive the process that started them."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Generic, TypeVar

from bertsmith.errors import BertsmithError
from bertsmith.signals import STOP_SIGNALS

TaskT = TypeVar("TaskT")


class WorkerPool(Generic[TaskT]):
    """Worker processes, each of which calls ``do`` with every task that it is given.

    A context manager; on leaving it, the workers are killed, whatever they are doing. They are forks of this process, so that
    ``do`` and all that it has loaded are theirs at once; they should be made before threads are.
    """

    def __init__(self, n_workers: int, do: Callable[[TaskT], None]) -> None:
        self._context = multiprocessing.get_context("fork")
        self._n_workers, self._do = n_workers, do
        self._processes: dict[Connection, ForkProcess] = {}
        self._idle: set[Connection] = set()

    def __enter__(self) -> "WorkerPool[TaskT]":
        # A worker inherits the blocked signals, so that Ctrl-C, which reaches the whole process group, is left to us.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            for _ in range(self._n_workers):
                self._add_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes.values():
            process.kill()
        for connection, process in self._processes.items():
            process.join()
            connection.close()

    def submit(self, task: TaskT) -> None:
        """Give ``task`` to a worker, waiting until one is idle.

        Raises:
            BertsmithError: a worker was killed; or whatever an earlier task raised.
        """
        while not self._idle:
            self._collect()
        connection = self._idle.pop()
        try:
            connection.send(task)
        except OSError:
            raise _death(self._processes[connection]) from None

    def finish(self) -> None:
        """Wait until every task is done; raises what :meth:`submit` raises."""
        while len(self._idle) < len(self._processes):
            self._collect()

    def _add_worker(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._do), daemon=True)
        process.start()
        self._processes[ours] = process
        self._idle.add(ours)
        theirs.close()

    def _collect(self) -> None:
        """Wait for messages of busy workers: None when a task is done, else the exception that it raised."""
        for connection in wait(self._processes.keys() - self._idle):
            assert isinstance(connection, Connection)
            try:
                error = connection.recv()
            except (EOFError, OSError):
                raise _death(self._processes[connection]) from None
            if error is not None:
                raise error
            self._idle.add(connection)


def _death(process: ForkProcess) -> BertsmithError:
    process.join()
    code = process.exitcode or 0
    reason = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    hint = "; memory may have run out: try fewer workers" if code == -signal.SIGKILL else ""
    return BertsmithError(f"a worker process {reason}{hint}. What is finished is kept: the same call resumes")


def _work(connection: Connection, do: Callable[[Any], None]) -> None:
    """Run in a worker: do one task after another until the process that started it is gone."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # every core has a worker
    try:
        while True:
            try:
                task = connection.recv()
            except EOFError:
                return
            do(task)
            connection.send(None)
    except Exception as error:
        if not isinstance(error, BertsmithError):
            error.add_note("".join(traceback.format_exception(error)))
        connection.send(error)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

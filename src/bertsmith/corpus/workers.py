"""Processes that work through tasks and never outlive the process that started them."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeAlias, TypeVar

from bertsmith.errors import BertsmithError
from bertsmith.signals import STOP_SIGNALS

TaskT = TypeVar("TaskT")
Start: TypeAlias = Callable[..., Callable[[TaskT], None]]

_GUARD = "a script that uses workers needs `if __name__ == '__main__':` around its work, since they import it"


class WorkerPool(Generic[TaskT]):
    """Worker processes, each of which calls ``start(*arguments)`` once and its result with every task it is given.

    A context manager; on leaving it, the workers are killed, whatever they are doing. ``start`` and its arguments reach
    freshly started interpreters, so a script that uses a pool needs ``if __name__ == "__main__":`` around its work.
    """

    def __init__(self, n_workers: int, start: Start[TaskT], *arguments: Any) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._n_workers, self._start, self._arguments = n_workers, start, arguments
        self._processes: dict[Connection, SpawnProcess] = {}
        self._idle: set[Connection] = set()

    def __enter__(self) -> "WorkerPool[TaskT]":
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
        if not self._idle and len(self._processes) < self._n_workers:
            self._add_worker()
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
        process = self._context.Process(target=_work, args=(theirs, self._start, self._arguments), daemon=True)
        # A worker inherits the blocked signals, so that Ctrl-C, which reaches the whole process group, is left to us.
        # The helper process of multiprocessing unblocks them when it is started, so that has to come first.
        resource_tracker.ensure_running()
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            process.start()
            self._processes[ours] = process
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        theirs.close()

    def _collect(self) -> None:
        """Wait for messages of busy workers: None when ready for a task, else the exception that the last one raised."""
        for connection in wait(self._processes.keys() - self._idle):
            assert isinstance(connection, Connection)
            try:
                error = connection.recv()
            except (EOFError, OSError):
                raise _death(self._processes[connection]) from None
            if error is not None:
                raise error
            self._idle.add(connection)


def _death(process: SpawnProcess) -> BertsmithError:
    process.join()
    code = process.exitcode or 0
    reason = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    # A worker sends its errors; what ends it without is the system, or the script of a caller, which it imports at first.
    hints = {-signal.SIGKILL: "; memory may have run out: try fewer workers", 1: f"; {_GUARD}"}
    return BertsmithError(f"a worker process {reason}{hints.get(code, '')}. What is finished is kept: the same call resumes")


def _work(connection: Connection, start: Start[Any], arguments: tuple[Any, ...]) -> None:
    """Run in a worker: do one task after another until the process that started it is gone."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        do = start(*arguments)
        while True:
            connection.send(None)
            try:
                task = connection.recv()
            except EOFError:
                return
            do(task)
    except Exception as error:
        if not isinstance(error, BertsmithError):
            error.add_note("".join(traceback.format_exception(error)))
        connection.send(error)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

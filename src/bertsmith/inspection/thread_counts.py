"""How many threads a computation gets.

A second thread gains nothing on a small batch, and beside a busy process each of its many short parts waits until both threads
have had their turn.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MOST_ON_ONE = 256


@functools.cache
def usual_threads() -> int:
    """Return the number of threads that the process was set to when this was called first."""
    return torch.get_num_threads()


@contextmanager
def threads_for(n_tokens: int) -> Iterator[None]:
    """Compute a batch of so many tokens on one thread where it is small, else on all."""
    usual, before = usual_threads(), torch.get_num_threads()
    torch.set_num_threads(1 if n_tokens <= _MOST_ON_ONE else usual)
    try:
        yield
    finally:
        torch.set_num_threads(before)

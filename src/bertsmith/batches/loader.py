"""Batches for pre-training, endlessly, from any position."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from bertsmith.batches.assembly import assemble
from bertsmith.batches.examples import Examples, Integers, Objective, TokenStore
from bertsmith.batches.masking import MAX_BATCH_TOKENS, Masking, SpecialIds
from bertsmith.batches.order import DocumentOrder, Position
from bertsmith.batches.packing import pack
from bertsmith.errors import InputError, UsageError
from bertsmith.progress import SILENT, Progress
from bertsmith.randomness import key, permutation
from bertsmith.types import PretrainingBatch


class PretrainingLoader:
    """Turns documents of a corpus into packed batches with masks, every choice a function of (seed, epoch, sample).

    An epoch shuffles the documents and cuts them into windows; a window's samples are shuffled and packed into micro-batches
    of at most ``token_budget`` tokens. At most two windows of samples, a few MB each, are in memory.

    Args:
        corpus: Where the tokens are.
        documents: Ids of the documents to use.
        objective: What makes samples of documents.
        masking: Which tokens to predict.
        special_ids: The vocabulary's special tokens.
        token_budget: Tokens of a micro-batch, special ones included.
        seed: The run's seed.
        n_workers: Threads that prepare batches ahead; 0 prepares each when it is asked for. The batches are the same.

    Raises:
        UsageError: the budget has no room for the objective's longest sample, or is beyond 524,288.
        InputError: there are no documents, or too few for pairs.
    """

    def __init__(
        self,
        corpus: TokenStore,
        documents: Integers,
        objective: Objective,
        masking: Masking,
        special_ids: SpecialIds,
        token_budget: int,
        seed: int,
        n_workers: int = 0,
    ) -> None:
        if not objective.max_length <= token_budget <= MAX_BATCH_TOKENS:
            raise UsageError(
                f"micro-batches of {token_budget} tokens do not work with sequences of up to {objective.max_length}: "
                f"choose from {objective.max_length} to {MAX_BATCH_TOKENS}"
            )
        if len(documents) < (2 if objective.has_pairs else 1):
            raise InputError(
                f"{len(documents)} document(s) are too few for the objective {objective.name}: add text"
                + (" or use --objective full-sentences" if objective.has_pairs else "")
            )
        self._corpus = corpus
        self._documents = np.sort(documents)
        self._objective = objective
        self._masking = masking
        self._special_ids = special_ids
        self._ordinary_ids = special_ids.ordinary()
        self._token_budget = token_budget
        self._seed = seed
        self._n_workers = n_workers
        self._order = DocumentOrder(corpus, self._documents, seed)

    def iterate(self, position: int, rank: int = 0, world: int = 1) -> Generator[tuple[int, PretrainingBatch], None, None]:
        """Yield the micro-batches ``rank``, ``rank + world``, ... from ``position`` on, epoch after epoch, without end.

        Each comes with the position at which the stream goes on behind it and its ``world - 1`` fellows on the other ranks,
        the same on all ranks. A run begins at position 0; for the integer's meaning see
        :class:`~bertsmith.batches.order.Position`. Close the generator to stop its threads.
        """
        with _submitter(self._n_workers) as submit:
            pending: deque[tuple[int, _Result[PretrainingBatch]]] = deque()
            stream = self._stream(Position.decode(position), submit)
            while True:
                group = [next(stream) for _ in range(world)]
                epoch, examples, _ = group[rank]
                pending.append((group[-1][-1], submit(self._assemble, epoch, examples)))
                if len(pending) > 2 * self._n_workers:
                    after, batch = pending.popleft()
                    yield after, batch.result()

    def n_batches(self, epoch: int, progress: Progress = SILENT) -> int:
        """Return the number of micro-batches of the epoch, exactly: all its windows are planned."""
        total = 0
        with progress.task("Counting batches", self._order.n_windows, "windows") as task:
            for window in range(self._order.n_windows):
                total += len(self._plan(epoch, window))
                task.advance(1)
        return total

    def fixed(self, n_tokens: int) -> list[PretrainingBatch]:
        """Return the first micro-batches, of at least ``n_tokens`` tokens or of the whole epoch 0, for evaluation."""
        batches: list[PretrainingBatch] = []
        total = 0
        for epoch, examples, _ in self._stream(Position(0, 0, 0), _Deferred):
            if epoch or total >= n_tokens:
                break
            batches.append(self._assemble(epoch, examples))
            total += batches[-1].inputs.n_tokens
        return batches

    def _stream(self, position: Position, submit: "_Submit") -> Iterator[tuple[int, Examples, int]]:
        """Yield each micro-batch's epoch and samples, and the position behind it; plan one window ahead."""
        epoch, window, first = position
        coming = submit(self._plan, epoch, window)
        while True:
            following = (epoch, window + 1) if window + 1 < self._order.n_windows else (epoch + 1, 0)
            micro_batches, coming = coming.result(), submit(self._plan, *following)
            for number in range(first, len(micro_batches)):
                is_last = number + 1 == len(micro_batches)
                after = Position(*following, 0) if is_last else Position(epoch, window, number + 1)
                yield epoch, micro_batches[number], after.encode()
            (epoch, window), first = following, 0

    def _plan(self, epoch: int, window: int) -> list[Examples]:
        """Return the samples of each micro-batch of the window."""
        documents = self._order.window(epoch, window)
        if not len(documents):
            return []
        examples = self._objective.plan(self._corpus, documents, self._documents, self._seed, epoch)
        examples = examples.take(permutation(key(self._seed, "samples", epoch, window), len(examples)))
        return [examples.take(indices) for indices in pack(examples.lengths(), self._token_budget)]

    def _assemble(self, epoch: int, examples: Examples) -> PretrainingBatch:
        return assemble(
            self._corpus,
            examples,
            self._masking,
            self._special_ids,
            self._ordinary_ids,
            has_pairs=self._objective.has_pairs,
            seed=self._seed,
            epoch=epoch,
        )


_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class _Result(Protocol[_T_co]):
    def result(self) -> _T_co: ...


class _Submit(Protocol):
    def __call__(self, function: Callable[..., _T], /, *arguments: Any) -> _Result[_T]: ...


class _Deferred(Generic[_T]):
    """Stands for a future where there are no threads: computes when asked."""

    def __init__(self, function: Callable[..., _T], /, *arguments: Any) -> None:
        self._function, self._arguments = function, arguments

    def result(self) -> _T:
        return self._function(*self._arguments)


@contextmanager
def _submitter(n_workers: int) -> Iterator[_Submit]:
    """Provide what runs functions in ``n_workers`` threads; leaving waits for those under way and drops the others."""
    if n_workers == 0:
        yield _Deferred
        return
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="batches")
    try:
        yield pool.submit
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

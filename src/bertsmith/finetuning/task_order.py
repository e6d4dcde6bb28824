"""The task and the samples of every step: a pure function of the seed and the step."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bertsmith.randomness import key, permutation, uniform


class TaskBatch(NamedTuple):
    """One step's batch: the name of its task, how many batches this has had before, and the places of the samples."""

    task: str
    number: int
    samples: list[int]


class TaskOrder:
    """The batches of a trial; every step draws one task.

    A task of n samples is drawn with a probability in proportion to n^(1/T) at the temperature T: by size at 1, the more
    equally the higher it is (Devlin et al. 2019, multilingual models; Raffel et al. 2020, section 3.5.2). Its samples come in
    random order, all of them before any comes again.

    Args:
        sizes: Samples of each task, at least one.
        batch_size: Samples of a batch; the last one of a pass may have fewer.
        seed: Determines the draws and the orders.
        epochs: The length of the trial in passes; one has as many batches as all tasks' samples make.
        temperature: As above.
    """

    def __init__(self, sizes: Mapping[str, int], batch_size: int, seed: int, epochs: float, temperature: float = 1.0) -> None:
        self._sizes, self._batch_size, self._seed = dict(sizes), batch_size, seed
        self._n_batches = [-(-size // batch_size) for size in sizes.values()]
        self.epoch_steps = sum(self._n_batches)
        self.total_steps = max(1, int(np.ceil(epochs * self.epoch_steps)))
        bounds = np.cumsum(list(shares(sizes, temperature).values()))[:-1]
        self._drawn = np.searchsorted(bounds, uniform(key(seed, "turns"), np.arange(self.total_steps)), side="right")

    def batches_from(self, step: int) -> Iterator[TaskBatch]:
        """Yield the batches from ``step`` to the end."""
        names, sizes = list(self._sizes), list(self._sizes.values())
        counts = np.bincount(self._drawn[:step], minlength=len(names)).tolist()
        passes: dict[int, tuple[int, list[list[int]]]] = {}
        for place in self._drawn[step:].tolist():
            number = counts[place]
            epoch, at = divmod(number, self._n_batches[place])
            if place not in passes or passes[place][0] != epoch:
                passes[place] = epoch, epoch_batches(sizes[place], self._batch_size, self._seed, epoch)
            yield TaskBatch(names[place], number, passes[place][1][at])
            counts[place] += 1


def shares(sizes: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Return the probability with which each task is drawn."""
    weights = {name: size ** (1 / temperature) for name, size in sizes.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def epoch_batches(n_samples: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the samples of each batch of an epoch, in random order.

    Without padding nothing is gained by batches of similar lengths, and a model learns less from them.
    """
    order = permutation(key(seed, "order", epoch), n_samples).tolist()
    return [order[at : at + batch_size] for at in range(0, n_samples, batch_size)]

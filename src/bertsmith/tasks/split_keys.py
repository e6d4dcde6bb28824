"""What a file of examples is parted by when some are held out: which belong together, and what all parts should have."""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

_BINS, _LEAST_IN_BIN = 10, 5


@dataclass(frozen=True, slots=True)
class SplitKeys:
    """What is known of each of n examples; ``groups`` and ``strata`` may be empty.

    texts         what it says: examples with equal ones stay together
    groups        what it belongs to, called ``group_name``: those of one group stay together
    strata        what each part of the file should have its share of, called ``stratum_name``; an example may have several
    """

    texts: Sequence[Hashable]
    groups: Sequence[Hashable] = ()
    group_name: str = ""
    strata: Sequence[Collection[Hashable]] = ()
    stratum_name: str = ""


def quantiles(numbers: Sequence[float]) -> list[tuple[int]]:
    """Return the number of the bin of each number, among at most ten that hold about as many each."""
    n_bins = max(1, min(_BINS, len(numbers) // _LEAST_IN_BIN))
    edges = np.unique(np.quantile(numbers, np.arange(1, n_bins) / n_bins))
    return [(place,) for place in np.searchsorted(edges, numbers, side="right").tolist()]

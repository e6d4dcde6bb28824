"""Random numbers as a pure function of their coordinates.

There is no state: a draw is a hash of (seed, purpose, epoch, ...) and a counter, so any draw can be made again
at any time, in any order, by any process.
"""

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Counters: TypeAlias = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def key(*coordinates: int | str) -> int:
    """Return a 64-bit key for the coordinates, e.g. ``key(seed, "mask", epoch)``."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in coordinates)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def bits(key: int, counters: npt.NDArray[np.integer]) -> Counters:
    """Return one uniform 64-bit number for each counter: SplitMix64 at that position (Steele et al., 2014)."""
    state = counters.astype(np.uint64) * _GOLDEN + np.uint64(key)
    state ^= state >> np.uint64(30)
    state *= _MIX_1
    state ^= state >> np.uint64(27)
    state *= _MIX_2
    state ^= state >> np.uint64(31)
    return state


def uniform(key: int, counters: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return one number in [0, 1) for each counter."""
    return (bits(key, counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(key: int, counters: npt.NDArray[np.integer], limits: npt.NDArray[np.integer] | int) -> npt.NDArray[np.int64]:
    """Return one integer in [0, limit) for each counter."""
    return (uniform(key, counters) * limits).astype(np.int64)


def permutation(key: int, length: int) -> npt.NDArray[np.int64]:
    """Return a random order of ``range(length)``."""
    return np.argsort(bits(key, np.arange(length)), kind="stable").astype(np.int64)

"""A vocabulary that exercises all of Unicode, and the real corpora where they are at hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bertsmith.text.tokenizer import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"


@pytest.fixture(scope="session")
def vocabulary() -> list[str]:
    """Return special tokens, single characters of several scripts in both positions, and some longer pieces."""
    ranges = [
        (0x21, 0x7F),
        (0xA1, 0x180),
        (0x391, 0x3CA),
        (0x410, 0x450),
        (0x1100, 0x1113),
        (0x4E00, 0x4E80),
        (0x1F600, 0x1F620),
    ]
    characters = [chr(code) for first, last in ranges for code in range(first, last)]
    words = ["the", "and", "##ing", "##er", "##tion", "movie", "film", "un", "##aff", "##able", "hello", "world", "Hello"]
    return [*SPECIAL, *characters, *(f"##{character}" for character in characters), *words]


def _random_texts(seed: int, count: int) -> list[str]:
    """Return short strings that mix all of Unicode with the characters on which tokenisers stumble."""
    random = np.random.default_rng(seed)
    stumbling = [*range(0x20), *range(0x7F, 0xA1), *range(0x2000, 0x2070), 0x3000, 0xFFFD, 0xFEFF, 0x1680, 0x180E, 0x301, 0x345]
    pools = [
        np.r_[0x20:0xD800, 0xE000:0x110000],
        np.array(stumbling),
        np.r_[0x20, 0x20, 0x61:0x7B, 0x41:0x5B],
        np.r_[0x4E00:0x4E90, 0x3400:0x3410, 0xAC00:0xAC80, 0x300:0x320, 0x1F600:0x1F610],
    ]
    texts = []
    for _ in range(count):
        length = int(random.integers(0, 40))
        codes = np.choose(random.integers(0, len(pools), length), [random.choice(pool, length) for pool in pools])
        characters = [chr(code) for code in codes]
        if length and random.random() < 0.1:
            characters[int(random.integers(length))] = str(random.choice(SPECIAL))
        texts.append("".join(characters))
    return texts


@pytest.fixture(scope="session", params=["uncased", "cased"])
def tokenizer(request: pytest.FixtureRequest, vocabulary: list[str]) -> Tokenizer:
    """A tokenizer over the vocabulary, once with and once without lower-casing."""
    return Tokenizer.build(vocabulary, lowercase=request.param == "uncased")


@pytest.fixture(scope="session")
def random_texts() -> Callable[[int, int], list[str]]:
    """A function from seed and count to hostile texts."""
    return _random_texts


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real corpora."""
    if not _CORPUS.is_dir():
        pytest.skip("the shared corpora are not on this machine")
    return _CORPUS

import random
import string
from pathlib import Path

import pytest

from bertsmith.corpus import build
from bertsmith.text.tokenizer import Tokenizer

LETTERS = [*string.ascii_lowercase, *string.digits, *".,!?中文分词我来到北京清华大学"]
PIECES = [
    "the",
    "cat",
    "sat",
    "on",
    "mat",
    "un",
    "##want",
    "##ed",
    "##s",
    *(f"##{letter}" for letter in string.ascii_lowercase),
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *PIECES]
WORDS = ["the", "cat", "sats", "unwanted", "Mat", "on", "zebra", "北京", "1984", "naïve", "☃"]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_SHARD_CHARACTERS", 1000)


@pytest.fixture(scope="session")
def vocabulary() -> list[str]:
    return VOCABULARY


@pytest.fixture
def tokenizer_path(tmp_path: Path, vocabulary: list[str]) -> Path:
    Tokenizer.build(vocabulary, lowercase=True).save(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """About ten shards of documents, with sentences and documents among them that come to no token."""
    draw = random.Random(0)
    documents = []
    for _ in range(100):
        lines = [f"{' '.join(draw.choices(WORDS, k=draw.randint(1, 9)))}." for _ in range(draw.randint(1, 5))]
        documents.append("\n".join([*lines, "\u0007"] if draw.random() < 0.2 else lines))
    documents[40:40] = ["\u0007", "\u0007\n\u200b"]
    path = tmp_path / "source.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path

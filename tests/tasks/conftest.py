"""A tokenizer that leaves no word unknown."""

import pytest

from bertsmith.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def letter_tokenizer() -> Tokenizer:
    """A tokenizer of one token a letter, a digit or a mark: "cab." is c ##a ##b and a full stop."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return Tokenizer.build(
        [*special, *letters, *(f"##{letter}" for letter in letters), *".,?'北京人ᄒ", "##ᅡ", "##ᆫ"], lowercase=True
    )

"""Tokens with their characters, embeddings' lengths, cut texts, strange texts, and the masks of pre-training."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bertsmith.batches.masking import Masking
from bertsmith.errors import Refusal
from bertsmith.inspection import subject as subject_module
from bertsmith.inspection.figures.tokens import input_of, masking, tokens_of
from bertsmith.inspection.subject import Subject
from bertsmith.text.tokenizer import Tokenizer


def test_tokens_carry_their_characters_segments_and_words(subject: Subject) -> None:
    found = input_of(subject.read("the cats sees 東 rain.", "a moon"))
    assert [token.token for token in found.tokens] == (
        ["[CLS]", "the", "cat", "##s", "sees", "[UNK]", "rain", ".", "[SEP]", "a", "moon", "[SEP]"]
    )
    assert [found.text[token.start : token.end] for token in found.tokens[1:8]] == [
        "the",
        "cat",
        "s",
        "sees",
        "東",
        "rain",
        ".",
    ]
    assert [token.word for token in found.tokens] == [None, 0, 1, 1, 2, 3, 4, 5, None, 0, 1, None]
    assert [token.position for token in found.tokens if token.is_unknown] == [5]
    assert [token.position for token in found.tokens if token.is_special] == [0, 8, 11]
    assert [token.position for token in found.tokens if token.is_continuation] == [3]
    assert [token.segment for token in found.tokens] == [0] * 9 + [1] * 3
    assert (found.shown, found.of) == (12, 12)


def test_norms_are_those_of_the_embeddings(subject: Subject) -> None:
    reading = subject.read("the cat", "the moon")
    norms, embeddings = input_of(reading).norms, subject.model.encoder.embeddings
    batch = reading.batch()
    token, segment, position = (
        embeddings.token.weight[batch.token_ids],
        embeddings.segment.weight[batch.segment_ids],
        embeddings.position.weight[: reading.n_tokens],
    )
    for found, expected in zip(
        (norms.token, norms.segment, norms.position, norms.sum),
        (token, segment, position, token + segment + position),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected.square().sum(1).sqrt(), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "pair", "kept"),
    [
        ("the " * 50, None, (30, 0)),
        ("the " * 50, "moon " * 3, (26, 3)),
        ("the " * 3, "moon " * 50, (3, 26)),
        ("the " * 50, "moon " * 50, (15, 14)),
    ],
)
def test_a_text_that_is_too_long_is_cut_and_says_so(
    subject: Subject, text: str, pair: str | None, kept: tuple[int, int]
) -> None:
    found = input_of(subject.read(text, pair))
    assert found.shown == len(found.tokens) == 32
    assert found.of == len(subject.tokenizer.encode(text, pair).token_ids)
    assert (sum(token.token == "the" for token in found.tokens), sum(token.token == "moon" for token in found.tokens)) == kept
    assert found.tokens[0].token == "[CLS]" and found.tokens[-1].token == "[SEP]"
    assert sum(token.is_special for token in found.tokens) == 2 + (pair is not None)


def test_a_text_is_cut_to_what_there_is_memory_for(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    config = subject.model.config
    monkeypatch.setattr(subject_module, "_ATTENTION_BYTES", 4 * config.n_layers * config.n_heads * 12**2)
    found = input_of(subject.read("the " * 50, None))
    assert (found.shown, found.of) == (12, 52)


@pytest.mark.parametrize(
    "text", ["שלום עולם", "مرحبا", "😀👩‍👩‍👧 cat", "<script>alert(1)</script>", "\u200b", "[MASK] [SEP] [CLS]", "a\u0301"]
)
def test_strange_texts_are_read_as_any_other(subject: Subject, text: str) -> None:
    reading = subject.read(text)
    tokens = tokens_of(reading)
    assert [token.id for token in tokens] == subject.tokenizer.encode(text).token_ids
    assert all(0 <= token.start <= token.end <= len(text) for token in tokens)
    assert sum(token.is_special for token in tokens) == 2
    np.testing.assert_allclose(reading.attention.sum(-1), 1, atol=1e-5)


def test_a_model_of_no_numbers_says_so(make_subject: Callable[..., Subject]) -> None:
    broken = make_subject()
    with torch.no_grad():
        broken.model.encoder.layers[1].feed_forward_in.bias[0] = torch.nan
    with pytest.raises(Refusal, match="NaN or infinite") as caught:
        broken.read("the cat")
    assert caught.value.code == "diverged"


def test_masks_are_drawn_as_pre_training_draws_them(subject: Subject) -> None:
    reading = subject.read("the cat sees the red house at night. the old sailor paints a green tree again.")
    kinds = set()
    for epoch in range(40):
        found = masking(reading, 5, epoch, whole_words=False)
        assert len(found.chosen) == found.quota == Masking().quotas(np.array([reading.n_tokens]))[0]
        for chosen in found.chosen:
            kinds.add(chosen.kind)
            assert chosen.original == reading.encoding.tokens[chosen.position] not in ("[CLS]", "[SEP]")
            assert (chosen.token == "[MASK]") == (chosen.kind == "mask")
            assert (chosen.token == chosen.original) == (chosen.kind == "kept")
    assert kinds == {"mask", "random", "kept"}
    assert masking(reading, 5, 1, whole_words=False) == masking(reading, 5, 1, whole_words=False)


def test_whole_words_are_masked_together(subject: Subject) -> None:
    reading = subject.read("cats cats cats cats cats cats cats")
    for epoch in range(20):
        chosen = [one.position for one in masking(reading, 0, epoch, whole_words=True).chosen]
        assert len(chosen) == 2 and chosen[0] % 2 == 1 and chosen[1] == chosen[0] + 1


def test_a_vocabulary_without_a_mask_has_nothing_to_mask_with(subject: Subject) -> None:
    tokenizer = Tokenizer.build(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the"], lowercase=True)
    assert tokenizer.mask_id is None
    with pytest.raises(Refusal, match=r"no \[MASK\]") as caught:
        masking(Subject.of(subject.model, tokenizer).read("the"), 0, 0, whole_words=False)
    assert caught.value.code == "no_mask"

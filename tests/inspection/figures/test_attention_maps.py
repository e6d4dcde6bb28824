"""Attention, head summaries, rollout, queries and keys against plain computation; what is too large in blocks."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bertsmith.errors import Refusal
from bertsmith.inspection.arrays import Blocks
from bertsmith.inspection.figures.attention_maps import attention_of_layer, head_summaries, overview, query_key, rollout
from bertsmith.inspection.subject import Reading, Subject

TEXT, PAIR = "the cats sees the red house.", "a small child likes the moon."


@pytest.fixture(scope="module")
def reading(subject: Subject) -> Reading:
    return subject.read(TEXT, PAIR)


def test_attention_is_the_models_and_its_rows_sum_to_one(reading: Reading, subject: Subject) -> None:
    expected = subject.model(subject.tokenizer.pack([(TEXT, PAIR)]), want_attention=True).attention
    for layer in (1, 2, 3):
        found = attention_of_layer(reading, layer)
        np.testing.assert_allclose(found.heads, expected[layer - 1][0].numpy(), atol=1e-6)
        np.testing.assert_allclose(found.heads.sum(-1), 1, atol=1e-5)
        assert (found.shown, found.of, found.reduction) == (reading.n_tokens, reading.n_tokens, "none")
        assert found.edges == list(range(reading.n_tokens + 1))
    np.testing.assert_array_equal(overview(reading).layers[1], attention_of_layer(reading, 2).heads)


def test_a_layer_that_is_not_there(reading: Reading) -> None:
    with pytest.raises(Refusal, match="there is no layer 4: the model has 3"):
        attention_of_layer(reading, 4)


def test_what_is_too_large_is_sent_in_blocks(make_subject: Callable[..., Subject]) -> None:
    reading = make_subject(max_positions=400).read("the moon " * 200)
    found = attention_of_layer(reading, 1)
    assert (found.shown, found.of, found.reduction) == (256, 400, "max") and found.heads.shape == (4, 256, 256)
    assert found.edges[0] == 0 and found.edges[-1] == 400 and set(np.diff(found.edges)) == {1, 2}
    for row, column in ((0, 0), (100, 200), (255, 255)):
        (top, bottom), (left, right) = found.edges[row : row + 2], found.edges[column : column + 2]
        block = reading.attention[0][2, top:bottom, left:right]
        assert found.heads[2, row, column] == block.max()
    small = overview(reading)
    assert small.shown == 32 and small.layers.shape == (3, 4, 32, 32) and small.layers.max() == reading.attention.max()


def test_means_of_blocks() -> None:
    blocks = Blocks.of_tokens(5, 2)
    values = np.arange(25.0).reshape(5, 5)
    assert blocks.edges == [0, 2, 5]
    np.testing.assert_allclose(
        blocks.means(values), [[values[:2, :2].mean(), values[:2, 2:].mean()], [values[2:, :2].mean(), values[2:, 2:].mean()]]
    )


def test_summaries_are_means_over_tokens(reading: Reading) -> None:
    tokens, segments = reading.encoding.tokens, np.array(reading.encoding.segment_ids)
    n_tokens = len(tokens)
    for layer, summaries in enumerate(head_summaries(reading).heads):
        for head, found in enumerate(summaries):
            weights = reading.attention[layer, head].astype(float)
            rows = range(n_tokens)
            assert found.entropy == pytest.approx(-(weights * np.log2(weights)).sum() / n_tokens, abs=1e-4)
            assert found.distance == pytest.approx(
                sum(weights[i, j] * abs(i - j) for i in rows for j in rows) / n_tokens, rel=1e-4
            )
            assert found.first == pytest.approx(weights[:, 0].mean(), abs=1e-5)
            separators = [place for place in rows if tokens[place] == "[SEP]"]
            assert found.separator == pytest.approx(weights[:, separators].sum(1).mean(), abs=1e-5)
            assert found.self == pytest.approx(np.trace(weights) / n_tokens, abs=1e-5)
            assert found.previous == pytest.approx(np.trace(weights, -1) / n_tokens, abs=1e-5)
            assert found.next == pytest.approx(np.trace(weights, 1) / n_tokens, abs=1e-5)
            # "cats" is two pieces; "the" stands three times, the full stop twice
            assert found.same_word == pytest.approx((weights[2, 3] + weights[3, 2]) / n_tokens, abs=1e-5)
            places = [[place for place in rows if tokens[place] == token] for token in ("the", ".")]
            shared = sum(weights[i, j] for own in places for i in own for j in own if i != j)
            assert found.same_token == pytest.approx(shared / n_tokens, abs=1e-5)
            a, b = segments == 0, segments == 1
            assert found.within_a == pytest.approx(weights[a][:, a].sum(1).mean(), abs=1e-5)
            assert found.a_to_b == pytest.approx(weights[a][:, b].sum(1).mean(), abs=1e-5)
            assert found.b_to_a == pytest.approx(weights[b][:, a].sum(1).mean(), abs=1e-5)
            assert found.within_b == pytest.approx(weights[b][:, b].sum(1).mean(), abs=1e-5)


def test_one_text_has_no_shares_between_texts(subject: Subject) -> None:
    found = head_summaries(subject.read(TEXT)).heads[0][0]
    assert (found.within_a, found.a_to_b, found.b_to_a, found.within_b) == (None,) * 4


def test_heads_are_named_by_what_they_mostly_do(subject: Subject) -> None:
    reading = subject.read("the cat sees the red house at night. the old sailor paints a tree.", PAIR)
    n = reading.n_tokens
    rows = np.arange(n)
    segments = np.array(reading.encoding.segment_ids)
    separators = np.flatnonzero(np.array(reading.encoding.tokens) == "[SEP]")

    def looking_at(*columns: np.ndarray) -> np.ndarray:
        weights = np.full((n, n), 1e-9, np.float32)
        for column in columns:
            weights[rows, column] += 1
        return weights / weights.sum(-1, keepdims=True)

    middle = np.array([np.flatnonzero((segments != own) & ~np.array(reading.is_special)) for own in segments], dtype=object)
    across = np.stack([np.isin(rows, columns) / len(columns) for columns in middle]).astype(np.float32)
    expected = {
        "previous-token": looking_at(np.maximum(rows - 1, 0)),
        "next-token": looking_at(np.minimum(rows + 1, n - 1)),
        "itself": looking_at(rows),
        "first-token": looking_at(np.zeros(n, int)),
        "separator": looking_at(np.full(n, separators[0])),
        "neighbourhood": looking_at(*(np.clip(rows + step, 0, n - 1) for step in (-2, -1, 1, 2))),
        "other-text": across + 1e-9,
        "broad": np.full((n, n), 1 / n, np.float32),
    }
    made = dataclasses.replace(reading, attention=np.stack(list(expected.values()))[None])
    assert [head.pattern for head in head_summaries(made).heads[0]] == list(expected)


WORDS = "cats dogs birds teachers sailors brothers kings trees rivers moons letters"


def _relations(reading: Reading) -> dict[str, np.ndarray]:
    """Return by name of a pattern the tokens, by column, that a head of it looks at from each token, by row."""
    tokens, word_ids = np.array(reading.encoding.tokens), np.array(reading.encoding.word_ids, float)
    is_word, segments = ~np.array(reading.is_special), np.array(reading.encoding.segment_ids)
    steps = np.arange(len(tokens)) - np.arange(len(tokens))[:, None]
    pairs = is_word & is_word[:, None] & (steps != 0)
    return {
        "previous-token": steps == -1,
        "next-token": steps == 1,
        "itself": steps == 0,
        "first-token": np.tile(np.arange(len(tokens)) == 0, (len(tokens), 1)),
        "separator": np.tile(tokens == "[SEP]", (len(tokens), 1)),
        "same-word": (word_ids == word_ids[:, None]) & (segments == segments[:, None]) & pairs,
        "same-token": (tokens == tokens[:, None]) & pairs,
        "neighbourhood": (abs(steps) <= 2) & (steps != 0),
        "other-text": (segments != segments[:, None]) & is_word,
    }


def _even(allowed: np.ndarray) -> np.ndarray:
    return allowed / np.maximum(allowed.sum(1, keepdims=True), 1)


def _elsewhere(reading: Reading) -> np.ndarray:
    """Return attention spread evenly over tokens that stand in no relation."""
    return _even(~np.any(list(_relations(reading).values()), axis=0))


def _pattern(reading: Reading, weights: np.ndarray) -> str:
    """Return the name of a head's pattern, given its attention."""
    np.testing.assert_allclose(weights.sum(1), 1)
    heads = weights.astype(np.float32)[None, None]
    return head_summaries(dataclasses.replace(reading, attention=heads)).heads[0][0].pattern


@pytest.mark.parametrize(
    ("text", "pair", "name", "threshold"),
    [
        *((WORDS, None, name, 0.4) for name in ("previous-token", "next-token", "itself", "first-token", "separator")),
        *((WORDS, None, name, 0.4) for name in ("same-word", "same-token")),
        (WORDS, None, "neighbourhood", 0.6),
        # Of ten tokens, twice what would be near by chance.
        ("cat dog bird teacher sailor king tree river", None, "neighbourhood", 0.8),
        ("cat dog bird teacher sailor king", "tree river moon letter road song", "other-text", 0.6),
    ],
)
def test_a_pattern_is_named_from_its_threshold_on(
    make_subject: Callable[..., Subject], text: str, pair: str | None, name: str, threshold: float
) -> None:
    reading = make_subject().read(text, pair)
    relation, elsewhere = _relations(reading)[name], _elsewhere(reading)
    # All of the attention, from tokens that have one to look at.
    towards = np.where(relation.any(1, keepdims=True), _even(relation), elsewhere)
    most = (towards * relation).sum() / reading.n_tokens

    def named(share: float) -> str:
        return _pattern(reading, (1 - share / most) * elsewhere + share / most * towards)

    assert named(threshold + 0.005) == name
    assert named(threshold - 0.005) in ("mixed", "broad")


def test_the_token_itself_is_not_in_its_neighbourhood(subject: Subject) -> None:
    reading = subject.read(WORDS)
    itself, near = (_even(_relations(reading)[name]) for name in ("itself", "neighbourhood"))
    assert _pattern(reading, 0.35 * itself + 0.35 * near + 0.3 * _elsewhere(reading)) == "mixed"


@pytest.mark.parametrize(
    ("threshold", "below", "above"), [(0.35, "focused", "mixed"), (0.85, "mixed", "broad")], ids=["focused", "broad"]
)
def test_what_has_no_pattern_is_named_by_how_far_it_is_spread(
    subject: Subject, threshold: float, below: str, above: str
) -> None:
    reading = subject.read(WORDS)
    n = reading.n_tokens
    pointed = np.eye(n)[_elsewhere(reading).argmax(1)]
    shares = np.linspace(0, 1, 2001)
    # Of attention to all tokens alike but for a share that goes to one of them.
    one, others = shares + (1 - shares) / n, (1 - shares) / n
    spreads = (-one * np.log2(one) - (n - 1) * others * np.log2(np.maximum(others, 1e-30))) / np.log2(n)
    for spread, name in ((threshold - 0.005, below), (threshold + 0.005, above)):
        share = shares[np.abs(spreads - spread).argmin()]
        assert _pattern(reading, (1 - share) / n + share * pointed) == name


def test_rollout_multiplies_what_the_layers_mix(reading: Reading) -> None:
    identity = np.eye(reading.n_tokens)
    mixed = [0.5 * layer.mean(axis=0) + 0.5 * identity for layer in reading.attention]
    np.testing.assert_allclose(rollout(reading, 1).rollout, mixed[0], atol=1e-6)
    np.testing.assert_allclose(rollout(reading, 3).rollout, mixed[2] @ mixed[1] @ mixed[0], atol=1e-6)
    np.testing.assert_allclose(rollout(reading, 3).rollout.sum(-1), 1, atol=1e-5)


def test_queries_and_keys_make_up_the_attention(reading: Reading) -> None:
    for layer in (1, 3):
        found = query_key(reading, layer)
        scores = found.scale * torch.from_numpy(found.queries) @ torch.from_numpy(found.keys).transpose(1, 2)
        np.testing.assert_allclose(scores.softmax(-1).numpy(), reading.attention[layer - 1], atol=1e-5)


def test_attention_of_minilm(minilm: Path) -> None:
    subject = Subject.load(minilm)
    found = head_summaries(subject.read("The children sat down on the bank of the river and watched the boats.")).heads
    assert len(found) == 6 and {len(layer) for layer in found} == {12}
    assert {head.pattern for layer in found for head in layer} >= {"previous-token", "first-token", "broad"}

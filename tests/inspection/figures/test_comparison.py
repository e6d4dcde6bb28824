"""Two models on the same text: states, attention, and CKA against its definition."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import cosine, jensenshannon

from bertsmith.errors import Refusal
from bertsmith.inspection.figures.comparison import alignment, cka, compare
from bertsmith.inspection.subject import Subject
from bertsmith.inspection.watcher import Watcher
from bertsmith.text.tokenizer import Tokenizer

TEXT = "the cats sees the red house."
TEXTS = [TEXT, "a small child likes the moon.", "the old sailor paints a green tree at night."]


def test_states_and_heads_are_compared_one_by_one(make_subject: Callable[..., Subject]) -> None:
    reading, other = make_subject().read(TEXT), make_subject(seed=1).read(TEXT)
    found = compare(reading, other)
    assert found.tokens == "same" and found.reason is None
    assert found.hidden[2, 3] == pytest.approx(1 - cosine(reading.layers[2, 3], other.layers[2, 3]), abs=1e-5)
    rows = zip(reading.attention[1, 2], other.attention[1, 2], strict=True)
    assert found.attention[1, 2] == pytest.approx(np.mean([jensenshannon(p, q, 2) ** 2 for p, q in rows]), abs=1e-4)
    same = compare(reading, reading)
    np.testing.assert_allclose(same.hidden, 1, atol=1e-5)
    np.testing.assert_allclose(same.attention, 0, atol=1e-5)


def test_models_of_other_sizes_or_tokens(make_subject: Callable[..., Subject], subject: Subject) -> None:
    wider = compare(subject.read(TEXT), make_subject(width=40).read(TEXT))
    assert wider.hidden is None and wider.attention is not None and "sizes" in str(wider.reason)
    letters = Subject.of(subject.model, Tokenizer.build([*subject.tokenizer.tokens[:5], "the"], lowercase=True))
    other = compare(subject.read(TEXT), letters.read(TEXT))
    assert (other.tokens, other.hidden, other.attention) == ("different", None, None)


def test_cka_is_the_unbiased_estimate() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 30, 7)), draw.normal(size=(3, 30, 5))
    second[1] += first[0, :, :5]

    def hsic(kernel: np.ndarray, other: np.ndarray) -> float:
        """Song et al. 2012, equation 5."""
        n = len(kernel)
        kernel, other = kernel - np.diag(np.diag(kernel)), other - np.diag(np.diag(other))
        ones = np.ones(n)
        middle = (ones @ kernel @ ones) * (ones @ other @ ones) / ((n - 1) * (n - 2))
        return (np.trace(kernel @ other) + middle - 2 / (n - 2) * ones @ kernel @ other @ ones) / (n * (n - 3))

    def aligned(one: np.ndarray, other: np.ndarray) -> float:
        kernel, their = one @ one.T, other @ other.T
        return hsic(kernel, their) / np.sqrt(hsic(kernel, kernel) * hsic(their, their))

    expected = [[aligned(one, other) for other in second] for one in first]
    np.testing.assert_allclose(cka(first, second), expected, atol=1e-9)


def test_cka_does_not_mind_rotation_and_scale_and_calls_noise_unrelated() -> None:
    draw = np.random.default_rng(1)
    states = draw.normal(size=(1, 200, 50))
    rotation, _ = np.linalg.qr(draw.normal(size=(50, 50)))
    assert cka(states, 3 * states @ rotation)[0, 0] == pytest.approx(1)
    assert abs(cka(states, draw.normal(size=(1, 200, 50)))[0, 0]) < 0.05


def test_layers_of_two_models_are_aligned_over_shared_tokens(make_subject: Callable[..., Subject]) -> None:
    subject, other = make_subject(), make_subject(seed=1, n_layers=2, width=40)
    found = alignment(subject, other, TEXTS)
    states, others = ([one.read(text).layers[:, 1:-1] for text in TEXTS] for one in (subject, other))
    expected = cka(np.concatenate(states, axis=1), np.concatenate(others, axis=1))
    assert found.n_tokens == sum(one.shape[1] for one in states) and found.cka.shape == (4, 3)
    np.testing.assert_allclose(found.cka, expected, atol=1e-6)
    np.testing.assert_allclose(np.diag(alignment(subject, subject, TEXTS).cka), 1, atol=1e-6)


def test_too_few_tokens_to_align(subject: Subject) -> None:
    with pytest.raises(Refusal, match="2 tokens of these texts alike; at least 8"):
        alignment(subject, subject, ["the cat"])


def test_no_more_texts_are_read_than_are_compared(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertsmith.inspection.watcher.TOKENS_AT_ONCE", 1)  # one text at a time
    asked: list[float] = []
    monkeypatch.setattr(Watcher, "reach", lambda _, share: asked.append(share))
    found = alignment(subject, subject, ["the " * 30] * 64)
    assert found.n_tokens == 512
    assert len(asked) == 2 * 18  # of 30 tokens each, by either model

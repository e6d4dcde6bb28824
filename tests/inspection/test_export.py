"""The page as one file: what it holds, that no text can break out of it, and that it runs nothing else."""

import base64
import copy
import hashlib
import json
import re
import sys
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import bertsmith
from bertsmith.artifacts.directory import save_model
from bertsmith.errors import Refusal, UsageError
from bertsmith.inspection.export import exported, inlined
from bertsmith.inspection.export_requests import all_questions
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.page_files import page_files
from bertsmith.inspection.requests import checked
from bertsmith.inspection.subject import Subject
from bertsmith.inspection.suggestions import Start
from bertsmith.inspection.views import VIEWS
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.task import Task

EVIL = "</script><script>alert(1)</script><!-- the cat ]]> <img src=x onerror=alert(2)>"


class Elements(HTMLParser):
    """The elements of a page, with the text of scripts and styles, as a browser's parser finds them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self._is_open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))
        self._is_open = True

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._is_open = False

    def handle_data(self, data: str) -> None:
        if self._is_open:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


def data_of(html: str) -> Any:
    ((_, text),) = [one for one in Elements(html).of("script") if one[0].get("id") == "bertsmith-data"]
    return json.loads(text)


@pytest.fixture(scope="module")
def page(make_subject: Callable[..., Subject]) -> tuple[Gallery, str]:
    gallery = Gallery([("first", make_subject()), ("second", make_subject(seed=1))], [], Start("the cat sees.", "the moon"))
    return gallery, exported(gallery)


def test_it_holds_the_answer_to_everything_the_page_asks(page: tuple[Gallery, str]) -> None:
    gallery, html = page
    data = data_of(html)
    assert data["models"]["is_export"] and data["models"]["start"] == {
        "text": "the cat sees.",
        "pair": "the moon",
        "choices": [],
    }
    questions = all_questions(gallery)
    assert len(data["answers"]) == len(questions) == len({json.dumps(question) for question in questions})
    for view, values in questions[::7]:
        request = checked(VIEWS[view].request, values)
        found = data["answers"][f"{view} {request.key}"]
        try:
            assert found == json.loads(VIEWS[view].ask(gallery, request))
        except Refusal as refusal:
            assert found == refusal.as_json()
    views = {key.split(" ")[0] for key in data["answers"]}
    assert views == VIEWS.keys() - {"task", "ablate"}


def test_it_runs_its_own_scripts_and_loads_nothing(page: tuple[Gallery, str]) -> None:
    elements = Elements(page[1])
    (policy,) = [one["content"] for one, _ in elements.of("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    scripts = [text for attributes, text in elements.of("script") if "type" not in attributes]
    styles = [text for _, text in elements.of("style")]
    files = page_files()
    assert len(scripts) == sum(name.endswith(".js") for name in files) and len(styles) == 1
    for sources, directive in ((scripts, "script-src"), (styles, "style-src")):
        listed = re.search(rf"{directive} ([^;]*)", str(policy))[1].split()
        assert listed == [f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in sources]
    assert "default-src 'none'" in str(policy) and "unsafe" not in str(policy)
    for tag, attributes, _ in elements.found:
        assert not {"src", "srcset", "onclick", "onload", "style"} & attributes.keys(), tag
        assert not str(attributes.get("href", "")).startswith(("http", "//", "/"))
    assert elements.found[[name for name, *_ in elements.found].index("head") + 1][1]["http-equiv"]


def test_texts_cannot_break_out(subject: Subject) -> None:
    html = exported(Gallery([(EVIL, subject)], [], Start(EVIL, None)))
    plain = exported(Gallery([("x", subject)], [], Start("the cat", None)))
    assert [tag for tag, *_ in Elements(html).found] == [tag for tag, *_ in Elements(plain).found]
    data = data_of(html)
    assert data["models"]["start"]["text"] == data["models"]["models"][0]["name"] == EVIL


def test_answers_for_each_token_are_left_out_of_long_texts(subject: Subject, make_subject: Callable[..., Subject]) -> None:
    def views(text: str, one: Subject) -> set[str]:
        return {view for view, _ in all_questions(Gallery([("x", one)], [], Start(text, None)))}

    long = make_subject(max_positions=200)
    assert views("the cat", subject) - views("the " * 50, long) == {"attribution", "ablation"}
    assert views("the " * 50, long) - views("the " * 100, long) == {"query-key"}
    assert views("the " * 100, long) - views("the " * 150, long) == {"predict"}


@pytest.mark.parametrize(
    ("task", "places"),
    [
        (Classify(labels=("no", "yes")), [None]),
        (Tag(labels=("O", "B-X", "I-X"), scheme="iob2", units="words"), [1, 2, 4]),
        (Answer(), [None]),
        (Choose(), []),
    ],
)
def test_heads_are_off_for_what_each_task_explains(save_task: Any, task: Task, places: list[int | None]) -> None:
    gallery = Gallery([("x", Subject.load(save_task(task)))], [], Start("the cat", "moon"))
    asked = [values for view, values in all_questions(gallery) if view == "ablation"]
    assert [values.get("position") for values in asked if values["target"] == "task"] == places


def test_checkpoints_are_chosen_evenly(subject: Subject, tmp_path: Path) -> None:
    for step in range(15):
        save_model(subject.model, subject.tokenizer, tmp_path / f"step-{step}")
    paths = [tmp_path / f"step-{step}" for step in range(15)]
    data = data_of(exported(Gallery([("x", subject)], [paths], Start("the cat", None))))
    shown = ["a", *(f"a/step-{step}" for step in (0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14))]
    assert [one["id"] for one in data["models"]["models"]] == shown
    asked = [(key.split(" ")[0], json.loads(key.split(" ", 1)[1])["model"]) for key in data["answers"]]
    assert {model for _, model in asked} == set(shown)
    assert {view for view, model in asked if model == "a/step-3"} == {"input", "attention", "similarity", "predict"}


def test_inlining() -> None:
    files = {
        "index.html": '<head><link rel="stylesheet" href="a.css"></head><body class="x"><script src="b.js"></script></body>',
        "a.css": "p{color:red}",
        "b.js": r"const x = /\d\1/;",
    }
    html = inlined(files, '{"text":"</script>"}')
    assert r"<script>const x = /\d\1/;</script></body>" in html and "<style>p{color:red}</style></head>" in html
    assert '<body class="x"><script type="application/json" id="bertsmith-data">{"text":"\\u003c/script>"}</script>' in html


def test_the_command_writes_the_file_whole(run_command: Any, toy_directory: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    code, said, err = run_command("inspect", toy_directory / "model", "--text", "the cat", "--pair", "the moon", "--out", out)
    assert (code, said) == (0, f"The page is {out}\n") and "error" not in err
    assert data_of(out.read_text())["models"]["start"] == {"text": "the cat", "pair": "the moon", "choices": []}
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["MODEL", "--out", "x.html"], 2, "say which with --text"),
        (["MODEL", "--out", ".", "--text", "x"], 2, "--out . is a directory"),
        (["MODEL", "--out", "x.html", "--text", ""], 2, "--text is empty"),
        (["MODEL", "--out", "x.html", "--text", "a" * 100_000], 1, "text has 100,000 characters; at most 20,000"),
        (["MODEL", "--out", "x.html", "--text", "a", "--pair", " "], 1, "there is nothing to look at"),
        (["MODEL", "MODEL", "MODEL"], 2, "one model is shown, or two side by side"),
        ([], 2, "bertsmith inspect needs MODELS"),
        (["nowhere"], 1, "nowhere is not a directory"),
        (["MODEL", "--port", "70000"], 2, "port"),
    ],
)
def test_what_the_command_refuses(
    run_command: Any,
    toy_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(toy_directory / "model") if argument == "MODEL" else argument for argument in arguments]
    found, _, err = run_command("inspect", *given)
    assert found == code and message in err and not list(tmp_path.iterdir())


def test_without_a_server_library_the_command_says_what_to_do(
    run_command: Any, toy_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bertsmith.inspection.server", None)
    code, _, err = run_command("inspect", toy_directory / "model")
    assert code == 2 and "pip install 'bertsmith[inspect]'" in err and "--out" in err


def test_a_notebook_shows_the_page_in_a_frame(toy_directory: Path, tmp_path: Path) -> None:
    page = bertsmith.inspect(toy_directory / "model", "the cat", height=500)
    frame = page._repr_html_()
    source = re.fullmatch(r'<iframe srcdoc="([^"]*)" sandbox="([^"]*)" style="[^"]*height:500px[^"]*"></iframe>', frame)
    assert unescape(source[1]) == page.html and "allow-same-origin" not in source[2]
    assert data_of(page.html)["models"]["start"]["text"] == "the cat"
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page.html and len(repr(page)) < 100


def test_a_notebook_takes_models_that_are_loaded(subject: Subject, toy_directory: Path, tmp_path: Path) -> None:
    mine = copy.deepcopy(subject.model).requires_grad_(True).train()
    page = bertsmith.inspect(mine, "the cat", other=toy_directory / "model", tokenizer=subject.tokenizer)
    assert mine.training and all(parameter.requires_grad for parameter in mine.parameters())
    assert [one["name"] for one in data_of(page.html)["models"]["models"]] == ["model A", "model"]
    for name in ("checkpoints/step-4", "final"):
        save_model(subject.model, subject.tokenizer, tmp_path / "run" / name)
    (tmp_path / "run" / "config.toml").touch()
    page = bertsmith.inspect(mine, "the cat", other=tmp_path / "run", tokenizer=subject.tokenizer)
    assert [one["name"] for one in data_of(page.html)["models"]["models"]] == ["model A", "run", "run, step 4"]
    with pytest.raises(UsageError, match="needs its tokenizer"):
        bertsmith.inspect(subject.model, "the cat")
    with pytest.raises(Refusal, match="nothing to look at"):
        bertsmith.inspect(toy_directory / "model", "")

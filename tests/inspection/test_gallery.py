"""Which models there are, what each can show, the checkpoints of runs, and bounded caches."""

import gc
import json
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from bertsmith.artifacts.directory import save_model
from bertsmith.errors import ArtifactError, Refusal
from bertsmith.inspection.cache import Cache
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.requests import PredictRequest, TextRequest, checked
from bertsmith.inspection.subject import Subject
from bertsmith.inspection.suggestions import Start
from bertsmith.model.bert import MASKED_TOKEN, Heads
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.saved import load_task_model, save_task_models
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

SaveTask = Callable[[Task], Path]
START = Start("the cat", None)


@pytest.fixture
def run(subject: Subject, make_subject: Callable[..., Subject], tmp_path: Path) -> Path:
    """The directory of a run with a final model and three checkpoints."""
    path = tmp_path / "my-run"
    for seed, step in enumerate((500, 1000, 2000)):
        save_model(make_subject(seed=seed).model, subject.tokenizer, path / "checkpoints" / f"step-{step}")
    save_model(subject.model, subject.tokenizer, path / "final")
    (path / "config.toml").write_text("")
    return path


def test_checkpoints_of_a_run_are_a_film(run: Path) -> None:
    for path, name in ((run, "my-run"), (run / "final", "final")):
        gallery = Gallery.open([path], START)
        model, *film = gallery.describe().models
        assert (model.id, model.name, model.role, model.of, model.step) == ("a", name, "model", None, None)
        assert [(one.id, one.role, one.of, one.step) for one in film] == [
            (f"a/step-{step}", "checkpoint", "a", step) for step in (500, 1000, 2000)
        ]
        assert "film" not in model.missing and gallery.checkpoint_ids("a") == [one.id for one in film]
        assert (model.n_layers, model.n_heads, model.width, model.mask_token) == (3, 4, 24, "[MASK]")
    states = Subject.load(run / "checkpoints" / "step-1000").read("the moon").layers
    assert (gallery.read("a/step-1000", "the moon").layers == states).all()


def test_readings_of_checkpoints_do_not_keep_all_of_them(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertsmith.inspection.gallery._CHECKPOINTS_LOADED", 1)
    one = Subject.load(run / "checkpoints" / "step-500").read("the moon")
    monkeypatch.setattr("bertsmith.inspection.gallery._CACHED_BYTES", 10 * one.n_bytes)  # less than a model
    gallery = Gallery.open([run], START)
    models = [weakref.ref(gallery.read(name, "the moon").subject.model) for name in gallery.checkpoint_ids("a")]
    gc.collect()
    assert [model() is not None for model in models] == [False, False, True]


def test_an_unfinished_run_shows_its_newest_checkpoint(run: Path, make_subject: Callable[..., Subject], tmp_path: Path) -> None:
    (run / "final").rename(tmp_path / "elsewhere")
    gallery = Gallery.open([run], START)
    assert (gallery.read("a", "the cat").layers == make_subject(seed=2).read("the cat").layers).all()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.toml").write_text("")
    with pytest.raises(ArtifactError, match="without a final model or a checkpoint yet"):
        Gallery.open([tmp_path / "empty"], START)


def test_a_run_of_several_tasks_names_their_models(subject: Subject, save_task: SaveTask, tmp_path: Path) -> None:
    task, model = load_task_model(save_task(Classify(labels=("a", "b"))))
    save_task_models({"mood": (task, model, "")}, subject.tokenizer, tmp_path / "run" / "final")
    (tmp_path / "run" / "config.toml").write_text("")
    for path in (tmp_path / "run", tmp_path / "run" / "final"):
        with pytest.raises(ArtifactError, match=r"name one of them: .*mood$"):
            Gallery.open([path], START)
    (described,) = Gallery.open([tmp_path / "run" / "final" / "mood"], START).describe().models
    assert described.task is not None and described.task.kind == "classify"


def test_two_models_of_one_name_are_told_apart(run: Path, subject: Subject, tmp_path: Path) -> None:
    save_model(subject.model, subject.tokenizer, tmp_path / "other" / "final")
    models = Gallery.open([run / "final", tmp_path / "other" / "final"], START).describe().models
    assert [one.name for one in models if one.role == "model"] == [str(run / "final"), str(tmp_path / "other" / "final")]
    assert not {"compare", "cka"} & models[0].missing.keys()


def _missing(subject: Subject) -> dict[str, str]:
    (described,) = Gallery([("one", subject)], [], START).describe().models
    return {view: missing.code for view, missing in described.missing.items()}


def test_what_each_model_cannot_show(
    make_subject: Callable[..., Subject], save_task: SaveTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertsmith.inspection.gallery.has_captum", lambda: True)
    always = {"compare": "no_second_model", "cka": "no_second_model", "film": "no_checkpoints"}
    untrained = {"predict": "no_masked_token_head", "pseudo-perplexity": "no_masked_token_head"}
    no_next = {"next-sentence": "no_next_sentence_head"}
    no_target = dict.fromkeys(("attribution", "ablation", "ablate"), "no_target")
    assert _missing(make_subject()) == {"task": "no_task_head"} | always
    assert _missing(make_subject(MASKED_TOKEN)) == {"task": "no_task_head"} | no_next | always
    assert _missing(make_subject(Heads())) == {"task": "no_task_head"} | untrained | no_next | no_target | always
    assert _missing(Subject.load(save_task(Classify(labels=("a", "b"))))) == untrained | no_next | always
    assert _missing(Subject.load(save_task(Embed()))) == {"task": "no_task_head"} | untrained | no_next | no_target | always
    assert _missing(Subject.load(save_task(Choose()))) == untrained | no_next | no_target | always
    monkeypatch.setattr("bertsmith.inspection.gallery.has_captum", lambda: False)
    assert _missing(make_subject()) == {"task": "no_task_head", "integrated-gradients": "no_captum"} | always


def _rewrite(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    (file.parent / "manifest.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("config.json", {"architectures": ["BertForJointScoring"]}, "the encoder alone"),
        ("config.json", {"architectures": ["BertForQuestionAnswering"]}, "the encoder alone"),
        ("config.json", {"is_decoder": True}, "the encoder alone"),
        ("task.json", {"task": "mine"}, "opened without its task"),
    ],
)
def test_what_is_not_known_of_a_model_leaves_its_encoder_to_look_into(
    save_task: SaveTask, caplog: pytest.LogCaptureFixture, file: str, values: dict[str, object], said: str
) -> None:
    directory = save_task(Classify(labels=("a", "b")))
    if file == "config.json":
        (directory / "task.json").unlink()
    _rewrite(directory / file, **values)
    gallery = Gallery.open([directory], START)
    (description,) = gallery.describe().models
    assert description.task is None and "attention" not in description.missing
    assert gallery.read("a", "the cat").attention.shape == (3, 4, 4, 4)
    (message,) = [one for one in caplog.messages if said in one]
    assert str(directory) in message


def test_a_vocabulary_without_a_mask(make_subject: Callable[..., Subject]) -> None:
    tokenizer = Tokenizer.build(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the"], lowercase=True)
    missing = _missing(Subject.of(make_subject().model, tokenizer))
    assert {missing[view] for view in ("predict", "pseudo-perplexity", "masking")} == {"no_mask_token"}
    assert missing["attribution"] == "no_target" and "ablation" not in missing  # the next sentence is left to look at


def test_a_model_that_is_not_there(gallery: Gallery) -> None:
    for name in ("c", "a/step-7"):
        with pytest.raises(Refusal, match="there is no model") as caught:
            gallery.read(name, "the cat")
        assert caught.value.code == "unknown_model"


def test_readings_are_kept(gallery: Gallery) -> None:
    assert gallery.read("a", "the cat") is gallery.read("a", "the cat")
    assert gallery.read("a", "the cat") is not gallery.read("b", "the cat")
    assert gallery.read("a", "the cat", "the moon").pair == "the moon"


def test_a_cache_drops_what_was_used_longest_ago() -> None:
    cache: Cache[str] = Cache(10, len)
    asked = []

    def get(key: str, value: str) -> str:
        return cache.get(key, lambda: asked.append(key) or value)

    for key, value in (("a", "xxxx"), ("b", "yyyy"), ("a", "xxxx"), ("c", "zzzz"), ("a", "xxxx"), ("b", "yyyy")):
        assert get(key, value) == value
    assert asked == ["a", "b", "c", "b"]
    assert get("large", "w" * 50) == "w" * 50
    get("large", "")
    get("a", "xxxx")
    assert asked == ["a", "b", "c", "b", "large", "a"]


def test_a_cache_serves_many_threads() -> None:
    cache: Cache[bytes] = Cache(500, len)
    wrong = []

    def use() -> None:
        for number in range(2000):
            key = number % 17
            found = cache.get(key, lambda key=key: bytes([key]) * 60)
            wrong.extend([key] if found[0] != key else [])

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ({"text": ""}, "empty_text", "there is nothing to look at"),
        ({"text": " \n\t\u3000"}, "empty_text", "there is nothing to look at"),
        ({"text": "a" * 100_000}, "too_long", "text has 100,000 characters; at most 20,000"),
        ({"text": "a", "pair": "b" * 20_001}, "too_long", "pair has 20,001 characters"),
        ({"text": 5}, "invalid", "text: "),
        ({}, "invalid", "text: "),
        ({"text": "a", "tekst": "b"}, "invalid", "tekst: "),
        ({"text": "a \ud800"}, "invalid", "text: "),
    ],
)
def test_requests_are_bounded(values: dict[str, object], code: str, message: str) -> None:
    with pytest.raises(Refusal, match=message) as caught:
        checked(TextRequest, {"model": "a", **values})
    assert caught.value.code == code
    json.dumps(caught.value.as_json()).encode()


def test_a_request_is_its_own_key() -> None:
    asked = checked(PredictRequest, {"position": 3, "text": 'a "b" < 北\n\x01\x7f', "model": "a"})
    assert asked.key == r'{"masked":true,"model":"a","position":3,"text":"a \"b\" < 北\n\u0001' + '\x7f"}'

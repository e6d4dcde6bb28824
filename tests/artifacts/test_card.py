"""Cards name what a model is from and how good it is, in the header that the hub reads, and no place of a machine."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from bertsmith.artifacts.card import CardHeader, Evaluation, Origin, dataset_name, finetuned_card, model_card


def _header(**changes: Any) -> CardHeader:
    values: dict[str, Any] = {
        "title": "a model: of 3",
        "pipeline_tag": "text-classification",
        "base_model": "owner/base",
        "language": "no",
        "license": "apache-2.0",
        "datasets": ["hub:glue@sst2:train", "train.tsv", "train.tsv"],
        "evaluations": [Evaluation("dev #1.tsv", "dev", {"accuracy": 0.912345678, "mcc": 1, "nan": float("nan")})],
    }
    return CardHeader(**values | changes)


def test_the_header_is_what_the_hub_reads() -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    card = huggingface_hub.ModelCard(finetuned_card(_header(), kind="classify", facts={}, results="", configuration=""))
    data = card.data
    values = data.to_dict()
    assert [values[name] for name in ("language", "license", "library_name")] == ["no", "apache-2.0", "transformers"]
    assert (data.base_model, data.datasets, data.tags) == ("owner/base", ["glue", "train.tsv"], ["bert", "bertsmith"])
    assert data.model_name == "a model: of 3" and data.pipeline_tag == "text-classification"
    accuracy, correlation = data.eval_results
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.912346)
    assert (correlation.metric_type, correlation.metric_name) == ("matthews_correlation", "mcc")
    assert (accuracy.dataset_name, accuracy.dataset_split, accuracy.task_type) == ("dev #1.tsv", "dev", "text-classification")


def test_what_is_not_known_is_left_out() -> None:
    bare = _header(base_model=None, language=None, license=None, datasets=[], evaluations=[Evaluation("x", "dev", {})])
    assert str(bare) == "library_name: transformers\npipeline_tag: text-classification\ntags:\n- bert\n- bertsmith\n"


def test_no_place_is_shown() -> None:
    configuration = """
model = "/home/anna/models/base"
out = "runs/first"
train = "/home/anna/data/\\"quoted\\" train.tsv"
test = "hub:owner/set:test"
labels = ["/film/actor", "/film/director"]
[tasks.a]
dev = "../anna/dev.tsv"
train = "hub:/home/anna/set:train"
model = "/home/anna/.cache/huggingface/hub/models--owner--bert-tiny/snapshots/0123"
"""
    card = model_card(_header(), {"Corpus": "corpus"}, {"mlm_loss": 2.0}, configuration)
    assert "anna" not in card
    shown = tomllib.loads(card.partition("```toml\n")[2].partition("```")[0])
    assert shown == {
        "model": "base",
        "out": "runs/first",
        "train": '"quoted" train.tsv',
        "test": "hub:owner/set:test",
        "labels": ["/film/actor", "/film/director"],
        "tasks": {"a": {"dev": "dev.tsv", "train": "set:train", "model": "owner/bert-tiny"}},
    }
    assert "| mlm_loss | 2.0000 |" in card


CARD = """---
language:
- zh
license: mit
tags:
- x
---
# Theirs
license: none
"""


def test_the_origin_is_known_by_a_name_that_is_no_place(tmp_path: Path) -> None:
    for name in ("my-run/final", "models--owner--bert-tiny/snapshots/0123", "plain"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "plain" / "README.md").write_text(CARD)
    assert Origin.of(tmp_path / "my-run" / "final") == Origin("my-run")
    assert Origin.of(tmp_path / "models--owner--bert-tiny" / "snapshots" / "0123") == Origin("owner/bert-tiny")
    assert Origin.of(tmp_path / "plain") == Origin("plain", "zh", "mit")
    (tmp_path / "plain" / "README.md").write_text("license: mit\n")
    assert Origin.of(tmp_path / "plain") == Origin("plain")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("hub:glue@sst2:train", "glue"),
        ("hub:owner/set:validation[:50%]", "owner/set"),
        ("hub:/data/set:train", "set"),
        ("/data/x/train.tsv", "train.tsv"),
        ("train.tsv", "train.tsv"),
    ],
)
def test_names_of_datasets(source: str, name: str) -> None:
    assert dataset_name(source) == name

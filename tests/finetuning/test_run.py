"""Whole fine-tuning runs: what they leave behind for every task, what is refused, and that they can be repeated."""

import json
import math
import os
import re
import shutil
import statistics
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import bertsmith
from bertsmith.errors import DamagedError, DivergedError, InputError, Interrupted, MismatchError, UsageError
from bertsmith.finetuning import run as module
from bertsmith.finetuning.grid import FinetuneConfig, Usual, config_of
from bertsmith.finetuning.labelled import read_data, read_folds
from bertsmith.finetuning.run import finetune
from bertsmith.inference.pipelines import TaskPipeline, VectorPipeline
from bertsmith.model.heads.pooling import SentenceVectors
from bertsmith.tasks.records import as_json, judged_record
from bertsmith.tasks.saved import TASKS

Make = Callable[..., FinetuneConfig]
N_TRAIN, N_DEV = 24, 12
TOY_KINDS = ("classify", "multilabel", "regress", "tag", "answer", "choose", "rank", "embed")


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what guards against power cuts, of which these tests have none, and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def make(toy_directory: Path, tmp_path: Path, toy_data: Callable[..., dict[str, str]]) -> Make:
    """Make the configuration of a run of 6 steps on toy data; keyword arguments change or add settings."""

    def configuration(task: str = "classify", /, **changes: Any) -> FinetuneConfig:
        data = toy_data(task, tmp_path, N_TRAIN, N_DEV)
        values: dict[str, Any] = {
            "model": str(toy_directory / "model"),
            "train": data["train"],
            "dev": data["dev"],
            "out": str(tmp_path / "run"),
            "lr": [1e-3],
            "epochs": [2],
            "batch_size": [8],
            "task": {"max_length": 32},
            "machine": {"device": "cpu", "precision": "float32"},
            "record": {"log_every": 1},
        }
        for name, value in changes.items():
            values[name] = {**values[name], **value} if isinstance(values.get(name), dict) else value
        made: FinetuneConfig = config_of(TASKS[task]).from_values(values, "test")
        return made

    return configuration


def files(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def results(run: Path) -> dict[str, Any]:
    return {path.parent.name: json.loads(path.read_text()) for path in run.glob("trials/*/result.json")}


@pytest.mark.parametrize("task", TOY_KINDS)
def test_every_task_from_a_file_to_a_model_that_predicts(make: Make, task: str) -> None:
    train = Path(make(task).train)
    suffix, config = train.suffix[1:], make(task, test=str(train.with_stem("test")))
    final = finetune(config)
    assert final == config.out / "final"
    (result,) = results(config.out).values()
    metric = TASKS[task]().main_metric
    n_steps = 18 if task == "rank" else 6  # batches are of candidates, three a query
    assert result["steps"] == n_steps and result["trial"]["batch_size"] == 8
    assert metric in result["dev"] and result["test"].keys() == result["dev"].keys()

    card, page = (final / "README.md").read_text(encoding="utf-8"), (config.out / "report.html").read_text(encoding="utf-8")
    shown = f"{result['dev'][metric]:.4f}" if metric == "spearman" else f"{result['dev'][metric]:.2%}"
    assert re.search(rf"^\| lr-0\.001-epochs-2-batch-8 \| +1 \| +{shown} \|", card, re.MULTILINE)
    assert f"train.{suffix}, {N_TRAIN} examples" in card and f"dev.{suffix}, {N_DEV} examples" in card
    assert str(config.out.parent) not in card and str(config.model.parent) not in card
    assert "base_model: model\n" in card and f"datasets:\n- train.{suffix}\n" in card
    assert f"name: {metric}\n" in card and "split: test\n" in card
    has_probe = task in ("classify", "multilabel", "regress", "tag")
    assert bool(re.search(r"^\| linear probe +\| +– \|", card, re.MULTILINE)) == has_probe
    assert ("linear probe" in page) == has_probe
    assert "Finished" in page and "Configuration" in page

    pipe = TaskPipeline.load(final)
    assert pipe.task.kind == task and pipe.task.max_length == 32
    examples = list(pipe.task.read(config.dev, labelled=True))
    predictions = [found for _, found in pipe.predict(examples)]
    written = [json.loads(line) for line in (config.out / "dev-predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    said = [json.loads(as_json(judged_record(pipe.task, *pair))) for pair in zip(examples, predictions, strict=True)]
    assert len(written) == N_DEV
    assert written == said
    assert pipe.task.score(examples, predictions) == result["dev"]
    assert sorted(path.name for path in config.out.iterdir()) == [
        ".lock",
        "config.toml",
        "dev-predictions.jsonl",
        "digests.json",
        "environment.json",
        "final",
        "report.html",
        "trials",
    ]


def test_without_a_dev_file_a_share_is_held_out_and_said(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bertsmith")
    config = make(dev=None, dev_share=0.25)
    final = finetune(config)
    said = f"6 of {N_TRAIN} examples (25%), stratified by label, equal texts in one part"
    assert f"no --dev file: held out of train.tsv are {said}" in caplog.text
    assert f"{N_TRAIN - 6} examples to train on, 6 to choose by" in caplog.text
    card = (final / "README.md").read_text(encoding="utf-8")
    assert f"train.tsv, {N_TRAIN - 6} examples" in card and f"held out of train.tsv, {said}" in card
    data = read_data(config, config.task)  # type: ignore[attr-defined]
    sources = [{example.source for example in part} for part in (data.train, data.dev)]
    assert not sources[0] & sources[1] and len(sources[0] | sources[1]) == N_TRAIN
    again = read_data(config, config.task)  # type: ignore[attr-defined]
    assert (again.train, again.dev) == (data.train, data.dev)


def test_folds_are_held_out_in_turn_and_averaged(make: Make) -> None:
    config = make(dev=None, folds=3, seeds=2)
    final = finetune(config)
    found = results(config.out)
    assert len(found) == 6 and {name.partition("-seed-")[2] for name in found} == {
        f"{seed}-fold-{fold}" for seed in (0, 1) for fold in (1, 2, 3)
    }
    by_fold = [[one["dev"]["accuracy"] for name, one in found.items() if name.endswith(f"-fold-{fold}")] for fold in (1, 2, 3)]
    means = [statistics.mean(scores) for scores in by_fold]
    interval = 4.303 * statistics.stdev(means) / math.sqrt(3)  # Student's, of two degrees of freedom
    card = (final / "README.md").read_text(encoding="utf-8")
    row = next(line for line in card.splitlines() if line.startswith("| lr-"))
    assert [cell.strip() for cell in row.split("|")[2:4]] == [
        "6",
        f"{statistics.mean(means):.2%}".rstrip("%") + f" ± {100 * interval:.2f}%",
    ]
    best = max(found.values(), key=lambda one: one["dev"]["accuracy"])["trial"]["fold"]
    assert f"fold {best} of 3, " in card and "means over the folds ± Student's 95 % interval" in card
    parts = read_folds(config, config.task, 3)  # type: ignore[attr-defined]
    held_out = [{example.source for example in part.dev} for part in parts]
    assert sum(map(len, held_out)) == len(set.union(*held_out)) == N_TRAIN
    assert all({example.source for example in part.train}.isdisjoint(own) for part, own in zip(parts, held_out, strict=True))
    predicted = (config.out / "dev-predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(predicted) == len(held_out[best - 1])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, UsageError, "--folds holds out parts of .* leave one out"),
        ({"dev": None}, InputError, "too few examples for --folds"),
    ],
)
def test_folds_need_enough_examples_and_no_dev_file(
    make: Make, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    config = make(folds=10 * N_TRAIN, **settings)
    with pytest.raises(error, match=message):
        finetune(config)
    assert not config.out.exists()


def test_a_label_of_which_every_example_is_held_out_is_known(make: Make, tmp_path: Path) -> None:
    rows = "".join(f"the cat {number}\t{number}\n" for number in range(12))
    (tmp_path / "train.tsv").write_text("sentence\tlabel\n" + rows)
    config = make(dev=None, dev_share=0.5)
    data = read_data(config, config.task)  # type: ignore[attr-defined]
    assert len(data.dev) == 6 and len(data.task.labels) == 12


def test_queries_held_out_must_have_a_relevant_candidate(make: Make, tmp_path: Path) -> None:
    rows = "".join(
        json.dumps({"query": f"q{n}", "candidates": ["a", "b"], "labels": [int(n == 1), 0]}) + "\n" for n in range(20)
    )
    (tmp_path / "one.jsonl").write_text(rows)
    config = make("rank", train=str(tmp_path / "one.jsonl"), dev=None)
    with pytest.raises(InputError, match=r"none of the 2 queries .* has a relevant candidate; give a --dev file"):
        finetune(config)
    assert not config.out.exists()


def test_one_example_is_too_few_to_hold_some_out(make: Make, tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("sentence\tlabel\nthe cat\t0.5\n")
    (tmp_path / "one.conll").write_text("the O\ncat B-WHO\n")
    config = make("tag", train=str(tmp_path / "one.conll"), dev=None)
    with pytest.raises(InputError, match=r"one\.conll has 1 example\(s\): too few to hold some out; give a --dev file"):
        read_data(config, config.task)  # type: ignore[attr-defined]


def test_the_best_of_a_grid_is_kept_alone(make: Make) -> None:
    config = make(lr=[1e-3, 4e-3], seeds=2, epochs=[6])
    final = finetune(config)
    found = results(config.out)
    assert list(found) and len(found) == 4
    best = max(config.trials(Usual(32, (1000,))), key=lambda trial: found[trial.name]["dev"]["accuracy"])
    card = (final / "README.md").read_text(encoding="utf-8")
    assert f"learning rate {best.learning_rate:g}, 6 epochs, batches of 8" in card
    assert card.count("| lr-0.00") == 2 and "±" in card
    for trial in config.trials(Usual(32, (1000,))):
        left = sorted(path.name for path in (config.out / "trials" / trial.name).iterdir())
        assert left == ["digests.json", "metrics.jsonl", "result.json"]
    examples = list(config.task.read(config.dev, labelled=True))  # type: ignore[attr-defined]
    pipe = bertsmith.pipeline(final)
    predictions = [prediction for _, prediction in pipe.predict(examples)]
    assert pipe.task.score(examples, predictions)["accuracy"] == found[best.name]["dev"]["accuracy"]


def test_trials_differ_by_their_seed(make: Make) -> None:
    config = make(seeds=2)
    finetune(config)
    losses = [
        [json.loads(line)["loss"] for line in path.read_text().splitlines() if '"train"' in line]
        for path in config.out.glob("trials/*/metrics.jsonl")
    ]
    assert len(losses) == 2 and losses[0] != losses[1]


def test_the_same_run_twice_gives_the_same_bytes(make: Make, tmp_path: Path) -> None:
    finals = [finetune(make(out=str(tmp_path / name), recipe={"r_drop": 1.0}, seeds=2)) for name in ("one", "two")]
    first, second = (files(final) for final in finals)
    assert first["model.safetensors"] == second["model.safetensors"]
    assert first["task.json"] == second["task.json"]


def test_a_finished_run_is_left_alone(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    config = make()
    final = finetune(config)
    before = files(config.out)
    assert finetune(config) == final
    assert files(config.out) == before
    assert "is finished already; begin a new run with another --out" in caplog.text


def test_early_stopping_ends_a_run_and_leaves_no_second_model(make: Make) -> None:
    config = make(patience=1, epochs=[50], lr=[1e-6])
    final = finetune(config)
    (result,) = results(config.out).values()
    assert result["steps"] < 150
    assert final.is_dir() and len(list(config.out.rglob("model.safetensors"))) == 1


def test_thresholds_tuned_on_dev_are_in_the_model(make: Make) -> None:
    pipe = bertsmith.pipeline(finetune(make("multilabel")))
    assert len(pipe.task.thresholds) == len(pipe.task.labels) == 5


@pytest.fixture
def triplets(tmp_path: Path) -> str:
    subjects, verbs, things = ("the cat", "my teacher", "the king"), ("sees", "likes", "finds"), ("a song", "some bread")
    records = (
        {"anchor": f"{subject} {verb}", "positive": f"{verb} {thing}", "negative": f"{subject} {thing}"}
        for subject, verb, thing in product(subjects, verbs, things)
    )
    (tmp_path / "triplets.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(tmp_path / "triplets.jsonl")


def test_a_batch_whose_examples_are_compared_is_not_done_in_parts(make: Make, tmp_path: Path, triplets: str) -> None:
    weights = []
    for batch_tokens in (8192, 16):
        recipe = {"batch_tokens": batch_tokens}
        final = finetune(make("embed", train=triplets, dev=triplets, out=str(tmp_path / str(batch_tokens)), recipe=recipe))
        weights.append((final / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_vectors_from_triplets_with_mined_negatives(make: Make, triplets: str) -> None:
    task = {"mine": 1, "mine_margin": 0.0, "pooling": "cls"}
    config = make("embed", train=triplets, dev=triplets, task=task)
    final = finetune(config)
    (result,) = results(config.out).values()
    assert result["dev"].keys() == {"mrr", "accuracy", "triplet_accuracy"}

    pipe, of_task = bertsmith.pipeline(final), TaskPipeline.load(final)
    assert isinstance(pipe, VectorPipeline) and pipe.max_length == 32
    assert of_task.task.head() == SentenceVectors("cls", normalised=True)
    texts = ["the cat sees a song", "the king"]
    for vector, found in zip(pipe(texts), of_task(texts), strict=True):
        assert vector.tolist() == pytest.approx(found.vectors[0].tolist(), abs=1e-6)
    manifest = json.loads((final / "manifest.json").read_text())
    theirs = {"modules.json", "1_Pooling/config.json", "2_Normalize/config.json", "sentence_bert_config.json"}
    assert theirs | {"config_sentence_transformers.json", "task.json", "README.md"} <= manifest["files"].keys()


# Refusals.


def test_other_settings_on_the_same_run_are_refused_by_name(make: Make) -> None:
    finetune(make())
    before = files(make().out)
    with pytest.raises(MismatchError) as caught:
        finetune(make(lr=[2e-3], seeds=2, task={"label_smoothing": 0.1}))
    assert "  lr was [0.001], is now [0.002]\n" in str(caught.value)
    assert "  seeds was 1, is now 2\n" in str(caught.value)
    assert "  task.label_smoothing was 0.0, is now 0.1\n" in str(caught.value)
    assert str(caught.value).count(" is now ") == 3
    assert files(make().out) == before


@pytest.mark.parametrize(("name", "what"), [("train.tsv", "training file"), ("dev.tsv", "dev file")])
def test_changed_data_on_the_same_run_is_refused_by_name(make: Make, tmp_path: Path, name: str, what: str) -> None:
    finetune(make())
    (tmp_path / name).write_text((tmp_path / name).read_text() + "the cat sees\t1\n")
    with pytest.raises(MismatchError, match=f"the {what} is not the one that .*run was begun on; choose another --out"):
        finetune(make())


@pytest.mark.parametrize("changes", [{"dev": None}, {"dev": "hub:another:set"}])
def test_a_dev_set_that_is_gone_or_another_is_refused(
    make: Make, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make()
    finetune(config)
    monkeypatch.setattr(
        module, "read_data", lambda changed, task: read_data(changed.model_copy(update={"dev": config.dev}), task)
    )
    with pytest.raises(MismatchError, match=r"the dev file is not the one that .*run was begun on"):
        finetune(make(**changes))


def test_a_run_stopped_while_it_finishes_is_finished_by_the_same_command(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make()
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(module, "save_model", _stop)
        finetune(config)
    assert not (config.out / "final").exists()
    finetune(config)
    assert "Finished" in (config.out / "report.html").read_text(encoding="utf-8")
    assert not list(config.out.glob("trials/*/model"))


def test_a_trial_that_diverges_is_left_out(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    config = make(lr=[1e-3, 1e30], recipe={"max_gradient_norm": 1e30})
    finetune(config)
    (name,) = results(config.out)
    assert name.startswith("lr-0.001")
    assert "lr-1e+30-epochs-2-batch-8-seed-0: left out, since" in caplog.text
    with pytest.raises(DivergedError, match="training diverged"):
        finetune(make(lr=[1e30], recipe={"max_gradient_norm": 1e30}, out=str(config.out.parent / "other")))


def test_files_in_another_place_with_the_same_content_go_on(make: Make, tmp_path: Path) -> None:
    final = finetune(make())
    (tmp_path / "moved.tsv").write_bytes((tmp_path / "train.tsv").read_bytes())
    assert finetune(make(train=str(tmp_path / "moved.tsv"), record={"log_every": 2, "save_every": 7})) == final


def test_a_run_of_another_task_in_the_same_place_is_refused(make: Make) -> None:
    config = make()
    finetune(config)
    with pytest.raises(UsageError, match=r"config\.toml"):
        finetune(make("tag"))


def test_several_processes_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="finetune runs in one process; start it without torchrun"):
        finetune(make())
    assert not make().out.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {"max_length": 100}}, "--max-length 100 is beyond the 64 positions"),
        ({"recipe": {"frozen_layers": 9}}, "--frozen-layers 9: the model has 2 layers"),
        ({"task": {"metric": "acuracy"}}, "--metric acuracy: there is no such score"),
    ],
)
def test_impossible_settings_leave_nothing_behind(make: Make, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        finetune(make(**changes))
    assert not make().out.exists()


def test_a_spoilt_result_is_one_message_with_a_remedy_that_works(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, config = finetune(make(out=str(tmp_path / "whole"), seeds=2)), make(seeds=2)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(module, "_finish", _stop)
        finetune(config)
    trial = config.out / "trials" / config.trials(Usual(32, (1000,)))[0].name
    text = (trial / "result.json").read_text()
    for spoilt, what in (
        (text.replace("0.", "1."), "result.json is altered: its SHA-256 is not the one in digests.json"),
        (text[:50], "result.json has 50 bytes where digests.json says"),
        (None, "result.json is not valid JSON"),
        ("{}", "result.json lacks trial, dev, test, steps, seconds"),
        (text.replace('"learning_rate"', '"rate"'), "result.json is not what bertsmith writes there"),
        (text.replace('"accuracy"', '"acc"'), "result.json lacks the accuracy on the dev set"),
    ):
        if spoilt is None:  # what an earlier version left has no digests
            (trial / "digests.json").unlink()
        (trial / "result.json").write_text(spoilt or text[:50])
        with pytest.raises(DamagedError, match=rf"^{re.escape(str(trial))}/{what}.*; remove {re.escape(str(trial))} "):
            finetune(config)
    shutil.rmtree(trial)
    assert files(finetune(config))["model.safetensors"] == files(whole)["model.safetensors"]


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


POOR = {
    "classify": ("sentence\tlabel\nthe cat\t1\nthe cat sees\t1\n", "every example has the label '1'"),
    "multilabel": ("sentence\tlabels\nthe cat\t\nthe cat sees\t\n", "no example has a label: F1"),
    "regress": ("sentence1\tsentence2\tscore\ncat\tdog\t3\nking\tsong\t3\n", "every example has the number 3: correlations"),
    "embed": ("sentence1\tsentence2\tscore\ncat\tdog\t3\nking\tsong\t3\n", "every example has the number 3: correlations"),
    "tag": ("the O\ncat O\n\nthe O\n\n", "no word is part of an entity: F1 is 0"),
    "rank": ("query\tcandidate\tlabel\ncat\tdog\t1\nking\tsong\t1\n", "no query has both a relevant candidate and another"),
}


@pytest.mark.parametrize("task", POOR)
def test_a_dev_file_by_which_no_model_is_better_than_another_is_said_to_be_one(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, task: str
) -> None:
    content, caveat = POOR[task]
    suffix = Path(make(task).dev or "").suffix if task == "tag" else ".tsv"
    dev = tmp_path / f"poor{suffix}"
    dev.write_text(content)
    config = make(task, dev=str(dev))
    finetune(config)
    assert [message for message in caplog.messages if message.startswith(f"{dev}: {caveat}")]
    (result,) = results(config.out).values()
    assert all(math.isfinite(value) for value in result["dev"].values())


def test_questions_held_out_without_an_answer_are_scored(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    config = make("answer", dev=None, dev_share=0.1, task={"paragraphs": 1})
    examples = [json.loads(line) for line in Path(config.train).read_text().splitlines()]
    for example in examples[1:]:
        example.update(answers=[], is_impossible=True)
    Path(config.train).write_text("".join(json.dumps(example) + "\n" for example in examples))
    finetune(config)
    assert f"what is held out of {config.train}: no question has an answer: to give none is always right" in caplog.messages

"""Runs of several tasks on one encoder: what they leave behind, what a step moves, resuming, refusals."""

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import bertsmith
from bertsmith.artifacts.directory import load_model
from bertsmith.errors import ConfigError, DamagedError, InputError, Interrupted, MismatchError, UsageError
from bertsmith.files import read_manifest, read_sealed, verify_manifest
from bertsmith.finetuning.grid import Usual, config_of
from bertsmith.finetuning.multi import MultiConfig
from bertsmith.finetuning.run import _prepare, finetune
from bertsmith.finetuning.trial import TrialRun
from bertsmith.inference.pipelines import TaskPipeline
from bertsmith.progress import SILENT
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.saved import TASKS
from bertsmith.training.run_directory import RunDirectory

Make = Callable[..., MultiConfig]
Records = Callable[[Path], list[dict[str, Any]]]
KINDS = tuple(TASKS)
SIZES = {"classify": 24, "tag": 16, "regress": 12}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what guards against power cuts, of which these tests have none, and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def make(toy_directory: Path, tmp_path: Path, toy_data: Callable[..., dict[str, str]]) -> Make:
    """Make the configuration of a run of tasks called "a-KIND"; keyword arguments change or add settings."""

    def configuration(*kinds: str, tables: dict[str, Any] | None = None, **changes: Any) -> MultiConfig:
        tasks = {
            f"a-{kind}": {"kind": kind, "max_length": 32, **toy_data(kind, tmp_path / kind, SIZES.get(kind, 16), 10)}
            for kind in kinds or SIZES
        }
        values: dict[str, Any] = {
            "model": str(toy_directory / "model"),
            "out": str(tmp_path / "run"),
            "lr": [2e-3],
            "epochs": [2],
            "batch_size": [4],
            "machine": {"device": "cpu", "precision": "float32"},
            "record": {"log_every": 1, "save_every": 2, "evaluate_every": 5},
            "tasks": {**tasks, **(tables or {})},
        }
        for name, value in changes.items():
            values[name] = {**values[name], **value} if isinstance(values.get(name), dict) and name != "tasks" else value
        return MultiConfig.from_values(values, "tasks.toml")

    return configuration


def only_result(config: MultiConfig) -> dict[str, Any]:
    (path,) = config.out.glob("trials/*/result.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def bytes_below(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# What a run leaves behind.


def test_every_kind_of_task_at_once(make: Make) -> None:
    config = make(*KINDS, epochs=[1])
    final = finetune(config)
    result, page = only_result(config), (config.out / "report.html").read_text(encoding="utf-8")
    main = {f"a-{kind}": f"a-{kind}/{TASKS[kind]().main_metric}" for kind in KINDS}
    assert result["dev"]["mean"] == pytest.approx(sum(result["dev"][name] for name in main.values()) / len(KINDS))
    assert result["test"].keys() == result["dev"].keys()
    manifest = read_manifest(final, "multi")
    verify_manifest(final, manifest)
    assert manifest["tasks"] == {f"a-{kind}": kind for kind in KINDS}
    encoders = []
    for kind in KINDS:
        directory, (_, task) = final / f"a-{kind}", config.by_task()[f"a-{kind}"]
        pipe = TaskPipeline.load(directory)
        assert type(pipe.task) is type(task) and pipe.task.max_length == 32
        examples = list(pipe.task.read(config.tasks[f"a-{kind}"]["dev"], labelled=True))
        scores = pipe.task.score(examples, [found for _, found in pipe.predict(examples)])
        assert scores == {name: result["dev"][f"a-{kind}/{name}"] for name in scores}
        card = (directory / "README.md").read_text(encoding="utf-8")
        assert f"# a-{kind}\n" in card and f"dev a-{kind} " in card and sum(f"dev a-{other} " in card for other in KINDS) == 1
        assert f"Dev set of a-{kind}" in page or kind in ("regress", "answer", "choose", "rank", "embed")
        assert f"Training loss of a-{kind}" in page
        assert len((config.out / f"dev-predictions-a-{kind}.jsonl").read_text().splitlines()) == 10
        theirs = transformers.AutoModel.from_pretrained(directory)
        encoders.append(theirs.encoder.state_dict())
    assert all(torch.equal(tensor, one[name]) for one in encoders for name, tensor in encoders[0].items())


def test_a_task_alone_is_the_run_of_that_task(make: Make, tmp_path: Path) -> None:
    """The same batches, weights and moments: to the byte."""
    several = make("classify", recipe={"head_lr": 4e-3, "dropout": 0.2})
    table = dict(several.tasks["a-classify"])
    table.pop("kind")
    files = {name: table.pop(name) for name in ("train", "dev", "dev_share", "group", "test", "format")}
    shared = several.model_dump(mode="json", exclude={"tasks", "temperature", "out"})
    single = config_of(Classify).from_values({**shared, **files, "task": table, "out": str(tmp_path / "single")}, "test")
    one, other = finetune(several) / "a-classify", finetune(single)
    for name in ("model.safetensors", "config.json", "task.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_metrics_are_of_a_task_and_its_own_number_of_batches(make: Make, records: Records) -> None:
    config = make(record={"log_every": 2}, epochs=[4])
    finetune(config)
    (path,) = config.out.glob("trials/*")
    trained = [record for record in records(path) if record["kind"] == "train"]
    assert {record["task"] for record in trained} == {f"a-{kind}" for kind in SIZES}
    (dev, *_), last = [record for record in records(path) if record["kind"] == "dev"], only_result(config)["steps"]
    assert list(dev)[3:7] == ["mean", "a-classify/accuracy", "a-tag/f1", "a-regress/spearman"]
    assert last == 4 * (6 + 4 + 3) and trained[-1]["step"] == last
    assert len(trained) < last * 0.6


def test_there_is_a_mean_of_all_tasks_or_none(make: Make) -> None:
    table = {**make("regress").tasks["a-regress"], "test": None}
    config = make("classify", tables={"a-regress": table}, epochs=[0.1])
    finetune(config)
    result = only_result(config)
    assert "mean" in result["dev"] and next(iter(result["test"])) == "a-classify/accuracy" and "mean" not in result["test"]


def trial_of(config: MultiConfig, **changes: Any) -> TrialRun:
    """Return the first trial of a run, with something of what it is given changed."""
    directory, experiment = RunDirectory(config.out), dataclasses.replace(_prepare(config, CPU), **changes)
    return TrialRun(experiment, config.trials(Usual(32, (1000,)))[0], directory, directory.record, SILENT)


def test_the_best_is_by_the_mean_of_the_tasks(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One task gets better while another gets worse by more."""
    scores = iter([0.0] * 6 + [0.5, 0.9, 0.6, 0.7, 0.7, 0.4] + [0.0] * 100)  # six of rehearsals and baselines
    monkeypatch.setattr(Classify, "scores", lambda *_: {"accuracy": next(scores)})
    two = make("classify", patience=2, epochs=[9])
    table = two.tasks["a-classify"]
    config = make("classify", tables={"other": table}, patience=2, epochs=[9])
    run = trial_of(config)
    kept: list[dict[str, Tensor]] = []
    write = run._write
    run._write = lambda *given: kept.append(weights(run)) or write(*given)  # type: ignore[method-assign,func-returns-value]
    state = run.run()
    assert (state.best_step, state.best_score, state.step) == (5, pytest.approx(0.7), 15)
    run.load_best()
    assert len(kept) == 1 and all(torch.equal(tensor, kept[0][name]) for name, tensor in weights(run).items())


# What a step moves.


def weights(run: TrialRun) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in run.stepper.master.state_dict().items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_moves_the_encoder_and_the_head_of_its_task_alone(make: Make, dtype: torch.dtype) -> None:
    config = make(epochs=[3], recipe={"weight_decay": 0.3, "warmup": 0.0, "head_start": "random"})
    run = trial_of(config, dtype=dtype)
    names, order = list(run.experiment.data), [batch.task for batch in run._order.batches_from(0)]
    before, moved, update = weights(run), [], run.stepper.update

    def watch(rate: float) -> None:
        nonlocal before
        update(rate)
        now = weights(run)
        changed = {name.split(".")[2] for name in now if name.startswith("task.") and not torch.equal(now[name], before[name])}
        moved.append([names[int(place)] for place in changed])
        layers = [name for name in now if ".layers." in name and name.endswith("weight")]
        assert all(not torch.equal(now[name], before[name]) for name in layers)
        before = now

    run.stepper.update = watch  # type: ignore[method-assign]
    run.run()
    assert moved == [[name] for name in order] and set(order) == set(names)
    steps = {
        name: run.stepper.optimiser.state[parameter]["step"]
        for name, parameter in run.stepper.master.named_parameters()
        if parameter.requires_grad and name.endswith("classifier.weight")
    }
    assert [int(step) for step in steps.values()] == [order.count(name) for name in names]


def test_a_task_s_own_rate_is_its_head_s_alone(make: Make) -> None:
    table = {**make("tag").tasks["a-tag"], "decoder": "crf"}
    config = make("classify", tables={"crf": table})
    run = trial_of(config)
    names = {id(parameter): name for name, parameter in run.stepper.master.named_parameters()}
    groups = run.stepper.optimiser.param_groups
    by_name = {names[id(parameter)]: group["share"] for group in groups for parameter in group["params"]}
    assert {share for name, share in by_name.items() if name.startswith("task.heads.1.")} == {0.5}  # 1e-3 of 2e-3
    assert {share for name, share in by_name.items() if not name.startswith("task.heads.1.")} == {1.0}


def test_heads_begin_with_the_weights_that_the_model_has(make: Make, toy_directory: Path) -> None:
    config = make("classify", "regress")
    run = trial_of(config)
    start = load_model(toy_directory / "model")
    assert start.next_sentence is not None
    for place in (0, 1):
        pooler = run.stepper.master.get_parameter(f"task.heads.{place}.pooler.dense.weight")
        assert torch.equal(pooler, start.next_sentence.pooler.dense.weight)


# Stopped and taken up again.


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 2.0},
        {"patience": 2, "epochs": [4], "recipe": {"fgm": 0.5}, "machine": {"precision": "bf16"}},
        {"recipe": {"r_drop": 1.0, "batch_tokens": 16}, "seeds": 2, "epochs": [1]},
    ],
)
def test_crashed_at_several_steps(
    make: Make, records: Records, tmp_path: Path, crash_at: Any, crash: type[BaseException], settings: dict[str, Any]
) -> None:
    kinds = ("classify", "tag")
    whole, config = make(*kinds, out=str(tmp_path / "whole"), **settings), make(*kinds, **settings)
    finetune(whole)
    for step in (1, 3, 7, 11):
        with pytest.raises(crash):
            finetune(config, crash_at(step))
    finetune(config)
    found, expected = bytes_below(config.out / "final"), bytes_below(whole.out / "final")
    assert found.keys() == expected.keys()
    for name in found.keys() - {"manifest.json"}:
        if not name.endswith(("README.md", "manifest.json")):
            assert found[name] == expected[name], name
    for trial in config.trials(Usual(32, (1000,))):
        assert records(config.out / "trials" / trial.name) == records(whole.out / "trials" / trial.name)
    names = [{str(path.relative_to(one.out)) for path in one.out.rglob("*")} for one in (config, whole)]
    assert names[0] == names[1]


def test_a_signal_saves_the_step(make: Make, at: Any) -> None:
    config = make("classify", "regress")
    with pytest.raises(Interrupted, match="stopped after step 3 of"):
        finetune(config, at(3, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    (checkpoint,) = config.out.glob("trials/*/checkpoints/step-3")
    assert (checkpoint / "optimiser.safetensors").exists()
    assert finetune(config).is_dir()


def test_other_tasks_on_the_same_run_are_refused_by_name(make: Make, tmp_path: Path) -> None:
    config = make("classify", "regress", temperature=2.0)
    finetune(config)
    before = bytes_below(config.out)
    changed = {**config.tasks["a-classify"], "label_smoothing": 0.1}
    with pytest.raises(MismatchError, match=r"tasks\.a-classify\.label_smoothing was 0\.0, is now 0\.1"):
        finetune(make("classify", "regress", tables={"a-classify": changed}, temperature=2.0))
    with pytest.raises(MismatchError, match=r"tasks\.a-regress\.kind was 'regress', is now None"):
        finetune(make("classify", temperature=2.0))
    with pytest.raises(MismatchError, match=r"temperature was 2\.0, is now 1\.0"):
        finetune(make("classify", "regress"))
    moved = tmp_path / "moved.tsv"
    moved.write_bytes(Path(config.tasks["a-classify"]["train"]).read_bytes())
    table = {**config.tasks["a-classify"], "train": str(moved)}
    elsewhere = make("classify", "regress", tables={"a-classify": table}, temperature=2.0)
    assert finetune(elsewhere) == config.out / "final"
    moved.write_text(moved.read_text() + "the cat sees\t1\n")
    with pytest.raises(MismatchError, match="the training file of a-classify is not the one that"):
        finetune(elsewhere)
    assert bytes_below(config.out) == before


# Refusals, before anything is written.


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, r"tasks: name at least one task: a table \[tasks\.NAME\]"),
        ({"../up": {"kind": "classify"}}, r"'\.\./up' is no name of a task"),
        ({"a/b": {"kind": "classify"}}, "'a/b' is no name of a task"),
        ({"": {"kind": "classify"}}, "'' is no name of a task"),
        ({"-x": {"kind": "classify"}}, "'-x' is no name of a task"),
        ({"x" * 61: {"kind": "classify"}}, "is no name of a task"),
        ({"One": {"kind": "classify"}, "one": {"kind": "tag"}}, "'one' and 'One' would be one directory"),
        ({"one": {"train": "x"}}, r"one\.kind is missing; the kinds are classify, multilabel"),
        ({"one": {"kind": "clasify", "train": "x"}}, r"one\.kind = 'clasify' is no kind of task; did you mean 'classify'\?"),
        ({"one": {"kind": ["tag"], "train": "x"}}, r"one\.kind = \['tag'\] is no kind of task"),
        ({"one": {"kind": "classify"}}, "one: train: missing"),
        ({"one": {"kind": "classify", "train": "x", "trian": "y"}}, "one: trian: unknown key; did you mean 'train'"),
        ({"one": {"kind": "tag", "train": "x", "max_lenght": 9}}, "one: max_lenght: unknown key; did you mean 'max_length'"),
        ({"one": {"kind": "tag", "train": "x", "class_weights": "none"}}, "one: class_weights: unknown key"),
        ({"one": {"kind": "tag", "train": "x", "max_length": "9"}}, "one: max_length = '9': input should be a valid integer"),
        ({"one": {"kind": "tag", "train": "x", "columns": {"word": 1}}}, "columns.word: unknown key"),
    ],
)
def test_tables_that_say_what_they_must_not(make: Make, tmp_path: Path, tables: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make(tasks=tables)
    assert str(caught.value).startswith("tasks.toml:\n")
    assert not (tmp_path / "run").exists()


def test_a_test_file_that_has_other_scores_than_the_dev_file(make: Make, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("anchor\tpositive\nthe cat\tthe king\na song\tsome bread\n")
    table = {**make("embed").tasks["a-embed"], "test": str(tmp_path / "pairs.tsv")}
    config = make("classify", tables={"a-embed": table}, epochs=[0.1])
    finetune(config)
    result = only_result(config)
    assert "a-embed/spearman" in result["dev"] and "a-embed/mrr" in result["test"]
    assert "mean" in result["dev"] and "mean" not in result["test"]


def test_a_temperature_below_one(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"temperature = 0\.5"):
        make(temperature=0.5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train": "/nowhere.tsv"}, InputError, "/nowhere.tsv does not exist"),
        ({"max_length": 65}, UsageError, r"tasks\.a-regress: --max-length 65 is beyond the 64 positions"),
        ({"metric": "mse"}, UsageError, r"tasks\.a-regress: --metric mse: there is no such score"),
    ],
)
def test_a_task_that_cannot_be_trained(
    make: Make, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    table = {**make("regress").tasks["a-regress"], **changes}
    with pytest.raises(error, match=message):
        finetune(make("classify", tables={"a-regress": table}))
    assert not (tmp_path / "run").exists()


def test_r_drop_names_the_task_that_has_no_probabilities(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tasks\.a-regress: --r-drop compares probabilities, and regress predicts none"):
        finetune(make(recipe={"r_drop": 1.0}))
    assert not (tmp_path / "run").exists()


# The directory.


def test_a_manifest_that_names_another_place_is_refused(make: Make) -> None:
    final = finetune(make("classify", "regress", epochs=[0.1]))
    manifest = read_sealed(final / "manifest.json")
    for names in ({}, {"": "tag"}, {"..": "tag"}, {"../final/a-regress": "regress"}, ["a-regress"], {"/etc": "tag"}):
        (final / "manifest.json").write_text(json.dumps({**manifest, "tasks": names}))
        with pytest.raises(DamagedError, match=r"manifest\.json does not list its tasks; it is damaged"):
            bertsmith.pipelines(final)


def test_the_last_directory_appears_whole_or_not_at_all(
    make: Make, crash: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make("classify", "regress")

    def stop(*_: object) -> None:
        raise crash

    with monkeypatch.context() as patch, pytest.raises(crash):
        patch.setattr("bertsmith.tasks.saved.write_manifest", stop)
        finetune(config)
    assert not (config.out / "final").exists()
    final = finetune(config)
    assert sorted(path.name for path in final.iterdir()) == ["a-classify", "a-regress", "manifest.json"]


def test_a_checkpoint_that_is_damaged_is_passed_over(
    make: Make, crash_at: Any, crash: type[BaseException], tmp_path: Path
) -> None:
    whole, config = (make("classify", "tag", out=str(tmp_path / name), record={"keep": 2}) for name in ("whole", "run"))
    finetune(whole)
    with pytest.raises(crash):
        finetune(config, crash_at(7))
    (weights,) = config.out.glob("trials/*/checkpoints/step-6/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    finetune(config)
    name = "final/a-tag/model.safetensors"
    assert (config.out / name).read_bytes() == (whole.out / name).read_bytes()
    assert not list(config.out.glob("trials/*/checkpoints"))

"""A fine-tuning run that is stopped, wherever, and taken up again ends with the bytes of one that never was."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import BusyError, Interrupted
from bertsmith.files import exclusive
from bertsmith.finetuning import run as finetune_module
from bertsmith.finetuning import trial as trial_module
from bertsmith.finetuning.grid import FinetuneConfig, Usual, config_of
from bertsmith.finetuning.run import finetune
from bertsmith.progress import SILENT
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.training.run_directory import RunDirectory

Make = Callable[..., FinetuneConfig]
Records = Callable[[Path], list[dict[str, Any]]]
SETTINGS: dict[str, Any] = {"seeds": 2, "patience": 2, "epochs": [3]}


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what guards against power cuts, of which these tests have none, and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(scope="module")
def data(toy_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of every run here."""
    directory, draw = tmp_path_factory.mktemp("data"), random.Random(5)
    for name, n in (("train", 16), ("dev", 10)):
        rows = (f"the {draw.choice(['cat', 'dog'])} {draw.choice(['sees', 'likes'])}\t{place % 2}\n" for place in range(n))
        (directory / f"{name}.tsv").write_text("sentence\tlabel\n" + "".join(rows))
    files = {name: str(directory / f"{name}.tsv") for name in ("train", "dev")}
    return {"model": str(toy_directory / "model"), **files}


def configuration(data: dict[str, str], out: Path, **changes: Any) -> FinetuneConfig:
    """Return the configuration of a run with two trials of 8 steps, measured every 3 and saved every 2."""
    values: dict[str, Any] = {
        **data,
        "out": str(out),
        "lr": [2e-3],
        "epochs": [2],
        "batch_size": [4],
        "seeds": 2,
        "task": {"max_length": 32},
        "machine": {"device": "cpu", "precision": "float32"},
        "record": {"log_every": 1, "save_every": 2, "evaluate_every": 3},
    }
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(values.get(name), dict) else value
    made: FinetuneConfig = config_of(Classify).from_values(values, "test")
    return made


@pytest.fixture
def make(data: dict[str, str], tmp_path: Path) -> Make:
    """Make the configuration of a run; keyword arguments change or add settings."""
    return lambda out="run", **changes: configuration(data, tmp_path / out, **changes)


@pytest.fixture(scope="module")
def whole(data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> FinetuneConfig:
    """A run that nothing disturbed."""
    config = configuration(data, tmp_path_factory.mktemp("undisturbed") / "run")
    finetune(config)
    return config


def trials(config: FinetuneConfig) -> list[Path]:
    return [config.out / "trials" / trial.name for trial in config.trials(Usual(32, (1000,)))]


def assert_same(found: FinetuneConfig, expected: FinetuneConfig, records: Records) -> None:
    """Check that the models are the same to the byte, the metrics and results but for times, and that nothing is left over."""
    for name in ("model.safetensors", "task.json", "config.json"):
        assert (found.out / "final" / name).read_bytes() == (expected.out / "final" / name).read_bytes()
    for one, other in zip(trials(found), trials(expected), strict=True):
        assert records(one) == records(other)
        steps = [record["step"] for record in records(one) if record["kind"] == "train"]
        assert steps == list(range(1, len(steps) + 1))
        results = [json.loads((path / "result.json").read_text()) for path in (one, other)]
        assert [{**result, "seconds": 0} for result in results] == [{**results[0], "seconds": 0}] * 2
    names = [{str(path.relative_to(config.out)) for path in config.out.rglob("*")} for config in (found, expected)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"patience": 2, "epochs": [4], "recipe": {"fgm": 0.5}, "machine": {"precision": "bf16"}},
        {"recipe": {"r_drop": 1.0, "frozen_layers": 1, "batch_tokens": 16}},
    ],
)
def test_crashed_at_several_steps(
    make: Make, records: Records, crash_at: Any, crash: type[BaseException], settings: dict[str, Any]
) -> None:
    whole, config = make("whole", **settings), make(**settings)
    finetune(whole)
    for step in (1, 3, 7, 13):  # counted on from one trial to the next
        with pytest.raises(crash):
            finetune(config, crash_at(step))
    finetune(config)
    assert_same(config, whole, records)


def test_crashed_between_two_trials(
    make: Make, whole: FinetuneConfig, records: Records, crash: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make()

    def stop(*_: object) -> None:
        raise crash

    for place in ("write_finetune_report", "_finish"):  # behind the first trial, then behind both
        with monkeypatch.context() as patch, pytest.raises(crash):
            patch.setattr(finetune_module, place, stop)
            finetune(config)
    assert [(path / "result.json").exists() for path in trials(config)] == [True, True]
    finetune(config)
    assert_same(config, whole, records)


@pytest.mark.parametrize("written", ["result", "model"])
def test_crashed_between_a_trial_s_last_step_and_its_result(
    make: Make,
    whole: FinetuneConfig,
    records: Records,
    crash: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
    written: str,
) -> None:
    config = make()

    def stop(*_: object) -> None:
        raise crash

    with monkeypatch.context() as patch, pytest.raises(crash):
        if written == "result":
            patch.setattr(finetune_module, "_tidy", stop)
        else:
            patch.setattr(finetune_module, "write_json", stop)
        finetune(config)
    assert (trials(config)[0] / "model").is_dir()
    finetune(config)
    assert_same(config, whole, records)


def test_crashed_while_saving(
    make: Make, whole: FinetuneConfig, records: Records, crash: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a checkpoint is one that another process number left behind."""
    config, saved = make(), []
    save = trial_module.save_checkpoint

    def save_and_stop(run: RunDirectory, *given: Any) -> None:
        directory = run.checkpoints
        saved.append(directory)
        if len(saved) < 3:
            return save(run, *given)
        (directory / ".step-6.77.partial").mkdir()
        (directory / ".step-6.77.partial" / "model.safetensors").write_bytes(b"half")
        raise crash

    with monkeypatch.context() as patch, pytest.raises(crash):
        patch.setattr(trial_module, "save_checkpoint", save_and_stop)
        finetune(config)
    assert sorted(path.name for path in saved[0].iterdir()) == [".step-6.77.partial", "step-4"]
    finetune(config)
    assert_same(config, whole, records)


def test_crashed_while_the_best_weights_are_replaced(
    make: Make, records: Records, crash: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, config = make("whole", **SETTINGS), make(**SETTINGS)
    finetune(whole)
    write = trial_module.TrialRun._write

    def remove_and_stop(self: Any, model: Any, path: Path, *given: Any) -> None:
        if path.name == "best" and path.exists():
            shutil.rmtree(path)
            raise crash
        write(self, model, path, *given)

    with monkeypatch.context() as patch, pytest.raises(crash):
        patch.setattr(trial_module.TrialRun, "_write", remove_and_stop)
        scores = iter([0.0, 0.0, 0.0, 0.1, 0.2])  # the first three are of the rehearsal and the baselines
        patch.setattr(Classify, "scores", lambda *_: {"accuracy": next(scores)})
        finetune(config)
    # The scores were made up, and the run begins anew to have those of the other.
    shutil.rmtree(trials(config)[0] / "checkpoints")
    finetune(config)
    assert_same(config, whole, records)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_and_the_same_call_goes_on(
    make: Make, whole: FinetuneConfig, records: Records, at: Any, number: signal.Signals
) -> None:
    config = make()
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"stopped after step 5 of lr-0\.002\S+-seed-0; the same command resumes") as caught:
        finetune(config, at(5, lambda: os.kill(os.getpid(), number)))
    assert caught.value.exit_code == 75
    assert signal.getsignal(number) == before
    assert [path.name for path in (trials(config)[0] / "checkpoints").iterdir()] == ["step-5"]
    finetune(config)
    assert_same(config, whole, records)


def test_a_signal_in_a_trial_s_last_step_does_not_begin_the_next(
    make: Make, whole: FinetuneConfig, records: Records, at: Any
) -> None:
    config = make()
    with pytest.raises(Interrupted, match="stopped after step 8 of"):
        finetune(config, at(8, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert not trials(config)[1].exists()
    finetune(config)
    assert_same(config, whole, records)


def test_a_signal_at_the_command_line_is_exit_code_75(
    make: Make,
    whole: FinetuneConfig,
    records: Records,
    tmp_path: Path,
    run_command: Any,
    at: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make()
    (tmp_path / "run.toml").write_text(config.to_toml())
    with monkeypatch.context() as patch:
        interrupting = at(7, lambda: os.kill(os.getpid(), signal.SIGINT))
        patch.setattr("bertsmith.cli.finetune_command.TerminalProgress", lambda: interrupting)
        code, out, err = run_command("finetune", "classify", "--config", tmp_path / "run.toml")
    assert (code, out) == (75, "")
    assert err.splitlines()[-1].startswith("stopped after step 7 of ") and "Traceback" not in err
    code, out, err = run_command("finetune", "classify", "--config", tmp_path / "run.toml")
    assert (code, out) == (0, f"{config.out / 'final'}\n")
    assert "resuming from" in err
    assert_same(config, whole, records)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_checkpoint_is_passed_over(
    make: Make, whole: FinetuneConfig, records: Records, crash_at: Any, crash: type[BaseException], caplog: Any, keep: int
) -> None:
    config = make(record={"keep": keep})
    with pytest.raises(crash):
        finetune(config, crash_at(7))
    weights = trials(config)[0] / "checkpoints" / "step-6" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    caplog.set_level("INFO", "bertsmith")
    finetune(config)
    assert "model.safetensors is altered" in caplog.text
    assert ("no checkpoint is left" in caplog.text) == (keep == 1)
    assert ("resuming from" in caplog.text) == (keep == 2)
    assert_same(config, whole, records)


def test_a_line_of_metrics_cut_short_is_written_again(
    make: Make, whole: FinetuneConfig, records: Records, crash_at: Any, crash: type[BaseException]
) -> None:
    config = make()
    with pytest.raises(crash):
        finetune(config, crash_at(5))
    with (trials(config)[0] / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 6, "lo')
    finetune(config)
    assert_same(config, whole, records)


def test_a_second_process_is_refused(make: Make) -> None:
    config = make()
    with exclusive(config.out), pytest.raises(BusyError, match="another process is writing into"):
        finetune(config, SILENT)
    assert [path.name for path in config.out.iterdir()] == [".lock"]

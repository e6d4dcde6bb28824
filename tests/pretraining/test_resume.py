"""A run that is stopped and taken up again ends with the same bytes as one that never was."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import ArtifactError, BusyError, Interrupted, MismatchError
from bertsmith.files import exclusive
from bertsmith.pretraining.options import PretrainConfig
from bertsmith.pretraining.run import pretrain

Run = Callable[..., PretrainConfig]
Records = Callable[[Path], list[dict[str, Any]]]


def weights(run: Path) -> bytes:
    return (run / "final" / "model.safetensors").read_bytes()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    ("workers", "accumulation", "precision", "model"),
    [(0, 1, "float32", None), (2, 4, "bf16", None), (2, 1, "bf16", "tiny"), (0, 4, "float32", None)],
)
def test_crashed_and_resumed_is_byte_identical(
    toy_run: Run,
    tmp_path: Path,
    crash_at: Any,
    crash: type[BaseException],
    records: Records,
    workers: int,
    accumulation: int,
    precision: str,
    model: str | None,
) -> None:
    settings: dict[str, Any] = {
        "loader_workers": workers,
        "optimisation": {"accumulation": accumulation, "batch_tokens": 512 // accumulation},
        "machine": {"precision": precision},
    } | ({"model": model} if model else {})
    whole = toy_run(out=str(tmp_path / "whole"), **settings)
    stopped = toy_run(out=str(tmp_path / "stopped"), **settings)
    pretrain(whole)
    for step in (7, 9 - 4):  # behind step 7; then, from the checkpoint of step 4, behind step 9
        with pytest.raises(crash):
            pretrain(stopped, crash_at(step))
    pretrain(stopped)
    assert weights(stopped.out) == weights(whole.out)
    assert records(stopped.out) == records(whole.out)
    assert [record["step"] for record in records(whole.out) if record["kind"] == "train"] == list(range(1, 13))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_and_the_same_call_goes_on(
    toy_run: Run, tmp_path: Path, at: Any, records: Records, number: signal.Signals
) -> None:
    whole, stopped = toy_run(out=str(tmp_path / "whole")), toy_run(out=str(tmp_path / "stopped"))
    pretrain(whole)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped after step 5; the same command resumes") as caught:
        pretrain(stopped, at(5, lambda: os.kill(os.getpid(), number)))
    assert caught.value.exit_code == 75
    assert signal.getsignal(number) == before
    assert names(stopped.out / "checkpoints") == ["step-4", "step-5"]
    pretrain(stopped)
    assert weights(stopped.out) == weights(whole.out)
    assert records(stopped.out) == records(whole.out)


def test_a_signal_before_the_first_step_is_an_orderly_end_too(
    toy_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = toy_run(out=str(tmp_path / "whole")), toy_run(out=str(tmp_path / "stopped"))
    pretrain(whole)

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="the same command resumes"):
        patch.setattr("bertsmith.pretraining.loop.fill_probes", interrupt)
        pretrain(stopped)
    pretrain(stopped)
    assert weights(stopped.out) == weights(whole.out)


def test_a_finished_run_says_so_and_is_left_alone(toy_run: Run, caplog: pytest.LogCaptureFixture) -> None:
    config = toy_run(steps=2)
    final = pretrain(config)
    before = {path: path.read_bytes() for path in config.out.rglob("*") if path.is_file()}
    assert pretrain(config) == final
    assert "is finished already; begin a new run with another --out" in caplog.text
    assert {path: path.read_bytes() for path in config.out.rglob("*") if path.is_file()} == before


def test_the_last_checkpoints_are_kept(toy_run: Run) -> None:
    config = toy_run(steps=7, record={"save_every": 1, "keep": 3})
    pretrain(config)
    assert names(config.out / "checkpoints") == ["step-5", "step-6", "step-7"]


def test_a_second_process_is_refused(toy_run: Run) -> None:
    config = toy_run(steps=2)
    with exclusive(config.out), pytest.raises(BusyError, match="another process is writing into"):
        pretrain(config)
    assert names(config.out) == [".lock"]
    pretrain(config)


def test_changed_settings_are_refused_each_by_name(toy_run: Run, crash_at: Any, crash: type[BaseException]) -> None:
    begun = toy_run()
    with pytest.raises(crash):
        pretrain(begun, crash_at(5))
    changed = toy_run(steps=13, optimisation={"learning_rate": 2e-3}, masking={"whole_words": True})
    with pytest.raises(MismatchError) as caught:
        pretrain(changed)
    assert "  steps was 12, is now 13\n" in str(caught.value)
    assert "  optimisation.learning_rate was 0.001, is now 0.002\n" in str(caught.value)
    assert "  masking.whole_words was False, is now True\n" in str(caught.value)
    assert str(caught.value).count(" is now ") == 3
    assert names(begun.out / "checkpoints") == ["step-4"]


def test_settings_that_change_no_result_may_change(
    toy_run: Run, tmp_path: Path, toy_directory: Path, crash_at: Any, crash: type[BaseException]
) -> None:
    whole = toy_run(out=str(tmp_path / "whole"))
    pretrain(whole)
    with pytest.raises(crash):
        pretrain(toy_run(), crash_at(5))
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "corpus").symlink_to(toy_directory / "corpus")
    changed = toy_run(
        out=str(tmp_path / "moved"),
        corpus=str(tmp_path / "corpus"),
        loader_workers=2,
        record={"log_every": 5, "keep": 1, "tensorboard": True},
    )
    pretrain(changed)
    assert weights(changed.out) == weights(whole.out)
    assert names(changed.out / "checkpoints") == ["step-12"]
    assert any((changed.out / "tensorboard").iterdir())


def test_another_corpus_in_the_same_place_is_refused(
    toy_run: Run, toy_directory: Path, tmp_path: Path, crash_at: Any, crash: type[BaseException]
) -> None:
    from bertsmith.corpus.build import CorpusConfig, build_corpus

    with pytest.raises(crash):
        pretrain(toy_run(), crash_at(5))
    (tmp_path / "text.txt").write_text("the cat sees a song\n\n" * 200)
    build_corpus(
        CorpusConfig(
            files=[str(tmp_path / "text.txt")], tokenizer=toy_directory / "tokenizer", out=tmp_path / "other", workers=1
        )
    )
    with pytest.raises(MismatchError, match=r"the corpus is not the one that .* was begun on"):
        pretrain(toy_run(corpus=str(tmp_path / "other")))


def test_a_foreign_directory_is_refused_and_left_alone(toy_run: Run) -> None:
    config = toy_run()
    config.out.mkdir()
    (config.out / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"exists and is not a run \(it holds thesis.tex\)"):
        pretrain(config)
    assert (config.out / "thesis.tex").read_text() == "years of work"


def test_what_a_run_killed_at_its_very_beginning_leaves_is_no_obstacle(toy_run: Run) -> None:
    config = toy_run(steps=2)
    config.out.mkdir()
    (config.out / "environment.json").write_text("{}")
    (config.out / ".config.toml.123.partial").write_text("corp")
    pretrain(config)
    assert not list(config.out.glob(".*.partial"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated weights": lambda step: os.truncate(step / "model.safetensors", 5000),
    "flipped weights": lambda step: flip(step / "model.safetensors"),
    "flipped optimiser": lambda step: flip(step / "optimiser.safetensors"),
    "empty state": lambda step: os.truncate(step / "state.json", 0),
    "no manifest": lambda step: (step / "manifest.json").unlink(),
    "flipped manifest": lambda step: flip(step / "manifest.json"),
    "no optimiser": lambda step: (step / "optimiser.safetensors").unlink(),
}


@pytest.fixture(scope="session")
def whole_weights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The weights of the run of 12 steps that never was disturbed, made once."""
    made: list[bytes] = []

    def get(config: PretrainConfig) -> bytes:
        if not made:
            whole = config.model_copy(update={"out": tmp_path_factory.mktemp("whole") / "run"})
            pretrain(whole)
            made.append(weights(whole.out))
        return made[0]

    return get


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(
    toy_run: Run,
    whole_weights: Any,
    crash_at: Any,
    crash: type[BaseException],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    config = toy_run()
    with pytest.raises(crash):
        pretrain(config, crash_at(10))
    assert names(config.out / "checkpoints") == ["step-4", "step-8"]
    DAMAGES[damage](config.out / "checkpoints" / "step-8")
    caplog.set_level("INFO", "bertsmith")
    pretrain(config)
    messages = [record.getMessage() for record in caplog.records]
    assert any("step-8" in message and message.endswith("taking the checkpoint before it") for message in messages)
    assert f"resuming from {config.out / 'checkpoints' / 'step-4'}" in messages
    assert weights(config.out) == whole_weights(config)
    assert names(config.out / "checkpoints") == ["step-12", "step-8"]


def test_with_all_checkpoints_damaged_the_run_begins_again(
    toy_run: Run, whole_weights: Any, crash_at: Any, crash: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    config = toy_run()
    with pytest.raises(crash):
        pretrain(config, crash_at(10))
    for step in (config.out / "checkpoints").iterdir():
        flip(step / "model.safetensors")
    pretrain(config)
    assert "no checkpoint is left" in caplog.text
    assert weights(config.out) == whole_weights(config)


def test_what_a_crash_leaves_half_written_is_removed(
    toy_run: Run, whole_weights: Any, crash_at: Any, crash: type[BaseException], records: Records
) -> None:
    config = toy_run()
    with pytest.raises(crash):
        pretrain(config, crash_at(10))
    half = config.out / "checkpoints" / f".step-12.{os.getpid()}.partial"  # the same process number, as in containers
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    (config.out / ".final.77.partial").mkdir()
    with (config.out / "metrics.jsonl").open("ab") as file:
        file.write('{"kind": "blanks", "step": 8, "sentences": ["北'.encode()[:-1])
    pretrain(config)
    assert weights(config.out) == whole_weights(config)
    assert not list(config.out.rglob("*.partial"))
    assert [record["step"] for record in records(config.out) if record["kind"] == "train"] == list(range(1, 13))

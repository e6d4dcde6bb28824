"""The configuration of fine-tuning: which trials a grid has, from flags and from TOML, and what is no grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bertsmith.cli.flags import parse
from bertsmith.errors import ConfigError, UsageError
from bertsmith.finetuning.grid import Trial, Usual, config_of
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.saved import TASKS

USUAL = Usual(768, (1_000_000,))
REQUIRED = ["--model", "bert", "--train", "train.tsv", "--out", "run"]


def config(*flags: str, kind: Any = Classify) -> Any:
    return parse(config_of(kind), [*REQUIRED, *flags], "finetune")


def test_one_trial_unless_told_otherwise() -> None:
    assert config().trials(USUAL) == [Trial(5e-5, 3.0, 32, 0)]


@pytest.mark.parametrize(
    ("width", "sizes", "learning_rate", "epochs"),
    [
        (768, (3200,), 5e-5, 3.0),
        (384, (3200,), 1e-4, 3.0),
        (1024, (3200,), 3.8e-5, 3.0),
        (128, (8,), 3e-4, 100.0),
        (768, (330, 33), 5e-5, 8.0),
    ],
)
def test_what_is_usual_fits_the_width_and_the_number_of_samples(
    width: int, sizes: tuple[int, ...], learning_rate: float, epochs: float
) -> None:
    assert config().trials(Usual(width, sizes)) == [Trial(learning_rate, epochs, 32, 0)]


def test_each_batch_size_has_passes_of_its_own() -> None:
    found = config("--batch-size", "8,32").trials(Usual(768, (320,)))
    assert [(trial.batch_size, trial.epochs) for trial in found] == [(8, 3.0), (32, 10.0)]


def test_a_grid_has_every_combination_once_in_order() -> None:
    wanted = config("--lr", "5e-5,3e-5,5e-5", "--epochs", "4,2.5", "--batch-size", "32,16,16", "--seeds", "2", "--seed", "7")
    assert wanted.trials(USUAL) == [
        Trial(lr, epochs, batch_size, seed)
        for lr in (3e-5, 5e-5)
        for epochs in (2.5, 4.0)
        for batch_size in (16, 32)
        for seed in (7, 8)
    ]


def test_five_seeds_of_two_rates() -> None:
    trials = config("--lr", "5e-5,3e-5", "--seeds", "5").trials(USUAL)
    assert [(trial.learning_rate, trial.seed) for trial in trials] == [(lr, seed) for lr in (3e-5, 5e-5) for seed in range(5)]
    assert len({trial.name for trial in trials}) == 10
    assert {trial.setting for trial in trials} == {"lr-3e-05-epochs-3-batch-32", "lr-5e-05-epochs-3-batch-32"}


def test_a_grid_from_toml_on_which_flags_win(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("lr = [1.23456789e-5, 2e-5]\nepochs = [2, 3]\nbatch_size = [1000000]\n")
    from_file = config("--config", str(tmp_path / "run.toml"))
    assert (from_file.lr, from_file.epochs, from_file.batch_size) == ((1.23456789e-5, 2e-5), (2.0, 3.0), (1_000_000,))
    with_flags = config("--config", str(tmp_path / "run.toml"), "--lr", "1e-4,2e-4")
    assert (with_flags.lr, with_flags.epochs) == ((1e-4, 2e-4), (2.0, 3.0))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lr", "-1e-5"], "--lr -1e-05: input should be greater than 0"),
        (["--lr", "1e-5,0"], "--lr 0.0: input should be greater than 0"),
        (["--lr", "nan"], "--lr nan: input should be a finite number"),
        (["--epochs", "inf"], "--epochs inf: input should be a finite number"),
        (["--batch-size", "8,0"], "--batch-size 0: input should be greater than 0"),
        (["--seeds", "0"], "--seeds 0: input should be greater than 0"),
        (["--frozen-layers", "-2"], "--frozen-layers -2: input should be greater than or equal to -1"),
        (["--fgm", "1", "--frozen-layers", "1"], "--fgm changes the token embeddings, which --frozen-layers keeps"),
        (["--max-length", "7"], "--max-length 7: input should be greater than or equal to 8"),
    ],
)
def test_values_that_mean_nothing(flags: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "flags", [["--lr", "fast"], ["--lr", ""], ["--lr", "1e-5,,2e-5"], ["--batch-size", "8.5"], ["--lrr", "1"]]
)
def test_flags_that_are_no_numbers_or_none_at_all(flags: Sequence[str]) -> None:
    with pytest.raises(UsageError, match=flags[0]):
        config(*flags)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lr = []", "lr = []: give at least one value to try"),
        ('lr = ["fast"]', "lr.0 = 'fast': input should be a valid number"),
        ("lr = 5e-5", "lr = 5e-05: input should be a valid array"),
        ("seeds = 2.5", "seeds = 2.5: input should be a valid integer"),
        ("learning_rate = [1e-5]", "learning_rate: unknown key; the known keys are"),
        ("[task]\nmax_lenght = 64", "task.max_lenght: unknown key; did you mean 'max_length'?"),
        ("[recipe]\nwarm_up = 0.2", "recipe.warm_up: unknown key; did you mean 'warmup'?"),
    ],
)
def test_toml_that_means_nothing(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "run.toml").write_text(line + "\n")
    with pytest.raises(ConfigError) as caught:
        config("--config", str(tmp_path / "run.toml"))
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", TASKS.values())
def test_every_task_survives_toml(kind: Any, tmp_path: Path) -> None:
    before = config("--lr", "1e-5,3e-5", "--max-length", "64", "--dropout", "0.2", "--patience", "3", "--fgm", "1", kind=kind)
    assert (before.task.max_length, before.recipe.dropout, before.patience) == (64, 0.2, 3)
    (tmp_path / "run.toml").write_text(before.to_toml(), encoding="utf-8")
    after = config_of(kind).from_toml(tmp_path / "run.toml")
    assert after.model_dump() == before.model_dump()
    assert isinstance(after.task, kind)


def test_settings_of_the_task_and_its_columns_survive_toml(tmp_path: Path) -> None:
    flags = ["--labels", "no", "yes", "--weights", "1", "2.5", "--text", "文", "--skip-labels", "-", "?", "--metric", "mcc"]
    before = config(*flags)
    (tmp_path / "run.toml").write_text(before.to_toml(), encoding="utf-8")
    after = config_of(Classify).from_toml(tmp_path / "run.toml").task
    assert (after.labels, after.weights, after.columns.text) == (("no", "yes"), (1.0, 2.5), "文")
    assert (after.columns.skip_labels, after.main_metric) == (("-", "?"), "mcc")


def test_a_setting_of_another_task_is_refused() -> None:
    assert config("--decoder", "crf", kind=Tag).task.decoder == "crf"
    with pytest.raises(UsageError, match="--decoder is not a flag of bertsmith finetune"):
        config("--decoder", "crf")


def test_a_dry_run_prints_a_configuration_that_can_be_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as leaving:
        config("--lr", "5e-5,3e-5", "--label-smoothing", "0.1", "--dry-run")
    assert leaving.value.code == 0
    (tmp_path / "run.toml").write_text(capsys.readouterr().out)
    read = config_of(Classify).from_toml(tmp_path / "run.toml")
    assert (read.lr, read.task.label_smoothing) == ((5e-5, 3e-5), 0.1)

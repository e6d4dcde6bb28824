"""Flags, configuration files and both together."""

from collections.abc import Sequence
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest

from bertsmith.cli.flags import parse
from bertsmith.config import Config, Flag, Names, Positional
from bertsmith.errors import ConfigError, UsageError


class Oven(Config):
    """The oven."""

    degrees: int = pydantic.Field(default=220, gt=0, le=300)
    """How hot."""
    fan: bool = False
    """Whether it blows."""

    @pydantic.model_validator(mode="after")
    def _fan_is_cooler(self) -> "Oven":
        if self.fan and self.degrees > 250:
            raise ValueError("with a fan, 250 degrees are enough")
        return self


class Recipe(Config):
    """A recipe."""

    name: Positional[str]
    """Of the dish."""
    toppings: tuple[str, ...] = ()
    """What goes on it."""
    flour: Literal["wheat", "rye"] = "wheat"
    """Its flour."""
    minutes: float | None = None
    """How long."""
    slices: Literal["auto"] | int = "auto"
    """How many pieces."""
    note: str | None = None
    """To be remembered."""
    is_hot: bool | None = None
    """Whether it steams."""
    times: Annotated[tuple[float, ...], Flag(has_commas=True)] = ()
    """When it is eaten."""
    sliced: bool = True
    """Cut it."""
    oven: Oven = Oven()


def read(arguments: Sequence[str]) -> Recipe:
    return parse(Recipe, arguments, "bake")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "pizza"\ntoppings = ["ham", "olives"]\nminutes = 9.5\n[oven]\ndegrees = 240\n')
    return path


def test_flags_alone() -> None:
    recipe = read(["pie", "--toppings", "plums", "sugar", "--degrees", "180", "--fan", "--minutes", "40", "--flour", "rye"])
    assert recipe == Recipe(
        name="pie", toppings=("plums", "sugar"), flour="rye", minutes=40.0, oven=Oven(degrees=180, fan=True)
    )


def test_none_and_other_words_among_numbers() -> None:
    recipe = read(["pie", "--minutes", "none", "--slices", "auto", "--note", "none"])
    assert (recipe.minutes, recipe.slices, recipe.note) == (None, "auto", "none")
    assert read(["pie", "--slices", "8"]).slices == 8


def test_the_help_writes_types_and_defaults_as_people_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for flag in (
        "--minutes NUMBER",
        "--slices auto|INT",
        "--note TEXT",
        "--degrees INT",
        "(default: 220)",
        "--no-sliced Do not: Cut it.",
    ):
        assert flag in shown
    assert "None" not in shown and "False" not in shown and "(default: )" not in shown and "The oven: " in shown


def test_short_help_names_the_other_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(["pie", "-h"])
    shown = capsys.readouterr().out
    assert "NAME  Of the dish." in shown and "--degrees" in shown and "How hot." not in shown
    assert shown.endswith("bertsmith bake --help explains all flags.\n")


def test_a_file_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b'name = "pizza"\n')))
    assert read(["--config", "-"]) == Recipe(name="pizza")


def test_defaults() -> None:
    assert read(["bread"]) == Recipe(name="bread")


@pytest.mark.parametrize("spelling", [lambda path: ["--config", str(path)], lambda path: [f"--config={path}"]])
def test_a_file_alone(file: Path, spelling: Any) -> None:
    assert read(spelling(file)) == Recipe(name="pizza", toppings=("ham", "olives"), minutes=9.5, oven=Oven(degrees=240))


def test_flags_win_over_the_file(file: Path) -> None:
    recipe = read(["--config", str(file), "calzone", "--degrees", "250", "--minutes", "None", "--toppings", "cheese"])
    assert recipe == Recipe(name="calzone", toppings=("cheese",), minutes=None, oven=Oven(degrees=250))


def test_a_file_may_leave_required_keys_to_flags(tmp_path: Path) -> None:
    (tmp_path / "part.toml").write_text("[oven]\nfan = true\n")
    assert read(["--config", str(tmp_path / "part.toml"), "pie"]) == Recipe(name="pie", oven=Oven(fan=True))


@pytest.mark.parametrize("arguments", [["pie"], ["pie", "--toppings", "a b", 'quote"', "北京", "--minutes", "0.1"]])
def test_a_dry_run_prints_what_reads_back_equal(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        read([*arguments, "--dry-run"])
    assert leaving.value.code == 0
    (tmp_path / "printed.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert read(["--config", str(tmp_path / "printed.toml")]) == read(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pie", "--degrees", "-1"], "--degrees -1: input should be greater than 0"),
        (["pie", "--degrees", "999"], "--degrees 999: input should be less than or equal to 300"),
        (["pie", "--minutes", "inf"], "--minutes inf: input should be a finite number"),
        (["pie", "--fan", "--degrees", "260"], "with a fan, 250 degrees are enough"),
    ],
)
def test_values_out_of_range_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(arguments)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pie", "--degreez", "3"], "--degreez is not a flag of bertsmith bake; did you mean --degrees?"),
        (["pie", "--xyzzy"], "--xyzzy is not a flag of bertsmith bake; bertsmith bake --help lists them"),
        (["pie", "-x"], "-x is not a flag of bertsmith bake; bertsmith bake --help lists them"),
        (["pie", "--degrees", "hot"], "--degrees: 'hot' is not a whole number"),
        (["pie", "--minutes", "long"], "--minutes: 'long' is not a number"),
        (["pie", "--flour", "oats"], "--flour: 'oats' is not wheat or rye"),
        (["pie", "--slices", "few"], "--slices: 'few' is not auto or INT"),
        (["pie", "--fan=yes"], "--fan takes no value; write --fan or --no-fan"),
        (["pie", "--note"], "--note needs a value: --note TEXT"),
        (["pie", "--note", "--fan"], "--note needs a value: --note TEXT"),
        (["pie", "--note", ""], "--note is empty; it needs a value: --note TEXT"),
        (["pie", "--toppings", "ham", ""], "--toppings is empty; give TEXT"),
        ([""], "NAME is empty; give TEXT"),
        (["pie", "cake"], "'cake' is one argument too many; bertsmith bake takes NAME"),
        ([], "bertsmith bake needs NAME; bertsmith bake -h shows how it is used"),
        (
            ["pie", "--degrees", "999", "--minutes", "nan"],
            "--minutes nan: input should be a finite number; --degrees 999: input should be less than or equal to 300",
        ),
    ],
)
def test_a_wrong_flag_is_one_line(arguments: list[str], expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(arguments)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pie", "--degrees=7", "--no-fan"], Recipe(name="pie", oven=Oven(degrees=7))),
        (["--flour", "rye", "pie"], Recipe(name="pie", flour="rye")),
        (["pie", "--toppings", "-1,-2", "-"], Recipe(name="pie", toppings=("-1,-2", "-"))),
        (["pie", "--is_hot", "no"], Recipe(name="pie", is_hot=False)),
        (["pie", "--times", "1,2.5"], Recipe(name="pie", times=(1.0, 2.5))),
        (["--", "--pie"], Recipe(name="--pie")),
    ],
)
def test_ways_of_writing_flags(arguments: list[str], expected: Recipe) -> None:
    assert read(arguments) == expected


def test_config_without_a_file() -> None:
    for arguments in (["pie", "--config"], ["pie", "--config="]):
        with pytest.raises(UsageError, match=r"--config (needs a value|is empty; it needs a value): --config FILE"):
            read(arguments)


def test_a_bad_file_is_named_with_all_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('nam = "x"\ntoppings = "ham"\nminutes = 2020-01-01\n[oven]\ndegree = 1\nfan = "yes"\n')
    with pytest.raises(ConfigError) as caught:
        read(["--config", str(path), "pie"])
    assert str(caught.value).splitlines() == [
        f"{path}:",
        "  toppings = 'ham': input should be a valid array",
        "  minutes = '2020-01-01': input should be a valid number",
        "  oven.fan = 'yes': input should be a valid boolean",
        "  oven.degree: unknown key; did you mean 'degrees'?",
        "  nam: unknown key; did you mean 'name'?",
    ]


class Labels(Config):
    """Labels."""

    labels: Names = ()
    """Their names."""


@pytest.mark.parametrize("arguments", [["--labels", "a,b"], ["--labels", "a", "b"], ["--labels=a,b"]])
def test_names_stand_between_commas_or_apart(arguments: list[str]) -> None:
    assert parse(Labels, arguments, "x").labels == ("a", "b")
    assert parse(Labels, ["--labels", "a,b", "c"], "x").labels == ("a,b", "c")

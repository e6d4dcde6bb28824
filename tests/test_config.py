"""Configurations from TOML and back."""

from pathlib import Path

import pydantic
import pytest

from bertsmith.batches.masking import Masking
from bertsmith.config import Config, known_keys
from bertsmith.errors import ConfigError
from bertsmith.pretraining.options import ExampleSettings, PretrainConfig, PretrainOptimisation, PretrainRecord


class Inner(Config):
    """A table."""

    size: int = 1
    """Its size."""


class Outer(Config):
    """All kinds of fields."""

    path: Path
    """A path."""
    names: tuple[str, ...] = ()
    """Several."""
    share: float = 0.5
    """A number."""
    limit: int | None = None
    """Perhaps."""
    inner: Inner = Inner()
    """A table."""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "config",
    [
        Outer(path=Path("a b/北京")),
        Outer(path=Path("x"), names=("", 'quoted "', "two\nlines"), share=1e-300, limit=0, inner=Inner(size=-3)),
    ],
)
def test_toml_reads_back_equal(config: Outer, tmp_path: Path) -> None:
    assert Outer.from_toml(write(tmp_path / "c.toml", config.to_toml())) == config


def test_a_run_s_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = PretrainConfig(
        corpus=Path("corpus"),
        out=Path("run"),
        budget="2h",
        examples=ExampleSettings(objective="full-sentences", max_length=512),
        masking=Masking(whole_words=True, max_predictions=20),
        optimisation=PretrainOptimisation(dropout=0.0, adam_epsilon=1e-6),
        record=PretrainRecord(probes=("A [MASK].", "他在[MASK]京。")),
    )
    assert PretrainConfig.from_toml(write(tmp_path / "config.toml", config.to_toml())) == config


def test_a_whole_number_is_a_number_and_nothing_else_is_converted(tmp_path: Path) -> None:
    assert Outer.from_toml(write(tmp_path / "c.toml", 'path = "p"\nshare = 1')).share == 1.0
    for line in ('share = "1"', "limit = 1.5", "limit = true", "names = [1]", "share = inf", "share = nan", "inner = 3"):
        with pytest.raises(ConfigError, match=line.split()[0]):
            Outer.from_toml(write(tmp_path / "c.toml", f'path = "p"\n{line}'))


def test_missing_keys() -> None:
    with pytest.raises(ConfigError, match=r"^here:\n  path: missing$"):
        Outer.from_values({}, "here")


def test_unknown_keys_get_the_nearest_known_one_or_all() -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.from_values({"path": "p", "limits": 3, "colour": "red", "inner": {"sise": 1}}, "here")
    assert str(caught.value).splitlines()[1:] == [
        "  inner.sise: unknown key; did you mean 'size'?",
        "  limits: unknown key; did you mean 'limit'?",
        "  colour: unknown key; the known keys are inner, limit, names, path, share",
    ]


@pytest.mark.parametrize("content", [b"path = ", b"path = 'x'\npath = 'y'", b"\xff\xfe"])
def test_what_is_no_toml(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml is not valid TOML"):
        Outer.from_toml(tmp_path / "c.toml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml: No such file"):
        Outer.from_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        Outer.from_toml(tmp_path)


def test_partly_given(tmp_path: Path) -> None:
    assert Outer.partial_from_toml(write(tmp_path / "c.toml", "limit = 3")) == {"limit": 3}
    with pytest.raises(ConfigError, match="limit = 'x'"):
        Outer.partial_from_toml(write(tmp_path / "c.toml", "limit = 'x'"))


def test_immutable() -> None:
    with pytest.raises(pydantic.ValidationError):
        Outer(path=Path("x")).limit = 3  # type: ignore[misc]


def test_known_keys_of_tables() -> None:
    assert known_keys(Outer, ("inner",)) == ["size"]
    assert known_keys(Outer, ("path",)) == []


def test_values_of_a_caller_are_checked_as_those_of_a_file() -> None:
    with pytest.raises(ConfigError, match=r"^Outer: limit = '3': input should be a valid integer$"):
        Outer(path=Path("x"), limit="3")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^Outer: limits: unknown key; did you mean 'limit'"):
        Outer(path=Path("x"), limits=3)  # type: ignore[call-arg]

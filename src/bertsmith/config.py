"""Configurations: one typed class serves the flags of a command, its TOML file and its Python caller.

Subclass :class:`Config`; document each field with a string below it, which becomes the flag's help. A field that is itself
a ``Config`` is a table in TOML; its flags carry no prefix.
"""

import difflib
import json
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast

import pydantic
import tomli_w

from bertsmith.errors import ConfigError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _ClassOfModels
else:
    _ClassOfModels = type(pydantic.BaseModel)  # pydantic has no public name for it

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Flag:
    """How a field stands on the command line, where it is not a flag of the field's own name.

    name             the flag's name
    is_argument      it stands by its place, without a flag
    in_file_only     it is for TOML files alone
    has_commas       several values are one text, with commas between them
    may_have_commas  they may also be one text with commas
    """

    name: str | None = None
    is_argument: bool = False
    in_file_only: bool = False
    has_commas: bool = False
    may_have_commas: bool = False


Positional = Annotated[T, Flag(is_argument=True)]
Names = Annotated[tuple[str, ...], Flag(may_have_commas=True)]
Numbers = Annotated[tuple[float, ...], Flag(may_have_commas=True)]
JsonFlag = Annotated[bool, Flag(name="json")]


class _Checked(_ClassOfModels):
    """Classes whose instances are made of checked values, with an error of ours where they are wrong."""

    def __call__(cls: type[T], *positional: Any, **values: Any) -> T:  # noqa: N805
        try:
            return super().__call__(*positional, **values)  # type: ignore[misc, no-any-return]
        except pydantic.ValidationError as error:
            problems = "; ".join(_problem(cast(type[Config], cls), detail) for detail in error.errors())
            raise ConfigError(f"{cls.__name__}: {problems}") from None


class Config(pydantic.BaseModel, metaclass=_Checked):
    """Immutable, strictly typed, closed: an unknown key or an ill-typed value is a :class:`ConfigError`."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def from_values(cls, values: dict[str, Any], source: str) -> Self:
        """Check plain values as read from TOML or JSON; ``source`` names them in errors.

        Raises:
            ConfigError: naming each key that is unknown (with the nearest known one) or ill-typed.
        """
        try:
            return cls.checked(values)
        except pydantic.ValidationError as error:
            raise ConfigError(f"{source}:\n  " + "\n  ".join(_problem(cls, detail) for detail in error.errors())) from None

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a TOML file.

        Raises:
            ConfigError: the file is missing, not TOML, lacks a required key or has an unknown or ill-typed one.
        """
        return cls.from_values(read_toml(path), str(path))

    @classmethod
    def partial_from_toml(cls, path: Path) -> dict[str, Any]:
        """Read a TOML file that may lack required keys and return its values, checked.

        Raises:
            ConfigError: the file is missing, not TOML, or has an unknown or ill-typed key.
        """
        values = read_toml(path)
        try:
            cls.checked(values)
        except pydantic.ValidationError as error:
            problems = [_problem(cls, detail) for detail in error.errors() if detail["type"] != "missing"]
            if problems:
                raise ConfigError(f"{path}:\n  " + "\n  ".join(problems)) from None
        return values

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """Check plain values; ``pydantic.ValidationError`` with all that is wrong."""
        # As JSON, since that is how pydantic takes lists for tuples and strings for paths; TOML's dates become strings.
        return cls.model_validate_json(json.dumps(values, default=str))

    def to_toml(self) -> str:
        """Return the configuration as TOML; what is None is left out, since TOML has no word for it."""
        return tomli_w.dumps(_without_none(json.loads(self.model_dump_json())), multiline_strings=True)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values of a TOML file, of standard input for ``-``; :class:`ConfigError` when it cannot be read or is none."""
    name = "standard input" if str(path) == "-" else str(path)
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name} is not valid TOML: brackets are nested too deep") from None


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value for key, value in values.items() if value is not None
    }


def _problem(config: type[Config], detail: Any) -> str:
    """Say one of pydantic's findings in a line, with the nearest known key for an unknown one."""
    location = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"{location}: missing"
    if detail["type"] != "extra_forbidden":
        # What a whole table is told of names its fields by itself.
        value = "" if isinstance(detail["input"], dict) else f" = {detail['input']!r}"
        return f"{location}{value}: {said(detail)}"
    known = known_keys(config, detail["loc"][:-1])
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the known keys are {', '.join(sorted(known))}"
    return f"{location}: unknown key; {hint}"


def said(detail: Any) -> str:
    """Return what one of pydantic's findings says, as a part of a sentence."""
    message: str = detail["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def known_keys(config: type[Config], table: tuple[int | str, ...] = ()) -> list[str]:
    """Return the names of the fields of ``config``, or of the nested table at ``table``."""
    for part in table:
        nested = config.model_fields[str(part)].annotation
        if not (isinstance(nested, type) and issubclass(nested, Config)):
            return []
        config = nested
    return list(config.model_fields)

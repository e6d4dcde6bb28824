"""The fields of a configuration as flags: their names, what they take, and what arguments say of them."""

import difflib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from bertsmith.config import Config, Flag
from bertsmith.errors import UsageError

_NAMES = {bool: "yes|no", int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}
_IN_WORDS = {"INT": "a whole number", "NUMBER": "a number"}
_SWITCHES = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, slots=True)
class Option:
    """A field as a flag or as an argument.

    path    the keys that lead to it in the configuration
    field   what the configuration says of it
    table   the first line of the documentation of its table; empty where it is in none
    """

    path: tuple[str, ...]
    field: FieldInfo = field(compare=False)
    table: str

    @property
    def flag(self) -> Flag:
        """How it stands on the command line."""
        return next((found for found in self.field.metadata if isinstance(found, Flag)), Flag())

    @property
    def name(self) -> str:
        """The flag, such as ``--max-length``, or the argument, such as ``MODEL``."""
        if self.flag.is_argument:
            return self.path[-1].upper()
        return f"--{(self.flag.name or self.path[-1]).replace('_', '-')}"

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return self.field.annotation is bool

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return get_origin(_some_kind(self.field.annotation)) in (tuple, list)

    @property
    def takes(self) -> str:
        """What it takes, as the help shows it; empty for a switch."""
        if self.is_switch:
            return ""
        shown = _shown(_kind(self))
        return shown if not self.is_list else f"{shown}[,…]" if self.flag.has_commas else f"{shown} …"

    def read(self, texts: list[str]) -> Any:
        """Return the value that the texts mean; ``ValueError`` says which is none."""
        if self.is_list:
            is_one = self.flag.has_commas or (self.flag.may_have_commas and len(texts) == 1)
            parts = texts[0].split(",") if is_one else texts
            return [_read(_kind(self), part) for part in parts]
        return _read(_kind(self), texts[0])


def options_of(config: type[Config], path: tuple[str, ...] = (), table: str = "") -> Iterator[Option]:
    """Yield the options of a configuration and of the tables in it."""
    for name, of_field in config.model_fields.items():
        kind = of_field.annotation
        if isinstance(kind, type) and issubclass(kind, Config):
            yield from options_of(kind, (*path, name), (kind.__doc__ or name).split("\n")[0].removesuffix("."))
        elif not (option := Option((*path, name), of_field, table)).flag.in_file_only:
            yield option


class Given:
    """What the arguments of a verb say."""

    def __init__(self, options: Sequence[Option], verb: str) -> None:
        self._flags = {option.name: option for option in options if not option.flag.is_argument}
        self._arguments = [option for option in options if option.flag.is_argument]
        self._verb = verb
        self.values: dict[Option, Any] = {}
        self.file: Path | None = None
        self.is_dry_run = False

    def read(self, arguments: Sequence[str]) -> str | None:
        """Take in the arguments; return ``-h`` or ``--help`` where one of these is among them."""
        waiting, places = deque(arguments), list[str]()
        while waiting:
            argument = waiting.popleft()
            if argument in ("-h", "--help"):
                return argument
            if argument == "--":
                places += waiting
                break
            if _is_flag(argument):
                self._take(argument, waiting)
            else:
                places.append(argument)
        self._take_places(places)
        return None

    def _take(self, argument: str, waiting: deque[str]) -> None:
        """Take the value of a flag."""
        name, has_value, value = argument.partition("=")
        name = f"--{name[2:].replace('_', '-')}"
        positive = self._flags.get(f"--{name[5:]}" if name.startswith("--no-") else name)
        if name == "--dry-run":
            self.is_dry_run = True
        elif name == "--config":
            self.file = Path(self._next(name, "FILE", value if has_value else None, waiting))
        elif name in self._flags and not self._flags[name].is_switch:
            option = self._flags[name]
            texts = [self._next(name, option.takes, value if has_value else None, waiting)]
            while option.is_list and not option.flag.has_commas and not has_value and waiting and not _is_flag(waiting[0]):
                texts.append(waiting.popleft())
            self._set(option, texts)
        elif positive is None or not positive.is_switch:
            self._unknown(name)
        elif has_value:
            raise UsageError(f"{name} takes no value; write {positive.name} or --no-{positive.name[2:]}")
        else:
            self.values[positive] = name == positive.name

    def _next(self, name: str, takes: str, value: str | None, waiting: deque[str]) -> str:
        if value is None:
            if not waiting or _is_flag(waiting[0]):
                raise UsageError(f"{name} needs a value: {name} {takes}")
            value = waiting.popleft()
        if not value:
            raise UsageError(f"{name} is empty; it needs a value: {name} {takes}")
        return value

    def _take_places(self, places: list[str]) -> None:
        """Give the arguments without a flag to what stands by its place."""
        for option in self._arguments:
            if places:
                taken = places[:] if option.is_list else places[:1]
                del places[: len(taken)]
                self._set(option, taken)
        if places and places[0].startswith("-"):
            self._unknown(places[0])
        if places:
            there_are = " ".join(option.name for option in self._arguments) or "none"
            raise UsageError(f"{places[0]!r} is one argument too many; bertsmith {self._verb} takes {there_are}")

    def _set(self, option: Option, texts: list[str]) -> None:
        if not all(texts):
            raise UsageError(f"{option.name} is empty; give {option.takes.removesuffix(' …')}")
        try:
            self.values[option] = option.read(texts)
        except ValueError as error:
            raise UsageError(f"{option.name}: {error}") from None

    def _unknown(self, name: str) -> NoReturn:
        found = difflib.get_close_matches(name, self._flags, n=1)
        hint = f"did you mean {found[0]}?" if found else f"bertsmith {self._verb} --help lists them"
        raise UsageError(f"{name} is not a flag of bertsmith {self._verb}; {hint}")


def _is_flag(argument: str) -> bool:
    return argument in ("-h", "--") or (argument.startswith("--") and len(argument) > 2)


def _kind(option: Option) -> Any:
    return get_args(_some_kind(option.field.annotation))[0] if option.is_list else option.field.annotation


def _some_kind(kind: Any) -> Any:
    """Return what a value is of where there is one: X for ``X | None``."""
    given = [one for one in get_args(kind) if one is not NoneType] if get_origin(kind) in (Union, UnionType) else []
    return given[0] if len(given) == 1 else kind


def _shown(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _shown(inner[0])
    if origin in (Union, UnionType):
        return "|".join(_shown(one) for one in inner if one is not NoneType)
    return "|".join(map(str, inner)) if origin is Literal else _NAMES[kind]


def _read(kind: Any, text: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _read(inner[0], text)
    if origin in (Union, UnionType):
        # A flag that takes any text cannot tell "none" from text: it is left out where nothing is meant.
        if NoneType in inner and text.lower() == "none" and {str, Path}.isdisjoint(inner):
            return None
        for one in (one for one in inner if one is not NoneType):
            with suppress(ValueError):
                return _read(one, text)
    elif origin is Literal:
        if text in inner:
            return text
    elif kind is bool:
        if text.lower() in _SWITCHES:
            return _SWITCHES[text.lower()]
    elif kind in (str, Path):
        return text
    elif kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    shown = _shown(kind)
    raise ValueError(f"{text!r} is not {_IN_WORDS.get(shown) or shown.replace('|', ' or ')}")

"""Flags from typed configurations.

Every verb's configuration can also come from ``--config run.toml``, with flags on top; ``--dry-run`` prints what results.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from bertsmith.cli.verbs import EXAMPLES, nearest_name
from bertsmith.config import Config, said
from bertsmith.errors import ConfigError, UsageError
from bertsmith.flag_help import full_help, short_help
from bertsmith.hub import with_fetched
from bertsmith.settings_flags import Given, Option, options_of

C = TypeVar("C", bound=Config)


def parse(config: type[C], arguments: Sequence[str], verb: str) -> C:
    """Return the configuration that the arguments describe; leaves with exit code 0 after ``--help`` or ``--dry-run``.

    Raises:
        UsageError: flags that are unknown, ill-typed or contradict each other, or a configuration file with such keys.
        ArtifactError: a model is named by its address on the hub, and cannot be fetched.
    """
    options = list(options_of(config))
    given = Given(options, verb)
    if wanted := given.read(arguments):
        print((full_help if wanted == "--help" else short_help)(config, options, verb, EXAMPLES.get(verb, "")))
        raise SystemExit(0)
    values = config.partial_from_toml(given.file) if given.file else {}
    for option, value in given.values.items():
        table = values
        for key in option.path[:-1]:
            table = table.setdefault(key, {})
        table[option.path[-1]] = value
    parsed = _checked(config, values, options, verb)
    if given.is_dry_run:
        sys.stdout.write(parsed.to_toml())
        raise SystemExit(0)
    return with_fetched(parsed)


def choose(arguments: Sequence[str], known: Mapping[str, str], what: str, verb: str, about: str) -> tuple[str, list[str]]:
    """Return the first argument, one of the ``known`` names of a ``what``, and the others; after --help leaves with code 0.

    Raises:
        UsageError: the first argument is none of them.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        listed = "\n".join(f"  {name:10} {summary}" for name, summary in known.items())
        end = f"bertsmith {verb} {what.upper()} --help explains the flags of a {what}."
        print("\n\n".join([f"usage: bertsmith {verb} {what.upper()} ...", about, listed, end]))
        raise SystemExit(0 if arguments else UsageError.exit_code)
    name, *rest = arguments
    if name not in known:
        raise UsageError(f"{name!r} is not a {what} of bertsmith {verb}; {nearest_name(name, known, f'the {what}s are')}")
    return name, rest


def _checked(config: type[C], values: dict[str, Any], options: Sequence[Option], verb: str) -> C:
    """Return the configuration of the values; :class:`ConfigError` names what is missing or wrong by its flag."""
    by_path = {option.path: option for option in options}
    try:
        return config.checked(values)
    except pydantic.ValidationError as error:
        details = error.errors()
    missing = [_option(by_path, detail) for detail in details if detail["type"] == "missing"]
    if missing:
        names = [option.name if option.flag.is_argument else f"{option.name} {option.takes}" for option in missing if option]
        raise ConfigError(f"bertsmith {verb} needs {' and '.join(names)}; bertsmith {verb} -h shows how it is used")
    # Of a value that is none of several types, pydantic says so for each type: once is enough.
    said_of: dict[object, str] = {}
    for detail in details:
        option = _option(by_path, detail)
        where = f"{option.name} {detail['input']}: " if option else ""
        said_of.setdefault(option or said(detail), where + said(detail))
    raise ConfigError("; ".join(said_of.values()))


def _option(by_path: Mapping[tuple[str, ...], Option], detail: Any) -> Option | None:
    """Return the option that one of pydantic's findings is about; None where it is about several together."""
    place = tuple(str(part) for part in detail["loc"])
    return next((by_path[place[:n]] for n in range(len(place), 0, -1) if place[:n] in by_path), None)

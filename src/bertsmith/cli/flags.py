"""Flags from typed configurations.

Every verb's configuration can also come from ``--config run.toml``, with flags on top; ``--dry-run`` prints what results.
"""

import difflib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import pydantic
import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from bertsmith.config import Config
from bertsmith.errors import UsageError

C = TypeVar("C", bound=Config)


def parse(config: type[C], arguments: Sequence[str], verb: str) -> C:
    """Return the configuration that the arguments describe; leaves with exit code 0 after ``--help`` or ``--dry-run``.

    Raises:
        UsageError: contradictory flags, or a configuration file with unknown or ill-typed keys.
    """
    remaining, file, dry_run = _take_common(arguments)
    unchecked: C = tyro.cli(
        config,
        args=remaining,
        prog=f"bertsmith {verb}",
        description=f"{config.__doc__}\n\n--config FILE.toml reads these settings from a file; --dry-run only prints them.",
        default=_defaults(config, config.partial_from_toml(file) if file else {}),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.PositionalMetavarFromFieldName),
        registry=_REGISTRY,
    )
    parsed = config.from_values(unchecked.model_dump(mode="json"), f"bertsmith {verb}")
    if dry_run:
        sys.stdout.write(parsed.to_toml())
        raise SystemExit(0)
    return parsed


def choose(arguments: Sequence[str], known: Iterable[str], what: str, verb: str, usage: str) -> tuple[str, list[str]]:
    """Return the first argument, one of the ``known`` names of a ``what``, and the others; after --help leaves with code 0.

    Raises:
        UsageError: the first argument is none of them.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        raise SystemExit(0 if arguments else UsageError.exit_code)
    name, *rest = arguments
    if name not in (names := list(known)):
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the {what}s are {', '.join(names)}"
        raise UsageError(f"{name!r} is not a {what} of bertsmith {verb}; {hint}")
    return name, rest


def _take_common(arguments: Sequence[str]) -> tuple[list[str], Path | None, bool]:
    """Take ``--config FILE`` and ``--dry-run`` out of the arguments."""
    remaining: list[str] = []
    file: Path | None = None
    dry_run = False
    iterator = iter(arguments)
    for argument in iterator:
        if argument == "--config" or argument.startswith("--config="):
            value = argument.partition("=")[2] or next(iterator, "")
            if not value:
                raise UsageError("--config needs a file: --config run.toml")
            file = Path(value)
        elif argument == "--dry-run":
            dry_run = True
        else:
            remaining.append(argument)
    return remaining, file, dry_run


_REGISTRY = ConstructorRegistry()


@_REGISTRY.struct_rule
def _unchecked(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Tell tyro to leave the values of a configuration unchecked, so that the message about a bad one is ours."""
    if not (isinstance(info.type, type) and issubclass(info.type, Config)):
        return None
    types = get_type_hints(info.type, include_extras=True)
    fields = tuple(
        StructFieldSpec(name, types[name], getattr(info.default, name), helptext=field.description)
        for name, field in info.type.model_fields.items()
    )

    def construct(**values: Any) -> Any:
        return info.type.model_construct(**values)

    construct.__doc__ = info.type.__doc__  # what the help says of these flags
    return StructConstructorSpec(construct, fields)


def _defaults(config: type[C], values: dict[str, Any]) -> C:
    """Return an instance with the values of a file, the class's defaults, and ``tyro.MISSING`` where neither has one."""
    settings: dict[str, Any] = {}
    for name, field in config.model_fields.items():
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Config):
            settings[name] = _defaults(annotation, values.get(name, {}))
        elif name in values:
            settings[name] = pydantic.TypeAdapter(annotation).validate_json(json.dumps(values[name], default=str))
        else:
            settings[name] = tyro.MISSING if field.is_required() else field.get_default(call_default_factory=True)
    return config.model_construct(**settings)

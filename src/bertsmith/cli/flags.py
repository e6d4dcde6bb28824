"""Flags from typed configurations.

Every verb's configuration can also come from ``--config run.toml``, with flags on top; ``--dry-run`` prints what results.
"""

import difflib
import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import pydantic
import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from bertsmith.config import Config
from bertsmith.errors import UsageError
from bertsmith.hub import with_fetched

C = TypeVar("C", bound=Config)


def parse(config: type[C], arguments: Sequence[str], verb: str) -> C:
    """Return the configuration that the arguments describe; leaves with exit code 0 after ``--help`` or ``--dry-run``.

    Raises:
        UsageError: contradictory flags, or a configuration file with unknown or ill-typed keys.
        ArtifactError: a model is named by its address on the hub, and cannot be fetched.
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
    return with_fetched(parsed)


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


def _default_shown(default: str) -> str:
    """Return how the help shows a default: not at all where there is none, or where a switch is off."""
    return {"None": "", "none": "", "": "", "False": "", "True": "(default: yes)"}.get(default, f"(default: {default})")


def _shown(kind: Any) -> Any:
    return Annotated[kind, tyro.conf.arg(help_behavior_hint=_default_shown)]


_REGISTRY = ConstructorRegistry()


@_REGISTRY.primitive_rule
def _one_of(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Let the help say "INT or none" of a flag that takes one of several types, and let it take "none" for None.

    A flag that takes any text cannot tell "none" from text, so it is left out where nothing is meant.
    """
    if get_origin(info.type) not in (Union, UnionType):
        return None
    kinds = [_NONE if kind is NoneType else _spec_of(kind, info) for kind in get_args(info.type)]
    named = kinds if {str, Path}.isdisjoint(get_args(info.type)) else [kind for kind in kinds if kind is not _NONE]

    def read(given: list[str]) -> Any:
        for kind in sorted(named, key=lambda kind: kind.choices is None):
            with suppress(ValueError):
                if kind.choices is None or given[0] in kind.choices:
                    return kind.instance_from_str(given)
        raise ValueError(f"{given[0]!r} is not {metavar}")

    def written(value: Any) -> list[str]:
        return next(kind.str_from_instance(value) for kind in kinds if kind.is_instance(value))

    metavar = " or ".join(kind.choices[0] if kind.choices and len(kind.choices) == 1 else kind.metavar for kind in named)
    return PrimitiveConstructorSpec(1, metavar, read, lambda value: any(kind.is_instance(value) for kind in kinds), written)


_NONE = PrimitiveConstructorSpec[Any](
    1, "none", lambda _given: None, lambda value: value is None, lambda _value: ["none"], choices=("none", "None")
)


def _spec_of(kind: Any, info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any]:
    found = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, info.markers))
    assert isinstance(found, PrimitiveConstructorSpec)
    return found


@_REGISTRY.struct_rule
def _unchecked(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Tell tyro to leave the values of a configuration unchecked, so that the message about a bad one is ours."""
    if not (isinstance(info.type, type) and issubclass(info.type, Config)):
        return None
    types = get_type_hints(info.type, include_extras=True)
    fields = tuple(
        StructFieldSpec(name, _shown(types[name]), getattr(info.default, name), helptext=field.description)
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

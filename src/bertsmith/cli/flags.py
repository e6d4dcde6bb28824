"""Flags from typed configurations.

Every verb's configuration can also come from ``--config run.toml``, with flags on top; ``--dry-run`` prints what results.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import tyro

from bertsmith.config import Config
from bertsmith.errors import UsageError

C = TypeVar("C", bound=Config)


def parse(config: type[C], arguments: Sequence[str], verb: str) -> C:
    """Return the configuration that the arguments describe; leaves with exit code 0 after ``--help`` or ``--dry-run``.

    Raises:
        UsageError: contradictory flags, or a configuration file with unknown or ill-typed keys.
    """
    remaining, file, dry_run = _take_common(arguments)
    try:
        parsed: C = tyro.cli(  # type: ignore[assignment]  # None is only the default's absence
            config,
            args=remaining,
            prog=f"bertsmith {verb}",
            description=f"{config.__doc__}\n\n--config FILE.toml reads these settings from a file; --dry-run only prints them.",
            default=_defaults(config, config.partial_from_toml(file)) if file else None,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        flag = "--" + str(problem["loc"][-1]).replace("_", "-") if problem["loc"] else ""
        raise UsageError(f"{flag} {problem['input']}: {problem['msg']}") from None
    if dry_run:
        sys.stdout.write(parsed.to_toml())
        raise SystemExit(0)
    return parsed


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


def _defaults(config: type[C], values: dict[str, Any]) -> C:
    """Return an instance with the values of a file, the class's defaults, and ``tyro.MISSING`` where neither has one."""
    settings: dict[str, Any] = {}
    for name, field in config.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Config):
            settings[name] = _defaults(annotation, values.get(name, {}))
        elif name in values:
            settings[name] = pydantic.TypeAdapter[Any](annotation).validate_json(json.dumps(values[name]))
        else:
            settings[name] = tyro.MISSING if field.is_required() else field.get_default(call_default_factory=True)
    return config.model_construct(**settings)

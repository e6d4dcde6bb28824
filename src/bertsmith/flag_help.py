"""What ``-h`` and ``--help`` print of a verb."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from bertsmith.config import Config
from bertsmith.settings_flags import Option

_WIDEST, _WIDEST_NAME = 110, 30
_COMMON = (
    ("--config FILE", "Read these settings from a TOML file, - for standard input; flags override it."),
    ("--dry-run", "Print the settings that result, as TOML, and do nothing."),
    ("-q, --quiet", "Show warnings and errors alone, and no progress."),
    ("-v, --verbose", "Show when each message was written, and where an error comes from."),
)


def short_help(config: type[Config], options: Sequence[Option], verb: str, example: str) -> str:
    """Return what must be given, and the names of all other flags."""
    needed = [option for option in options if option.flag.is_argument or option.field.is_required()]
    others = ["--config", "--dry-run", *(option.name for option in options if option not in needed)]
    listed = textwrap.wrap(" ".join(others), _width(), initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(
        [
            *_head(options, verb, (config.__doc__ or "").split("\n\n")[0], example),
            *_rows((_called(option), _described(option)) for option in needed),
            "",
            "Other flags:",
            *listed,
            "",
            f"bertsmith {verb} --help explains all flags.",
        ]
    )


def full_help(config: type[Config], options: Sequence[Option], verb: str, example: str) -> str:
    """Return what every flag means, those of a table below its heading."""
    lines = _head(options, verb, config.__doc__ or "", example)
    tables: dict[str, list[Option]] = {"": []}
    for option in options:
        tables.setdefault(option.table, []).append(option)
    for table, members in tables.items():
        lines += [f"{table}:"] * bool(table)
        lines += [*_rows((_called(option), _described(option)) for option in members), ""]
    return "\n".join([*lines, "Of every command:", *_rows(_COMMON)])


def _head(options: Sequence[Option], verb: str, about: str, example: str) -> list[str]:
    places = [
        (f"{option.name} …" if option.is_list else option.name) if option.field.is_required() else f"[{option.name} …]"
        for option in options
        if option.flag.is_argument
    ]
    needed = [f"{option.name} {option.takes}" for option in options if _is_needed_flag(option)]
    lines = [" ".join(["usage: bertsmith", verb, *places, *needed, "[FLAGS]"]), ""]
    for paragraph in about.split("\n\n"):
        lines += [*textwrap.wrap(" ".join(paragraph.split()), _width(), break_on_hyphens=False), ""]
    return [*lines, f"Example: {example}", ""] if example else lines


def _is_needed_flag(option: Option) -> bool:
    return option.field.is_required() and not option.flag.is_argument


def _called(option: Option) -> str:
    if option.is_switch and option.field.default:
        return f"--no-{option.name[2:]}"
    return option.name if option.flag.is_argument else f"{option.name} {option.takes}".rstrip()


def _described(option: Option) -> str:
    about = " ".join((option.field.description or "").split())
    if option.field.is_required():
        return about
    default = option.field.get_default(call_default_factory=True)
    if option.is_switch:
        return f"Do not: {about}" if default else about
    if default is None or default in ("", ()):
        return about
    shown = (", " if option.flag.has_commas else " ").join(map(str, default)) if option.is_list else str(default)
    return f"{about} (default: {shown})"


def _rows(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield names with their meanings beside them, a long name on a line of its own."""
    listed = list(rows)
    column = min(_WIDEST_NAME, max((len(name) for name, _ in listed), default=0)) + 4
    for name, about in listed:
        meaning = textwrap.wrap(about, max(20, _width() - column), break_on_hyphens=False) or [""]
        if len(name) + 4 > column:
            yield f"  {name}"
        else:
            yield f"  {name:{column - 2}}{meaning.pop(0)}".rstrip()
        yield from (" " * column + line for line in meaning)


def _width() -> int:
    return min(_WIDEST, shutil.get_terminal_size().columns)

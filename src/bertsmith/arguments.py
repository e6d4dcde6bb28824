"""Whether what a caller of the Python interface gives is what is asked for: one error that names the argument, or the item."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bertsmith.errors import InputError, UsageError

T = TypeVar("T")


def shown(value: Any) -> str:
    """Return a value as an error names it: in one line, cut where it is long, with its type where that does not show."""
    text = " ".join(repr(value).split())
    text = text if len(text) <= 80 else text[:77] + "..."
    return text if isinstance(value, str | bytes | int | list | tuple | dict | None) else f"{text} ({type(value).__name__})"


def check_text(value: Any, name: str = "") -> None:
    """Raise :class:`InputError` for what is no text; ``name`` is the argument's."""
    if not isinstance(value, str):
        raise InputError(f"{name}{': ' if name else ''}a text is needed here, not {shown(value)}")


def each(items: Iterable[Any], name: str = "inputs") -> Iterator[Any]:
    """Return an iterator over the items of a list or a generator, whose name is the argument's.

    Raises:
        InputError: they are one text, whose letters would be read, a table or a mapping, whose names would be, or none at all.
    """
    if isinstance(items, str | bytes):
        raise InputError(f"{name}: a list or a generator is needed, not one text: write [{shown(items)}]")
    if isinstance(items, Mapping):
        raise InputError(f"{name}: a list or a generator is needed, not a dict, of which only the keys would be read")
    if isinstance(items, set | frozenset):
        raise InputError(f"{name}: a list or a generator is needed, not a set, which has no order")
    if hasattr(items, "columns"):
        kind, example = type(items).__name__, next(iter(items.columns), "text")
        raise InputError(f"{name}: a {kind} is a table; give one column of it, such as table[{shown(example)}]")
    try:
        return iter(items)
    except TypeError:
        raise InputError(f"{name}: a list or a generator is needed, not {shown(items)}") from None


def converted(items: Iterable[Any], convert: Callable[[Any], T], name: str = "inputs") -> Iterator[T]:
    """Yield what ``convert`` makes of each item; its :class:`InputError` gets the item's place, such as ``inputs[3]``."""
    for place, item in enumerate(each(items, name)):
        try:
            made = convert(item)
        except InputError as error:
            raise InputError(f"{name}[{place}]: {error}") from None
        yield made


def texts(items: Iterable[Any], name: str = "inputs") -> Iterator[str]:
    """Yield the items, each checked to be a text."""
    return converted(items, _text, name)


def _text(value: Any) -> str:
    check_text(value)
    return value  # type: ignore[no-any-return]


def path_of(value: Any, name: str = "path") -> Path:
    """Return the path that a caller gives as a text or a path; :class:`UsageError` for what is neither, or empty."""
    if not isinstance(value, str | Path) or value == "":
        raise UsageError(f"{name} is {shown(value)}; give the path of a file or a directory")
    return Path(value)


def one_of(value: T, known: Sequence[T], name: str) -> T:
    """Return the value where it is a known one; :class:`UsageError` that lists those otherwise."""
    if not any(type(value) is type(one) and value == one for one in known):
        raise UsageError(f"{name} {shown(value)} is not one of {', '.join(str(one) for one in known)}")
    return value


def whole_number(value: Any, name: str, least: int) -> int:
    """Return an integer that is at least ``least``; :class:`UsageError` for anything else."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{name} is {shown(value)}; give a whole number, such as {max(least, 1)}")
    if value < least:
        raise UsageError(f"{name} {value} is less than {least}")
    return value


def subclass(value: Any, kind: type, name: str) -> None:
    """Raise :class:`UsageError` for what is no class of the ``kind``."""
    if not (isinstance(value, type) and issubclass(value, kind)):
        raise UsageError(f"{name}: a class of {kind.__name__} is needed, such as bertsmith.Classify, not {shown(value)}")


def instance(value: Any, kind: type[T], name: str, remedy: str) -> T:
    """Return a value of the class ``kind``; :class:`UsageError` with the remedy for one of another."""
    if not isinstance(value, kind):
        raise UsageError(f"{name}: a {kind.__name__} is needed, not {shown(value)}; {remedy}")
    return value

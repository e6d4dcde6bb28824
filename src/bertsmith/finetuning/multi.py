"""The configuration of a run of several tasks on one encoder: ``tasks.toml``."""

import difflib
import re
import unicodedata
from functools import cache
from typing import Annotated, Any, ClassVar

import pydantic

from bertsmith.config import Flag
from bertsmith.errors import ConfigError
from bertsmith.finetuning.grid import GridConfig, LabelledFiles
from bertsmith.tasks.saved import TASKS
from bertsmith.tasks.task import Task

_NAME = re.compile(r"\w[\w-]{0,59}")


class MultiConfig(GridConfig):
    """Fine-tune one encoder for several tasks, each with a head of its own."""

    free_on_resume: ClassVar[frozenset[str]] = GridConfig.free_on_resume | {
        f"tasks.*.{name}" for name in ("train", "dev", "test")
    }

    tasks: Annotated[dict[str, dict[str, Any]], Flag(in_file_only=True)] = pydantic.Field(default={}, validate_default=True)
    """A table a task: its ``kind``, its files, and beside them its own settings. Settings left out have their defaults."""
    temperature: float = pydantic.Field(default=1.0, ge=1)
    """Each step draws one task: at 1 in proportion to the sizes of the training files, at higher temperatures more equally."""

    @pydantic.field_validator("tasks")
    @classmethod
    def _filled_in(cls, tasks: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not tasks:
            raise ValueError("name at least one task: a table [tasks.NAME] with its kind and its training file")
        check_names(list(tasks))
        try:
            return {
                name: {"kind": table.get("kind"), **_read(name, table).model_dump(mode="json")} for name, table in tasks.items()
            }
        except ConfigError as error:
            raise ValueError(" ".join(str(error).split())) from None

    def by_task(self) -> dict[str, tuple[LabelledFiles, Task]]:
        """Return the files and the settings of each task by its name."""
        return {name: _parts(name, table) for name, table in self.tasks.items()}


def check_names(names: list[str]) -> None:
    """Raise ``ValueError`` unless every name can be a directory's, and no two the same one's."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a task: use at most 60 letters, digits, - and _; it names a directory")
    same = [unicodedata.normalize("NFKC", name).casefold() for name in names]
    for place, name in enumerate(names):
        if same[place] in same[:place]:
            raise ValueError(
                f"{name!r} and {names[same.index(same[place])]!r} would be one directory on some systems; rename one"
            )


@cache
def _table_of(kind: type[Task]) -> type[LabelledFiles]:
    """Return the class of a task's table, which has the fields of its files and those of the task."""
    made: type[LabelledFiles] = pydantic.create_model(f"{kind.__name__}Table", __base__=(LabelledFiles, kind))  # type: ignore[arg-type]
    return made


def _read(name: str, table: dict[str, Any]) -> LabelledFiles:
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in TASKS:
        near = difflib.get_close_matches(str(kind), TASKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the kinds are {', '.join(TASKS)}"
        raise ConfigError(f"{name}.kind {'is missing' if kind is None else f'= {kind!r} is no kind of task'}; {hint}")
    return _table_of(TASKS[kind]).from_values(values, name)


def _parts(name: str, table: dict[str, Any]) -> tuple[LabelledFiles, Task]:
    """Return what a table says of the files and what of the task."""
    values = _read(name, table).model_dump(mode="json")
    files = {field: values.pop(field) for field in LabelledFiles.model_fields}
    return LabelledFiles.from_values(files, name), TASKS[table["kind"]].from_values(values, name)

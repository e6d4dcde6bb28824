"""``task.json``: what a model directory was fine-tuned for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertsmith.arguments import subclass
from bertsmith.artifacts.configuration import read_heads
from bertsmith.artifacts.directory import SEVERAL, TASK, load_model, save_model, verify_directory
from bertsmith.errors import ArtifactError, ConfigError, DamagedError, InputError, MismatchError
from bertsmith.files import atomic_directory, read_json, write_manifest
from bertsmith.model.bert import Bert, Heads
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.sequence import ChoiceScores, SequenceScores
from bertsmith.model.heads.span import SpanScores
from bertsmith.model.heads.token import TokenScores
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.tag_examples import LearntScheme
from bertsmith.tasks.tag_schemes import scheme_of
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer

TASKS: dict[str, type[Task]] = {kind.kind: kind for kind in (Classify, Multilabel, Regress, Tag, Answer, Choose, Rank, Embed)}


def task_values(task: Task) -> dict[str, Any]:
    """Return what ``task.json`` holds for a task."""
    return {"task": task.kind, "format": 1, "settings": task.model_dump(mode="json", exclude_none=True)}


def save_task_models(models: Mapping[str, tuple[Task, Bert, str]], tokenizer: Tokenizer, path: Path) -> None:
    """Write a directory with a model directory for each task, by its name, whole or not at all.

    Args:
        models: Each task with its model and its card.
        tokenizer: That of all models.
        path: The directory to make.

    Raises:
        ArtifactError: ``path`` exists and is not empty.
        StorageError: the disk is full or refuses.
    """
    with atomic_directory(path) as directory:
        for name, (task, model, card) in models.items():
            save_model(model, tokenizer, directory / name, card, task_values(task))
        write_manifest(directory, SEVERAL, {"tasks": {name: task.kind for name, (task, _, _) in models.items()}})


def load_task_model(path: Path, kind: type[Task] | None = None) -> tuple[Task, Bert]:
    """Return the task that the model directory ``path`` was fine-tuned for, and its model.

    A directory without ``task.json``, such as one of transformers', has the task that its head is for, with its usual settings.
    With one score a sequence it is also a ranker, where that is asked for, and reads as much as the model has positions for.

    Args:
        path: The model directory.
        kind: The class of the task, where it is one of one's own or no other will do.

    Raises:
        ArtifactError: the directory is of another task, or of one that is not known, or its model has no head of a task.
        DamagedError: ``task.json`` is not what bertsmith writes.
        MismatchError: ``task.json`` says another head, such as one of other labels, than the model has.
        UsageError: ``kind`` is no class of a task.
    """
    if kind is not None:
        subclass(kind, Task, "task")
    verify_directory(path)
    if (path / TASK).exists():
        task = _check_kind(_read_task(path / TASK, kind), kind, path)
        _check_head(task.head(), path)
        model = load_model(path, Heads(task=task.head()), may_be_new=False)
    else:
        model = load_model(path)
        task = _check_kind(_task_of_heads(path, model, kind), kind, path)
    # No sequence may have more tokens than the model has positions, however long those of the task usually are.
    return task.model_copy(update={"max_length": min(task.max_length, model.config.max_positions)}), model


def _check_head(head: TaskHead, path: Path) -> None:
    named = read_heads(path)
    if named is not None and named.task not in (None, head):
        raise MismatchError(f"{path}: {TASK} means other labels or another head than config.json; put back the one that fits")


def _read_task(file: Path, kind: type[Task] | None) -> Task:
    values = read_json(file)
    if values.keys() != {"task", "format", "settings"} or values["format"] != 1 or not isinstance(values["settings"], dict):
        raise DamagedError(f"{file} is not what bertsmith writes there")
    named = kind if kind is not None and kind.kind == values["task"] else TASKS.get(str(values["task"]))
    if named is None:
        raise ArtifactError(f"{file.parent} is a model of the task {values['task']!r}, not one of {', '.join(TASKS)}")
    try:
        return named.from_values(values["settings"], str(file))
    except ConfigError as error:
        raise DamagedError(str(error)) from None


def _check_kind(task: Task, kind: type[Task] | None, path: Path) -> Task:
    if kind is not None and not isinstance(task, kind):
        raise ArtifactError(f"{path} is a model of the task {task.kind!r}; one of {kind.kind!r} is needed here")
    return task


def _task_of_heads(path: Path, model: Bert, kind: type[Task] | None) -> Task:
    match model.heads.task:
        case SequenceScores((_,)) if kind is Rank:
            return Rank(max_length=model.config.max_positions)
        case SequenceScores(labels, "single_label_classification", pooling):
            return Classify(labels=labels, pooling=pooling)
        case SequenceScores(labels, "multi_label_classification", pooling):
            return Multilabel(labels=labels, pooling=pooling)
        case SequenceScores((_,), "regression", pooling):
            return Regress(pooling=pooling)
        case SequenceScores(labels, "regression", pooling):
            return Regress(labels=labels, pooling=pooling)
        case TokenScores(labels, decoder):
            return Tag(labels=labels, decoder=decoder, scheme=_scheme_of(labels), units="words")
        case SpanScores():
            return Answer(scorer="squad", has_no_answers=True)
        case ChoiceScores():
            return Choose()
    raise ArtifactError(f"{path} holds a model without the head of a known task; fine-tune it first: bertsmith finetune")


def _scheme_of(labels: tuple[str, ...]) -> LearntScheme:
    try:
        found = scheme_of([[label] for label in labels])
    except InputError:  # beside the tags of chunks there are others, such as X for what is no word
        return "iob2"
    return "iob2" if found == "iob1" else found

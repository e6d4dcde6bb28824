"""The page inside a notebook."""

import copy
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bertsmith.arguments import check_text, instance, path_of, whole_number
from bertsmith.errors import UsageError
from bertsmith.files import atomic_file
from bertsmith.inspection.export import exported
from bertsmith.inspection.gallery import Gallery, model_and_checkpoints
from bertsmith.inspection.subject import Subject
from bertsmith.inspection.suggestions import Start
from bertsmith.model.bert import Bert
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """The page with everything about one text: a notebook shows it; ``save`` writes it to a file."""

    html: str
    height: int

    def save(self, path: str | Path) -> None:
        """Write the page, whole or not at all; :class:`StorageError` where the disk is full or refuses."""
        with atomic_file(Path(path)) as temporary:
            temporary.write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        """Return a frame that runs the page's own scripts, and keeps them from the notebook."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts allow-downloads allow-popups" '
            f'style="width:100%;height:{self.height}px;border:0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<bertsmith page of {len(self.html):,} characters; .save(path) writes it>"


def inspect(
    model: str | Path | Bert,
    text: str,
    pair: str | None = None,
    *,
    other: str | Path | Bert | None = None,
    tokenizer: Tokenizer | None = None,
    task: type[Task] | None = None,
    height: int = 720,
) -> Page:
    """Return a page that shows what a model does with a text: in a notebook it is shown.

    Args:
        model: Directory of a model or a run, or a model that is loaded, with its ``tokenizer``.
        text: The text.
        pair: A second text, as the model's second segment.
        other: A second model to compare with, given as the first is.
        tokenizer: That of the models given loaded.
        task: The class of the task, where it is one of your own.
        height: Of the frame in a notebook, in pixels.

    Raises:
        ArtifactError: a directory holds no model.
        Refusal: the text is empty or too long.
        UsageError: a loaded model comes without its tokenizer, or an argument is not what it should be.
    """
    check_text(text, "text")
    if pair is not None:
        check_text(pair, "pair")
    whole_number(height, "height", 1)
    start, wanted = Start(text, pair), [model] if other is None else [model, other]
    if not any(isinstance(one, Bert) for one in wanted):
        return Page(exported(Gallery.open([path_of(one, "model") for one in wanted], start, task)), height)
    subjects: list[tuple[str, Subject]] = []
    runs: list[list[Path]] = []
    for letter, one in zip("AB", wanted, strict=False):
        if not isinstance(one, Bert):
            path, checkpoints = model_and_checkpoints(path_of(one, "model"))
            subjects.append((Path(one).name, Subject.load(path, task)))
            runs.append(checkpoints)
        elif tokenizer is None:
            raise UsageError("a loaded model needs its tokenizer: inspect(model, text, tokenizer=tok)")
        else:
            instance(tokenizer, Tokenizer, "tokenizer", "load it: bertsmith.Tokenizer.load(path)")
            # A copy, since whoever has the model may train it on.
            subjects.append((f"model {letter}", Subject.of(copy.deepcopy(one).cpu().float(), tokenizer)))
            runs.append([])
    return Page(exported(Gallery(subjects, runs, start)), height)

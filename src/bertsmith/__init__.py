"""BERT the whole way: raw text to a model that anyone can open.

    tok = bertsmith.Tokenizer.load(path)
    model = bertsmith.load(path)
    out = model(tok.pack(["a text", ("a", "pair")]))
    bertsmith.save(model, tok, path)
    pipe = bertsmith.pipeline(path)
    bertsmith.inspect(path, "a text")

Nothing heavy is imported before it is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertsmith.artifacts.directory import load_model as load
    from bertsmith.artifacts.directory import save_model as save
    from bertsmith.inference.features import FeaturePipeline, TextFeatures
    from bertsmith.inference.pipeline import Pipeline
    from bertsmith.inference.pipelines import FillPipeline, TaskPipeline, VectorPipeline, pipeline, pipelines
    from bertsmith.inspection.notebook import inspect
    from bertsmith.machine import keep_pages
    from bertsmith.model.bert import Bert, BertOutput
    from bertsmith.tasks.fill import Candidate, Filled
    from bertsmith.tasks.kinds.answer import Answer
    from bertsmith.tasks.kinds.choose import Choose, Chosen
    from bertsmith.tasks.kinds.classify import Classified, Classify
    from bertsmith.tasks.kinds.embed import Embed
    from bertsmith.tasks.kinds.multilabel import Labelled, Multilabel
    from bertsmith.tasks.kinds.rank import Rank, RankedCandidate, Ranking
    from bertsmith.tasks.kinds.regress import Estimated, Regress
    from bertsmith.tasks.kinds.tag import Tag, Tagged
    from bertsmith.tasks.shown import Entity
    from bertsmith.tasks.spans import Answered, Span
    from bertsmith.tasks.task import Task
    from bertsmith.text.tokenizer import Tokenizer
    from bertsmith.types import Encoding, PackedBatch

__version__ = "0.1.0"

_HOMES = {
    "artifacts.directory": ("load", "save"),
    "inference.features": ("FeaturePipeline", "TextFeatures"),
    "inference.pipeline": ("Pipeline",),
    "inference.pipelines": ("FillPipeline", "TaskPipeline", "VectorPipeline", "pipeline", "pipelines"),
    "inspection.notebook": ("inspect",),
    "machine": ("keep_pages",),
    "model.bert": ("Bert", "BertOutput"),
    "tasks.kinds.answer": ("Answer",),
    "tasks.kinds.choose": ("Choose", "Chosen"),
    "tasks.kinds.classify": ("Classified", "Classify"),
    "tasks.kinds.embed": ("Embed",),
    "tasks.fill": ("Candidate", "Filled"),
    "tasks.kinds.multilabel": ("Labelled", "Multilabel"),
    "tasks.kinds.rank": ("Rank", "RankedCandidate", "Ranking"),
    "tasks.kinds.regress": ("Estimated", "Regress"),
    "tasks.shown": ("Entity",),
    "tasks.spans": ("Answered", "Span"),
    "tasks.kinds.tag": ("Tag", "Tagged"),
    "tasks.task": ("Task",),
    "text.tokenizer": ("Tokenizer",),
    "types": ("Encoding", "PackedBatch"),
}
_MODULES = {name: f"bertsmith.{module}" for module, names in _HOMES.items() for name in names}
_NAMES_AT_HOME = {"load": "load_model", "save": "save_model"}

__all__ = [
    "Answer",
    "Answered",
    "Bert",
    "BertOutput",
    "Candidate",
    "Choose",
    "Chosen",
    "Classified",
    "Classify",
    "Embed",
    "Encoding",
    "Entity",
    "Estimated",
    "FeaturePipeline",
    "FillPipeline",
    "Filled",
    "Labelled",
    "Multilabel",
    "PackedBatch",
    "Pipeline",
    "Rank",
    "RankedCandidate",
    "Ranking",
    "Regress",
    "Span",
    "Tag",
    "Tagged",
    "Task",
    "TaskPipeline",
    "TextFeatures",
    "Tokenizer",
    "VectorPipeline",
    "inspect",
    "keep_pages",
    "load",
    "pipeline",
    "pipelines",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'bertsmith' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), _NAMES_AT_HOME.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

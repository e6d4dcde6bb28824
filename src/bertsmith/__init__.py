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
    from bertsmith.inference.pipelines import pipeline, pipelines
    from bertsmith.inspection.notebook import inspect
    from bertsmith.machine import keep_pages
    from bertsmith.text.tokenizer import Tokenizer
    from bertsmith.types import Encoding, PackedBatch

__version__ = "0.1.0"
__all__ = ["Encoding", "PackedBatch", "Tokenizer", "inspect", "keep_pages", "load", "pipeline", "pipelines", "save"]

_HOMES = {
    "Encoding": ("bertsmith.types", "Encoding"),
    "PackedBatch": ("bertsmith.types", "PackedBatch"),
    "Tokenizer": ("bertsmith.text.tokenizer", "Tokenizer"),
    "inspect": ("bertsmith.inspection.notebook", "inspect"),
    "keep_pages": ("bertsmith.machine", "keep_pages"),
    "load": ("bertsmith.artifacts.directory", "load_model"),
    "pipeline": ("bertsmith.inference.pipelines", "pipeline"),
    "pipelines": ("bertsmith.inference.pipelines", "pipelines"),
    "save": ("bertsmith.artifacts.directory", "save_model"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bertsmith' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Classes by their names where a dataset of Hugging Face holds numbers, ``ClassLabel``."""

import json
from collections.abc import Mapping
from typing import Any


def names_of_classes(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of the classes by their column, as ``datasets`` writes them into the schema of Parquet and Arrow."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found = {column: feature.get("feature", feature) for column, feature in features.items()}
        named = {column: kind["names"] for column, kind in found.items() if kind.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {column: names for column, names in named.items() if isinstance(names, list) and all(map(_is_text, names))}


def with_names(value: Any, names: list[str]) -> Any:
    """Return the name of a class, or of each in a list; None for -1, which marks an unlabelled example."""
    if isinstance(value, list):
        return [with_names(one, names) for one in value]
    if not isinstance(value, int) or value >= len(names):
        return value
    return names[value] if value >= 0 else None


def _is_text(name: Any) -> bool:
    return isinstance(name, str)

"""Datasets of the Hugging Face hub as tables."""

import importlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from bertsmith.errors import InputError, UsageError
from bertsmith.sources.class_labels import with_names
from bertsmith.sources.tables import Record, Table, table_of

HUB_PREFIX = "hub:"
_HUB_NAME = re.compile(r"hub:(?P<name>.+?)(?:@(?P<config>[^@:/]+))?:(?P<split>[^:/\[]+(?:\[.*\])?)")


def open_hub_dataset(address: str) -> Table:
    """Open ``hub:NAME[@CONFIG]:SPLIT``, of the hub or in a local directory; class labels are read as their names.

    Raises:
        InputError: the address says no split, or there is no such dataset.
        UsageError: the ``datasets`` package is missing.
    """
    return table_of(_rows(address), address, "hub")


def _rows(address: str) -> Iterator[Record]:
    dataset, names = _load(address)
    for number, row in enumerate(dataset, 1):
        values = {column: with_names(value, names[column]) if column in names else value for column, value in row.items()}
        yield Record(values, address, number)


def _load(address: str) -> tuple[Iterable[dict[str, Any]], dict[str, list[str]]]:
    """Return a dataset and, of each column with class labels, their names."""
    parts = _HUB_NAME.fullmatch(address)
    if parts is None:
        raise InputError(f"{address} does not say which dataset is meant; write hub:NAME:SPLIT or hub:NAME@CONFIG:SPLIT")
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise UsageError(f"reading {address} needs the datasets package: pip install 'bertsmith[hub]'") from None
    try:
        dataset = datasets.load_dataset(parts["name"], parts["config"], split=parts["split"])
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(f"cannot read {address}: {error}") from error
    inner = {column: getattr(feature, "feature", feature) for column, feature in dataset.features.items()}
    return dataset, {column: kind.names for column, kind in inner.items() if isinstance(kind, datasets.ClassLabel)}

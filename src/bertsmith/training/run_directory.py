"""The directory of a run: configuration, environment, metrics, checkpoints, the final model and the report."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bertsmith.artifacts.weights import WEIGHTS
from bertsmith.errors import ArtifactError, DamagedError, MismatchError
from bertsmith.files import (
    DIGESTS,
    atomic_file,
    check_digests,
    exclusive,
    flush,
    read_json,
    remove_leftovers,
    storage_errors,
    write_digests,
    write_json,
)
from bertsmith.sources.digests import differences
from bertsmith.training.parallel import Ranks
from bertsmith.training.settings import RunConfig

log = logging.getLogger("bertsmith")


class RunDirectory:
    """Paths of a run and what is written into them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.final = path / "final"
        self.report = path / "report.html"

    @contextmanager
    def begun(self, config: RunConfig, environment: Mapping[str, Any], ranks: Ranks) -> Iterator[None]:
        """Hold the directory alone while the body runs, its configuration written down or found to be the same.

        What ``environment`` has under names that end in ``_sha256`` must not change either. The first of the ranks does all
        of it; the others wait.

        Raises:
            BusyError: another process holds the directory.
            ArtifactError: the directory holds something else.
            MismatchError: the run was begun with other settings, each of which is named, or on other data.
        """
        with exclusive(self.path) if ranks.is_first else nullcontext():
            if ranks.is_first:
                self._begin(config, environment)
                remove_leftovers(self.path)
            ranks.wait()
            yield

    def _begin(self, config: RunConfig, environment: Mapping[str, Any]) -> None:
        if self.config.exists():
            check_digests(self.path)
            self._refuse_changes(type(config).from_toml(self.config), config)
            before = read_json(self.environment)
            for name in sorted(before.keys() | environment.keys()):
                if name.endswith("_sha256") and before.get(name) != environment.get(name):
                    what = name.removesuffix("_sha256")
                    raise MismatchError(f"the {what} is not the one that {self.path} was begun on; choose another --out")
            _say_what_changed(before, environment)
        else:
            self._set_up(config, environment)
        # Of a finished run they stay. Others may have lost them, or have those of an end that the system cut short.
        if not self.final.exists():
            write_digests(self.path, (self.config.name, self.environment.name))

    def _set_up(self, config: RunConfig, environment: Mapping[str, Any]) -> None:
        # A run killed at its very beginning has a lock and perhaps an environment, but no configuration yet.
        own = {".lock", self.environment.name, DIGESTS, *(entry.name for entry in self.path.glob(".*.partial"))}
        foreign = sorted({entry.name for entry in self.path.iterdir()} - own)
        if foreign:
            raise ArtifactError(f"{self.path} exists and is not a run (it holds {foreign[0]}); choose another --out")
        write_json(self.environment, environment)
        with atomic_file(self.config) as temporary:
            temporary.write_text(config.to_toml(), encoding="utf-8")

    def _refuse_changes(self, begun: RunConfig, config: RunConfig) -> None:
        found = differences(begun.model_dump(mode="json"), config.model_dump(mode="json"))
        changed = [
            f"  {change}"
            for name, change in found.items()
            if not any(fnmatchcase(name, free) for free in config.free_on_resume)
        ]
        if changed:
            listed = "\n".join(changed)
            has_model = (self.final / WEIGHTS).exists()
            remedy = f"(--out) from its model (--model {self.final})" if has_model else "with another --out"
            raise MismatchError(
                f"{self.path} was begun with other settings:\n{listed}\n"
                f"resume it with those it had, or begin a new run {remedy}"
            )

    def finish(self) -> None:
        """Write down the digests of what will not change any more: the metrics too."""
        write_digests(self.path, (self.config.name, self.environment.name, self.metrics.name))

    def metrics_so_far(self) -> dict[str, Any]:
        """Return size and SHA-256 of ``metrics.jsonl`` as it is now, as checkpoints hold them; what they tell of is flushed."""
        if self.metrics.exists():
            flush(self.metrics)
        content = self.metrics.read_bytes() if self.metrics.exists() else b""
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def keep_metrics(self, so_far: Mapping[str, Any]) -> None:
        """Cut ``metrics.jsonl`` to what it was when a checkpoint was saved; the resumed run writes the rest again.

        Raises:
            DamagedError: it has other bytes than it had then.
        """
        content = self.metrics.read_bytes() if self.metrics.exists() else b""
        kept = content[: so_far["bytes"]]
        if len(kept) < so_far["bytes"] or hashlib.sha256(kept).hexdigest() != so_far["sha256"]:
            raise DamagedError(
                f"{self.metrics} is not what it was at the last checkpoint; put it back, or begin a new run with another --out"
            )
        if kept != content:
            with atomic_file(self.metrics) as temporary:
                temporary.write_bytes(kept)

    def keep_metrics_until(self, step: int) -> None:
        """Drop what was written behind ``step``, and a last line cut short, where a checkpoint does not tell their digest."""
        if not self.metrics.exists():
            return
        kept = [line for line, record in self._lines() if type(record["step"]) is int and record["step"] <= step]
        with atomic_file(self.metrics) as temporary:
            temporary.write_bytes(b"".join(kept))

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        with storage_errors(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **values}, ensure_ascii=False) + "\n")

    def last(self, kind: str) -> dict[str, Any] | None:
        """Return the last record of a kind."""
        found = None
        for _, record in self._lines():
            if record["kind"] == kind:
                found = record
        return found

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Yield each whole line of ``metrics.jsonl`` as it is and as a record, so none where there is no such file."""
        with suppress(FileNotFoundError), self.metrics.open("rb") as file:
            for line in file:
                with suppress(ValueError, RecursionError):
                    record = json.loads(line)
                    if line.endswith(b"\n") and isinstance(record, dict) and {"kind", "step"} <= record.keys():
                        yield line, record


def _say_what_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say which of the things that the bytes may depend on are not as they were: of the machine, its packages, its threads."""
    changed = [
        f"{name} {before[name]} → {now[name]}"
        for name in now
        if name in before and before[name] != now[name] and name != "cores" and not name.endswith("_sha256")
    ]
    if changed:
        log.warning("the run goes on elsewhere than it was begun, so its bytes may differ: %s", ", ".join(changed))


def digest_of_files(manifest: Mapping[str, Any]) -> str:
    """Return one SHA-256 for the contents of all files that a manifest lists."""
    return hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest()

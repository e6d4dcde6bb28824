"""Feature-based training against fine-tuning: the table of Devlin et al. (2019), section 5.3, for any encoder and any tags."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any, ClassVar, Literal, Self, get_args

import pydantic
import torch

from bertsmith.artifacts.configuration import read_shape
from bertsmith.artifacts.directory import verify_directory
from bertsmith.comparing.feature_based import BiLstm, TaggedVectors, score_tagger, train_tagger
from bertsmith.comparing.feature_cache import cached_vectors
from bertsmith.errors import DamagedError
from bertsmith.files import atomic_file, read_sealed, write_sealed
from bertsmith.finetuning.grid import ALONE, Counts, FinetuneConfig, Numbers, config_of
from bertsmith.finetuning.labelled import LabelledData, digests, read_data
from bertsmith.finetuning.objectives import check_model
from bertsmith.finetuning.results import Spread, best_history, read_histories, score_name, spread_text
from bertsmith.finetuning.run import finetune
from bertsmith.machine import choose_device, choose_dtype, environment, keep_pages
from bertsmith.model.mixing import Layers
from bertsmith.progress import SILENT, Progress
from bertsmith.signals import interruptible
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.parallel import Ranks
from bertsmith.training.run_directory import RunDirectory
from bertsmith.training.settings import Machine, RunConfig

Variant = Literal["embeddings", "second-to-last", "last", "sum-last-4", "concat-last-4", "sum-all", "scalar-mix", "fine-tuned"]
_LAYERS = {"embeddings": "0", "second-to-last": "-2", "last": "-1"}

log = logging.getLogger("bertsmith")


class CompareFeaturesConfig(RunConfig):
    """Compare a BiLSTM on frozen features of a model, layer by layer, with fine-tuning the model: a tag for every word."""

    free_on_resume: ClassVar[frozenset[str]] = frozenset({"model", "train", "dev", "test", "out", "cache", "variants", "seeds"})

    model: Path
    """Model directory."""
    train: str
    """File of tagged words to learn from."""
    dev: str
    """File to score on."""
    out: Path
    """Directory of the run; the same command on it resumes, and more variants or seeds may be added."""
    test: str | None = None
    """Another file to score on."""
    format: str | None = None
    """Format of the files, if their extensions do not say it."""
    variants: tuple[Variant, ...] = get_args(Variant)
    """What to compare."""
    seeds: int = pydantic.Field(default=3, gt=0)
    """Trainings of each variant."""
    seed: int = pydantic.Field(default=0, ge=0)
    """The first seed."""
    cache: Path | None = None
    """Directory of the features, which runs may share; in --out unless given."""
    finetune_lr: Numbers = (5e-5,)
    """Learning rates of fine-tuning, with commas between them; the best on the dev file counts."""
    finetune_epochs: Numbers = (3.0,)
    """Passes of fine-tuning, likewise."""
    finetune_batch_size: Counts = (32,)
    """Batch sizes of fine-tuning, likewise."""
    task: Tag = Tag()
    tagger: BiLstm = BiLstm()
    machine: Machine = Machine()

    @pydantic.model_validator(mode="after")
    def _one_decoder(self) -> Self:
        if self.task.decoder != "linear":
            raise ValueError("--decoder is the same for all that is compared, linear; leave it out")
        return self

    def finetuning(self, seed: int) -> FinetuneConfig:
        """Return the configuration of fine-tuning with a seed."""
        config: FinetuneConfig = config_of(Tag)(
            model=self.model,
            train=self.train,
            dev=self.dev,
            test=self.test,
            format=self.format,
            out=self.out / "fine-tuned" / f"seed-{seed}",
            lr=self.finetune_lr,
            epochs=self.finetune_epochs,
            batch_size=self.finetune_batch_size,
            seed=seed,
            task=self.task,
            machine=self.machine,
        )
        return config


Scores = dict[str, Mapping[str, float]]
"""Scores by name, of each file: "dev" and, where there is one, "test"."""


@dataclass(frozen=True, slots=True)
class VariantRow:
    """A variant's scores over seeds: of each file and by name."""

    variant: str
    n_seeds: int
    spreads: dict[str, dict[str, Spread]]


def compare_features(config: CompareFeaturesConfig, progress: Progress = SILENT) -> list[VariantRow]:
    """Run, or resume, a comparison; write ``table.md`` and ``table.json`` into its directory after every variant.

    Raises:
        UsageError: a variant is of layers, or sequences are of a length, that the model does not have, or settings contradict
            each other.
        InputError: a file is not one of tagged words, or has tags that the training file lacks.
        MismatchError: an earlier part of the run had other settings or data, or a cache is of another model or file, or the
            model's tokenizer is not its own.
        DamagedError: a cache or a result is cut short.
        Interrupted: SIGINT or SIGTERM came; what is finished is kept and the same call goes on.
    """
    keep_pages()
    verify_directory(config.model)
    device = choose_device(config.machine.device, 0)
    dtype = choose_dtype(config.machine.precision, device)
    shape = read_shape(config.model)
    layers: dict[str, Layers] = {
        variant: _layers(variant, shape.n_layers) for variant in config.variants if variant != "fine-tuned"
    }
    finetuning = config.finetuning(config.seed)
    data = read_data(finetuning, config.task)
    check_model(config.model, Tokenizer.load(config.model), {ALONE: data.task})
    begun = RunDirectory(config.out).begun(config, {**environment(device, dtype), **digests(finetuning)}, Ranks())
    with interruptible("stopped; the same command goes on behind the last result"), begun:
        run = _Run(config, data, device, dtype, progress)
        rows: list[VariantRow] = []
        for variant in config.variants:
            found = [run.scores(variant, layers.get(variant), seed) for seed in range(config.seed, config.seed + config.seeds)]
            rows.append(_row(variant, found))
            _write_table(config.out, data.task.main_metric, rows)
    return rows


def _layers(variant: str, n_layers: int) -> Layers:
    if variant == "scalar-mix":
        return Layers(tuple(range(n_layers + 1)))
    return Layers.parse(_LAYERS.get(variant, variant), n_layers)


class _Run:
    """What makes the results of a comparison, or finds them made."""

    def __init__(
        self,
        config: CompareFeaturesConfig,
        data: LabelledData[Tag],
        device: torch.device,
        dtype: torch.dtype,
        progress: Progress,
    ) -> None:
        self._config, self._data, self._progress = config, data, progress
        self._device, self._dtype = device, dtype
        self._vectors = cache(self._read_vectors)

    def scores(self, variant: Variant, layers: Layers | None, seed: int) -> Scores:
        """Return the scores of a variant with a seed; those of layers are of a tagger on frozen features."""
        path = self._config.out / "results" / variant / f"seed-{seed}.json"
        if not path.exists():
            found = self._finetuned(seed) if layers is None else self._feature_based(layers, variant == "scalar-mix", seed)
            write_sealed(path, {"variant": variant, "seed": seed, **found})
            metric = self._data.task.main_metric
            log.info("%s, seed %d: %s %.4f", variant, seed, score_name(metric), found["dev"][metric])
        return _read_scores(path, self._data.task.main_metric)

    def _finetuned(self, seed: int) -> Scores:
        config = self._config.finetuning(seed)
        finetune(config, self._progress)
        best = best_history(read_histories(config.out), self._data.task.main_metric)
        assert best is not None
        return {split: best.scores(split) for split in self._files}

    def _feature_based(self, layers: Layers, is_mixed: bool, seed: int) -> Scores:
        task, settings = self._data.task, self._config.tagger
        tagger = train_tagger(self._vectors("train"), task, layers, is_mixed, settings, seed, self._device, self._progress)
        return {split: score_tagger(tagger, self._vectors(split), task, self._device) for split in self._files}

    @property
    def _files(self) -> list[str]:
        """The files to score on."""
        return ["dev"] if self._data.test is None else ["dev", "test"]

    def _read_vectors(self, split: str) -> TaggedVectors:
        """Return the examples of "train", "dev" or "test" with their vectors."""
        config, task, examples = self._config, self._data.task, getattr(self._data, split)
        place = (config.cache or config.out / "features") / split
        found = cached_vectors(place, config.model, examples, task, self._device, self._dtype, self._progress)
        return TaggedVectors(examples, found)


def _read_scores(path: Path, metric: str) -> Scores:
    remedy = f"remove {path} and run the same command again"
    try:
        values = read_sealed(path)
    except DamagedError as error:
        raise DamagedError(f"{error}; {remedy}") from None
    scores: Scores = {split: values[split] for split in ("dev", "test") if split in values}
    if not all(isinstance(found, dict) and metric in found for found in scores.values()) or "dev" not in scores:
        raise DamagedError(f"{path} lacks the {metric} on the dev set; {remedy}")
    return scores


def _row(variant: str, found: Sequence[Scores]) -> VariantRow:
    spreads: dict[str, dict[str, Spread]] = {}
    for split, names in found[0].items():
        for name in names:
            values = [scores[split][name] for scores in found]
            spread = Spread(mean(values), stdev(values) if len(values) > 1 else None)
            spreads.setdefault(split, {})[name] = spread
    return VariantRow(variant, len(found), spreads)


def comparison_table(rows: Sequence[VariantRow], metric: str) -> str:
    """Return a Markdown table with a row a variant: the metric on the dev and the test file, mean ± standard deviation."""
    splits = list(rows[0].spreads)
    lines = [["", *(f"{split} {score_name(metric)}" for split in splits), "seeds"]]
    lines.append(["---", *["---:"] * (len(splits) + 1)])
    lines += [
        [row.variant, *(spread_text(metric, row.spreads[split][metric]) for split in splits), str(row.n_seeds)] for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comparison_record(rows: Sequence[VariantRow], metric: str) -> dict[str, Any]:
    """Return the same as plain values, with all scores."""
    variants = [
        {
            "variant": row.variant,
            "seeds": row.n_seeds,
            **{split: {name: spread._asdict() for name, spread in names.items()} for split, names in row.spreads.items()},
        }
        for row in rows
    ]
    return {"metric": metric, "variants": variants}


def _write_table(out: Path, metric: str, rows: Sequence[VariantRow]) -> None:
    with atomic_file(out / "table.md") as temporary:
        temporary.write_text(comparison_table(rows, metric) + "\n", encoding="utf-8")
    write_sealed(out / "table.json", comparison_record(rows, metric))

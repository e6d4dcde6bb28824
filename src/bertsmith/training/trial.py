"""One trial of fine-tuning: from a starting model to a trained one, measured on the way, resumable at any step."""

import logging
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bertsmith.artifacts.configuration import read_configuration
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.errors import DivergedError, Interrupted, MismatchError, UsageError
from bertsmith.files import remove_leftovers
from bertsmith.model.bert import Bert, Heads, set_dropout
from bertsmith.progress import Progress
from bertsmith.randomness import key, permutation
from bertsmith.signals import collected
from bertsmith.tasks.predictor import Predictor, pack_samples
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Sample, SampleBatch, Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.checkpoints import Place, newest_whole, remove_damaged, restore, save_checkpoint
from bertsmith.training.engine import Engine
from bertsmith.training.loggers import Logger
from bertsmith.training.optimiser import make_optimiser
from bertsmith.training.parallel import Ranks
from bertsmith.training.precision import FullPrecision, task_logits
from bertsmith.training.results import LESS_IS_BETTER
from bertsmith.training.run import RunDirectory
from bertsmith.training.schedule import learning_rate
from bertsmith.training.tuning import FinetuneConfig, Trial
from bertsmith.training.vocabulary import train_used_rows

log = logging.getLogger("bertsmith")

# As many as show every score that the task has.
_EXAMPLES_REHEARSED = 64


@dataclass(frozen=True, slots=True)
class TrialPlace(Place):
    """The place in a trial: also the best dev score so far, its step, and how many measurements have passed since."""

    best_score: float = -math.inf
    best_step: int = 0
    stale: int = 0


@dataclass(frozen=True, slots=True)
class Material:
    """What all trials of a run share."""

    config: FinetuneConfig
    task: Task
    tokenizer: Tokenizer
    training: Sequence[Sample]
    dev: Sequence[Any]
    device: torch.device
    dtype: torch.dtype


def check_settings(material: Material) -> None:
    """Refuse settings that the model or the task cannot have, before anything is written.

    Raises:
        UsageError: too long sequences, too many frozen layers, a score that there is none of, R-Drop without probabilities.
        ArtifactError: the directory of the model to start from has no configuration of a BERT.
        MismatchError: its tokenizer has tokens that its model lacks.
    """
    task, recipe = material.task, material.config.recipe
    shape, _ = read_configuration(material.config.model)
    if task.max_length > shape.max_positions:
        raise UsageError(
            f"--max-length {task.max_length} is beyond the {shape.max_positions} positions of {material.config.model}"
        )
    if material.tokenizer.vocabulary_size > shape.vocabulary_size:
        raise MismatchError(
            f"{material.config.model}: the tokenizer has {material.tokenizer.vocabulary_size:,} tokens and the model "
            f"{shape.vocabulary_size:,}; they do not belong together"
        )
    if recipe.frozen_layers > shape.n_layers:
        raise UsageError(
            f"--frozen-layers {recipe.frozen_layers}: the model has {shape.n_layers} layers; -1 freezes all of them"
        )
    if task.metric or recipe.r_drop:
        _rehearse(material)


def _rehearse(material: Material) -> None:
    """Let the untrained model say something, to see whether the task has the score and the probabilities that are wanted."""
    task, model = material.task, _starting_model(material, material.config.trials()[0])
    if material.config.recipe.r_drop:
        batch = SampleBatch.collate(material.training[:1])
        logits = model.logits(batch.inputs).task_logits
        assert logits is not None
        task.log_probabilities(logits, batch)
    assert model.task is not None
    examples = material.dev[:: -(-len(material.dev) // _EXAMPLES_REHEARSED)]
    predictor = Predictor(task, material.tokenizer, task_logits(FullPrecision(model), torch.device("cpu")), model.task)
    scores = task.score(examples, [prediction for _, prediction in predictor.predict(examples)])
    if task.main_metric not in scores.keys() - LESS_IS_BETTER:
        choices = ", ".join(name for name in scores if name not in LESS_IS_BETTER)
        raise UsageError(
            f"--metric {task.main_metric}: there is no such score to choose the best model by; choose from {choices}"
        )


def epoch_batches(n_samples: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the samples of each batch of an epoch, in random order.

    Without padding nothing is gained by batches of similar lengths, and a model learns less from them.
    """
    order = permutation(key(seed, "order", epoch), n_samples).tolist()
    return [order[at : at + batch_size] for at in range(0, n_samples, batch_size)]


class TrialRun:
    """A trial at work in its directory."""

    def __init__(self, material: Material, trial: Trial, path: Path, loggers: Sequence[Logger], progress: Progress) -> None:
        self.material, self.trial, self.directory = material, trial, RunDirectory(path)
        self._loggers, self._progress = loggers, progress
        self._task, self._config = material.task, material.config
        self._epoch_steps = -(-len(material.training) // trial.batch_size)
        self.total_steps = max(1, math.ceil(trial.epochs * self._epoch_steps))
        self._measured: list[Any] | None = None
        recipe = material.config.recipe
        master = _starting_model(material, trial)
        embedding = train_used_rows(master, _used_ids(material.training))
        self.engine = Engine(
            master,
            partial(make_optimiser, config=material.config.optimisation(trial), share=_shares(material, trial, master)),
            recipe.max_gradient_norm,
            trial.seed,
            Ranks(),
            material.device,
            material.dtype,
            material.config.machine.compile,
        )
        if embedding is not None:
            embedding.decay_with(self.engine.optimiser)

    @property
    def best(self) -> Path:
        """The model directory with the best weights, of a trial that may stop early."""
        return self.directory.path / "best"

    def run(self) -> TrialPlace:
        """Train to the end of the trial, from its newest checkpoint if there is one, and return where it ended.

        Raises:
            Interrupted: a signal came; the checkpoint of the last step is saved.
            DivergedError: the loss became NaN.
        """
        place = self._resume()
        saved = place.step
        config, started = self._config, time.monotonic() - place.elapsed
        task = self._progress.task(self.trial.name, self.total_steps, "steps")
        with collected() as signals, task as shown:
            shown.advance(place.step)
            batches = self._batches(place.step)
            tokens, since = 0, time.monotonic()
            while place.step < self.total_steps and not self._is_stale(place):
                samples = [self.material.training[index] for index in next(batches)]
                loss, norm, rate = self._step(place.step, samples)
                tokens += sum(sample.n_tokens for sample in samples)
                place = replace(place, step=place.step + 1, elapsed=time.monotonic() - started)
                shown.advance(1)
                if place.step % config.record.log_every == 0 or place.step == self.total_steps:
                    speed, tokens, since = tokens / (time.monotonic() - since), 0, time.monotonic()
                    self._log("train", place, loss=loss, learning_rate=rate, gradient_norm=norm, tokens_per_second=speed)
                    shown.note(f"loss {loss:.3f}  {speed:,.0f} tokens/s")
                if place.step % self._evaluation_steps() == 0 or place.step == self.total_steps:
                    place = self._measure(place)
                    tokens, since = 0, time.monotonic()
                if place.step % config.record.save_every == 0:
                    self._save(place)
                    saved = place.step
                if signals:
                    if saved < place.step:
                        self._save(place)
                    raise Interrupted(
                        f"stopped after step {place.step} of {self.trial.name}; the same command resumes from there"
                    )
        return place

    def _evaluation_steps(self) -> int:
        return self._config.record.evaluate_every or self._epoch_steps

    def _is_stale(self, place: TrialPlace) -> bool:
        return self._config.patience is not None and place.stale >= self._config.patience

    def _batches(self, step: int) -> Iterator[list[int]]:
        """Yield the samples of every batch from ``step`` on."""
        epoch, done = divmod(step, self._epoch_steps)
        while True:
            yield from epoch_batches(len(self.material.training), self.trial.batch_size, self.trial.seed, epoch)[done:]
            epoch, done = epoch + 1, 0

    def _step(self, step: int, samples: Sequence[Sample]) -> tuple[float, float, float]:
        """Make a step and return its loss, the gradient's norm and the learning rate."""
        n_targets = max(1, sum(self._task.n_targets(sample) for sample in samples))
        parts = [samples]
        if not self._task.compares_samples:
            parts = [[samples[index] for index in part] for part in pack_samples(samples, self._config.recipe.batch_tokens)]
        losses = self._accumulate(step, parts, n_targets)
        if self._config.recipe.fgm:
            with _adversarial(self.engine.master, self._config.recipe.fgm):
                self._accumulate(step, parts, n_targets)
        norm, value = self.engine.gather(), torch.stack(losses).sum().item()
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise DivergedError(
                f"the loss at step {step + 1} of {self.trial.name} is {value:.4g} and the gradient's norm {norm:.4g}: "
                "training diverged; use a lower --lr or a longer --warmup"
            )
        rate = learning_rate(self.trial.learning_rate, self._config.recipe.warmup, (step + 0.5) / self.total_steps)
        self.engine.update(rate)
        return value, norm, rate

    def _accumulate(self, step: int, parts: Sequence[Sequence[Sample]], n_targets: int) -> list[Tensor]:
        """Add the gradients of the parts of a batch, and return what each adds to the loss."""
        losses = []
        for place, part in enumerate(parts):
            batch = SampleBatch.collate(part).to(self.engine.device)
            losses.append(self.engine.accumulate(step, place, partial(self._loss, batch, n_targets)))
        return losses

    def _loss(self, batch: SampleBatch, n_targets: int) -> Tensor:
        """Return the batch's share of the loss; with R-Drop that of two passes, and their disagreement."""
        weight = self._config.recipe.r_drop
        first, own = self._pass(batch)
        if not weight:
            return own / n_targets
        second, other = self._pass(batch)
        first, second = (self._task.log_probabilities(logits, batch) for logits in (first, second))
        disagreement = ((first.exp() - second.exp()) * (first - second)).sum() / 2
        return ((own + other) / 2 + weight * disagreement) / n_targets

    def _pass(self, batch: SampleBatch) -> tuple[Tensor, Tensor]:
        """Return the head's logits and their loss."""
        compute = self.engine.compute
        logits = compute.logits(batch.inputs).task_logits
        assert compute.task is not None and logits is not None
        return logits.float(), self._task.loss(logits.float(), batch, compute.task)

    def _measure(self, place: TrialPlace) -> TrialPlace:
        """Score the dev examples; keep the weights where the trial may stop early and they are the best so far."""
        self._measured = predictions = self.predict(self.material.dev)
        tuned = self._task.tuned(self.material.dev, predictions)
        scores = tuned.score(self.material.dev, predictions)
        self._log("dev", place, **scores)
        score = scores[self._task.main_metric]
        if score <= place.best_score:
            return replace(place, stale=place.stale + 1)
        if self._config.patience is not None:
            self.save_model(self.best, tuned, "")
        return replace(place, best_score=score, best_step=place.step, stale=0)

    def predict(self, examples: Sequence[Any]) -> list[Any]:
        """Return the model's predictions, made in the precision of training."""
        compute = self.engine.compute
        assert compute.task is not None
        forward = task_logits(self.engine.precision, self.engine.device)
        predictor = Predictor(self._task, self.material.tokenizer, forward, compute.task)
        return [prediction for _, prediction in predictor.predict(examples)]

    def dev_predictions(self) -> list[Any]:
        """Return the predictions on the dev examples when the trial is over: those of its last measurement, if it was now."""
        return self.predict(self.material.dev) if self._measured is None else self._measured

    def load_best(self) -> None:
        """Go back to the best weights of a trial that may stop early."""
        self._measured = None
        self.engine.master.load_state_dict(load_model(self.best, self.engine.master.heads).state_dict())
        self.engine.publish()

    def save_model(self, path: Path, task: Task, card: str) -> None:
        """Write the model as it is, in place of one that may be there."""
        shutil.rmtree(path, ignore_errors=True)
        save_model(self.engine.master, self.material.tokenizer, path, card, task_values(task))

    def _save(self, place: TrialPlace) -> None:
        save_checkpoint(self.directory.checkpoints, self.engine, self.material.tokenizer, place, self._config.record.keep)

    def _resume(self) -> TrialPlace:
        """Bring back the newest whole checkpoint, if there is one, and return the place in the trial."""
        self.directory.path.mkdir(parents=True, exist_ok=True)
        checkpoint = newest_whole(self.directory.checkpoints)
        place = restore(checkpoint, self.engine, TrialPlace) if checkpoint else TrialPlace()
        remove_leftovers(self.directory.path)
        remove_leftovers(self.directory.checkpoints)
        remove_damaged(self.directory.checkpoints, place)
        self.directory.keep_metrics_until(place.step)
        if checkpoint:
            log.info("resuming from %s", checkpoint)
        return place

    def _log(self, kind: str, place: TrialPlace, **values: float) -> None:
        record = {"step": place.step, "epoch": place.step / self._epoch_steps, **values, "seconds": place.elapsed}
        self.directory.record(kind, record)
        for logger in self._loggers:
            logger.log(kind, record)


def _used_ids(samples: Sequence[Sample]) -> Tensor:
    return torch.from_numpy(np.unique(np.concatenate([window.token_ids for sample in samples for window in sample.windows])))


def _starting_model(material: Material, trial: Trial) -> Bert:
    """Return the model to start from, with a new head and with the layers frozen that are to be."""
    model = load_model(material.config.model, Heads(task=material.task.head()), trial.seed)
    recipe = material.config.recipe
    if recipe.dropout is not None:
        set_dropout(model, recipe.dropout)
    if recipe.frozen_layers:
        n_frozen = model.config.n_layers if recipe.frozen_layers == -1 else recipe.frozen_layers
        for frozen in (model.encoder.embeddings, *model.encoder.layers[:n_frozen]):
            frozen.requires_grad_(False)
    return model


def _shares(material: Material, trial: Trial, model: Bert) -> Callable[[str], float]:
    """Return what says, by the name of a parameter, at what share of the learning rate it moves."""
    recipe, n_layers = material.config.recipe, model.config.n_layers
    head_rate = recipe.head_lr or material.task.usual_head_rate or trial.learning_rate

    def share(name: str) -> float:
        if name.startswith("task.") and not name.startswith("task.pooler."):
            return head_rate / trial.learning_rate
        if match := _LAYER.match(name):
            return recipe.layer_decay ** (n_layers - 1 - int(match[1]))
        return recipe.layer_decay**n_layers if name.startswith("encoder.embeddings.") else 1.0

    return share


_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")


@contextmanager
def _adversarial(model: Bert, size: float) -> Iterator[None]:
    """Move the token embeddings by ``size`` in the direction of their gradient while the body runs (Miyato et al. 2017)."""
    weight = model.encoder.embeddings.token.weight
    assert weight.grad is not None
    # The lengthening is bounded for a gradient that is nothing.
    change = weight.grad * (size / weight.grad.norm().clamp_min(1e-12))
    before = weight.detach().clone()
    with torch.no_grad():
        weight += change
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(before)

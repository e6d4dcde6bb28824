"""One trial of fine-tuning: from a starting model to a trained one, measured on the way, resumable at any step."""

import copy
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from bertsmith.artifacts.directory import save_model
from bertsmith.errors import DivergedError, Interrupted
from bertsmith.finetuning.grid import ALONE, Trial
from bertsmith.finetuning.objectives import Experiment, head_of, model_of, rate_shares, starting_model, used_ids
from bertsmith.finetuning.results import CONSTANT, PROBE
from bertsmith.finetuning.task_order import TaskOrder
from bertsmith.finetuning.trial_loss import StepBatch
from bertsmith.machine import return_pages
from bertsmith.model.bert import Bert
from bertsmith.progress import Progress
from bertsmith.signals import collected
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.probe import fit_probe
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import Sample, Task
from bertsmith.training.checkpoints import RunState, resume, save_checkpoint
from bertsmith.training.loggers import Recorder
from bertsmith.training.parallel import Ranks
from bertsmith.training.precision import task_logits
from bertsmith.training.run_directory import RunDirectory
from bertsmith.training.schedule import make_schedule
from bertsmith.training.stepper import Stepper
from bertsmith.training.used_embedding import train_used_rows

_REHEARSED = 8
_MOST_MEASUREMENTS = 10


class TaskModel(NamedTuple):
    """A task and the model for it."""

    task: Task
    model: Bert


@dataclass(frozen=True, slots=True)
class TrialState(RunState):
    """How far a trial is: also the best dev score so far, its step, and how many measurements have passed since."""

    best_score: float = -math.inf
    best_step: int = 0
    stale: int = 0


class TrialRun:
    """A trial at work in its directory."""

    def __init__(
        self, experiment: Experiment, trial: Trial, directory: RunDirectory, record: Recorder, progress: Progress
    ) -> None:
        self.experiment, self.trial, self.directory = experiment, trial, directory
        self._record, self._progress = record, progress
        self._config = experiment.config
        self._order = TaskOrder(experiment.sizes, trial.batch_size, trial.seed, trial.epochs, experiment.temperature)
        self.total_steps = self._order.total_steps
        recipe = experiment.config.recipe
        self._schedule = make_schedule(recipe, trial.learning_rate)
        master = starting_model(experiment, trial)
        embedding = train_used_rows(master, used_ids(experiment))
        self.stepper = Stepper(
            master,
            recipe,
            trial.seed,
            Ranks(),
            experiment.device,
            experiment.dtype,
            experiment.config.machine.compile,
            rate_share=rate_shares(experiment, trial, master),
        )
        if embedding is not None:
            embedding.decay_with(self.stepper.optimiser)

    @property
    def best(self) -> Path:
        """The model directory with the best weights, of a trial that may stop early."""
        return self.directory.path / "best"

    def run(self) -> TrialState:
        """Train to the end of the trial, from its newest checkpoint if there is one, and return where it ended.

        Raises:
            Interrupted: a signal came; the checkpoint of the last step is saved.
            DivergedError: the loss became NaN.
        """
        self.directory.path.mkdir(parents=True, exist_ok=True)
        state = resume(self.directory, self.stepper, TrialState)
        saved = state.step
        if state.step == 0:
            with suppress(DivergedError):  # where the model to start from is none, the first step says it better
                self._rehearse_scoring()
                self._score_baselines()
        config, started = self._config, time.monotonic() - state.elapsed
        task = self._progress.task(self.trial.name, self.total_steps, "steps")
        with collected() as signals, task as shown:
            shown.advance(state.step)
            batches = self._order.batches_from(state.step)
            tokens, since = 0, time.monotonic()
            while state.step < self.total_steps and not self._is_stale(state):
                batch = next(batches)
                data = self.experiment.data[batch.task]
                samples = [data.samples[index] for index in batch.samples]
                loss, norm, rate = self._step(state.step, batch.task, samples)
                if state.step == saved:
                    return_pages()  # what is left of the beginning is in pieces, between which the optimiser's state now lies
                tokens += sum(sample.n_tokens for sample in samples)
                state = replace(state, step=state.step + 1, elapsed=time.monotonic() - started)
                shown.advance(1)
                if (batch.number + 1) % config.record.log_every == 0 or state.step == self.total_steps:
                    speed, tokens, since = tokens / (time.monotonic() - since), 0, time.monotonic()
                    values = {"loss": loss, "learning_rate": rate, "gradient_norm": norm, "tokens_per_second": speed}
                    self._log("train", state, {**({} if batch.task == ALONE else {"task": batch.task}), **values})
                    shown.note(f"loss {loss:.3f}  {speed:,.0f} tokens/s")
                if state.step % self._evaluation_steps() == 0 or state.step == self.total_steps:
                    state = self._measure(state)
                    tokens, since = 0, time.monotonic()
                if state.step % config.record.save_every == 0:
                    self._save(state)
                    saved = state.step
                if signals:
                    if saved < state.step:
                        self._save(state)
                    raise Interrupted(
                        f"stopped after step {state.step} of {self.trial.name}; the same command resumes from there"
                    )
        return state

    def _rehearse_scoring(self) -> None:
        """Predict and score a few dev and test examples, so that what cannot be scored fails before the training."""
        for name, data in self.experiment.data.items():
            few = [*data.dev[:_REHEARSED], *(data.test or [])[:_REHEARSED]]
            predictions = self.predict(name, few)
            task = data.task.tuned(few, predictions)
            applied = [task.apply(prediction) for prediction in predictions]
            task.score(few, predictions)
            task.review(few, applied)
            for example, prediction in zip(few, applied, strict=True):
                task.record(example, prediction)

    def _score_baselines(self) -> None:
        """Score what knows the training labels alone, and a linear probe, from which the head starts if that is asked for."""
        constant, probed = {}, {}
        for name, data in self.experiment.data.items():
            if (guess := data.task.constant(data.train)) is not None:
                constant[name] = [guess] * len(data.dev)
            head = head_of(self.stepper.compute, name)
            if data.task.has_probe and head.output_layer is not None:
                start = copy.deepcopy(head.output_layer.state_dict())
                fit_probe(data.task, head, data.samples, task_logits(self.stepper.precision, self.stepper.device))
                probed[name] = self.predict(name, data.dev)
                if self._config.recipe.head_start == "random":
                    head.output_layer.load_state_dict(start)
        for what, predictions in ((CONSTANT, constant), (PROBE, probed)):
            if len(predictions) == len(self.experiment.data):
                self._record("baseline", {"step": 0, "of": what, **self._scores(predictions)})

    def _scores(self, predictions: Mapping[str, Sequence[Any]]) -> dict[str, float]:
        """Return the scores of predictions on the dev examples, each task's under its best thresholds."""
        by_task = {}
        for name, found in predictions.items():
            data = self.experiment.data[name]
            by_task[name] = data.task.tuned(data.dev, found).score(data.dev, found)
        return self.experiment.scores(by_task)

    def _evaluation_steps(self) -> int:
        passes = math.ceil(self.trial.epochs / _MOST_MEASUREMENTS)
        return self._config.record.evaluate_every or passes * self._order.epoch_steps

    def _is_stale(self, state: TrialState) -> bool:
        return self._config.patience is not None and state.stale >= self._config.patience

    def _step(self, step: int, name: str, samples: Sequence[Sample]) -> tuple[float, float, float]:
        """Make a step on a batch of one task and return its loss, the gradient's norm and the learning rate."""
        head = head_of(self.stepper.compute, name)
        batch = StepBatch.of(self.experiment.data[name].task, head, samples, self._config.recipe.batch_tokens)
        loss = self.experiment.loss.accumulate(step, self.stepper, batch)
        norm, value = self.stepper.gather(), loss.item()
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise DivergedError(
                f"the loss at step {step + 1} of {self.trial.name} is {value:.4g} and the gradient's norm {norm:.4g}: "
                "training diverged; use a lower --lr or a longer --warmup"
            )
        rate = self._schedule.rate((step + 0.5) / self.total_steps)
        self.stepper.update(rate)
        return value, norm, rate

    def _measure(self, state: TrialState) -> TrialState:
        """Score the dev examples; keep the weights where the trial may stop early and they are the best so far."""
        scores = self._scores({name: self.predict(name, data.dev) for name, data in self.experiment.data.items()})
        self._log("dev", state, scores)
        score = scores[self.experiment.main_metric]
        if score <= state.best_score:
            return replace(state, stale=state.stale + 1)
        if self._config.patience is not None:
            self._write(self.stepper.master, self.best)
        return replace(state, best_score=score, best_step=state.step, stale=0)

    def predict(self, name: str, examples: Sequence[Any]) -> list[Any]:
        """Return the model's predictions for examples of a task, made in the precision of training."""
        head, forward = head_of(self.stepper.compute, name), task_logits(self.stepper.precision, self.stepper.device)
        predictor = Predictor(self.experiment.data[name].task, self.experiment.tokenizer, forward, head)
        return [prediction for _, prediction in predictor.predict(examples)]

    def load_best(self) -> None:
        """Go back to the best weights of a trial that may stop early."""
        self.stepper.load(self.best)

    def finished(self) -> dict[str, TaskModel]:
        """Return each task with its model, as they are saved, when the trial is over."""
        self.stepper.optimiser.state.clear()  # which makes room for scoring and saving
        self.stepper.master.eval()
        heads = {name: head_of(self.stepper.master, name) for name in self.experiment.data}
        tasks = {name: data.task.finished(heads[name]) for name, data in self.experiment.data.items()}
        return {name: TaskModel(task, model_of(self.stepper.master, name, task)) for name, task in tasks.items()}

    def save_models(self, path: Path, models: Mapping[str, TaskModel]) -> None:
        """Write the model of each task into ``path`` by its name, in place of what may be there."""
        shutil.rmtree(path, ignore_errors=True)
        for name, (task, model) in models.items():
            self._write(model, path / name, task)

    def _write(self, model: Bert, path: Path, task: Task | None = None) -> None:
        """Write a model directory, in place of one that may be there."""
        return_pages()  # a copy of the embedding is made, as large as what steps have left in small pieces
        shutil.rmtree(path, ignore_errors=True)
        save_model(model, self.experiment.tokenizer, path, "", None if task is None else task_values(task))

    def _save(self, state: TrialState) -> None:
        save_checkpoint(self.directory, self.stepper, self.experiment.tokenizer, state, self._config.record.keep)

    def _log(self, kind: str, state: TrialState, values: Mapping[str, Any]) -> None:
        epoch = state.step / self._order.epoch_steps
        self._record(kind, {"step": state.step, "epoch": epoch, **values, "seconds": state.elapsed})

"""What a run learns: one task, or several by name on one encoder; and the model that a trial of it starts from."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from bertsmith.artifacts.configuration import read_shape
from bertsmith.artifacts.directory import build_model, verify_directory
from bertsmith.artifacts.weights import find_weights, read_tensors
from bertsmith.errors import MismatchError, UsageError
from bertsmith.examining.data_report import DataReport
from bertsmith.finetuning.grid import ALONE, GridConfig, Trial, Usual
from bertsmith.finetuning.labelled import LabelledData
from bertsmith.finetuning.results import LESS_IS_BETTER
from bertsmith.finetuning.trial_loss import Loss
from bertsmith.model.bert import Bert, Heads, set_dropout, with_task
from bertsmith.model.heads.scoring_head import ScoringHead
from bertsmith.model.heads.several import SeveralHeads, SeveralScores
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.task import Sample, SampleBatch, Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.precision import FullPrecision, task_logits

MEAN = "mean"
"""The score of a run of several tasks: the mean of their main ones."""

# As many as show every score that the task has.
_EXAMPLES_REHEARSED = 64


@dataclass(frozen=True, slots=True)
class TaskData(LabelledData):
    """The labelled examples of a task, and the samples of those to train on."""

    samples: Sequence[Sample] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """What all trials of a run share.

    data         the data of each task by its name, those of one alone by :data:`ALONE`
    temperature  says how the tasks are drawn, see :class:`~bertsmith.finetuning.task_order.TaskOrder`
    reports      what is found in the data of each task
    folds        the data of each fold, of a run that has folds; ``data`` is the first of them
    """

    config: GridConfig
    data: Mapping[str, TaskData]
    tokenizer: Tokenizer
    device: torch.device
    dtype: torch.dtype
    loss: Loss
    temperature: float = 1.0
    reports: Mapping[str, DataReport] = field(default_factory=dict)
    folds: Sequence[Mapping[str, TaskData]] = ()

    def of(self, trial: Trial) -> "Experiment":
        """Return the experiment with the data of the trial's fold."""
        return self if trial.fold is None else replace(self, data=self.folds[trial.fold - 1])

    @property
    def sizes(self) -> dict[str, int]:
        """Samples to train each task on."""
        return {name: len(data.samples) for name, data in self.data.items()}

    @property
    def trials(self) -> list[Trial]:
        """The trials to run."""
        return self.config.trials(Usual(read_shape(self.config.model).width, tuple(self.sizes.values())))

    @property
    def main_metric(self) -> str:
        """The score by which models are chosen."""
        return self.data[ALONE].task.main_metric if ALONE in self.data else MEAN

    def scores(self, by_task: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Return the scores of all tasks in one: first their mean, then ``TASK/SCORE`` of each one's main score, then others.

        There is no mean where a task lacks its main score, such as one without a test file. Those of a task that is alone are
        as they are.
        """
        if ALONE in by_task:
            return dict(by_task[ALONE])
        named = {f"{task}/{name}": value for task, scores in by_task.items() for name, value in scores.items()}
        main = [f"{task}/{self.data[task].task.main_metric}" for task in self.data]
        # A test file may be of another kind than the dev file, such as pairs without scores, and lack the score.
        found = {name: named[name] for name in main if name in named}
        return {**({MEAN: mean(found.values())} if len(found) == len(main) else {}), **found, **named}


def head_of(model: Bert, name: str) -> ScoringHead:
    """Return the head of a task, which answers from now on."""
    assert model.task is not None
    return model.task.use(name) if isinstance(model.task, SeveralHeads) else model.task


def model_of(model: Bert, name: str, task: Task) -> Bert:
    """Return the model of one task alone, which shares all weights."""
    return model if name == ALONE else with_task(model, task.head(), head_of(model, name))


def used_ids(experiment: Experiment) -> Tensor:
    """Return the tokens that the training samples have, each once, in order."""
    samples = (sample for data in experiment.data.values() for sample in data.samples)
    return torch.from_numpy(np.unique(np.concatenate([window.token_ids for sample in samples for window in sample.windows])))


def starting_model(experiment: Experiment, trial: Trial) -> Bert:
    """Return the model to start from, with new heads and with the layers frozen that are to be."""
    directory = experiment.config.model
    verify_directory(directory)
    weights = find_weights(directory)
    tensors = read_tensors(weights)
    described = {name: data.task.head() for name, data in experiment.data.items()}
    # One model a task, since each head may take weights that the directory has, such as those of the pooler.
    models = {name: build_model(weights, tensors, Heads(task=head), trial.seed) for name, head in described.items()}
    model = next(iter(models.values()))
    if ALONE not in models:
        heads = {name: one.task for name, one in models.items() if one.task is not None}
        model = with_task(model, SeveralScores(tuple(described.items())), SeveralHeads(heads))
    recipe = experiment.config.recipe
    if recipe.dropout is not None:
        set_dropout(model, recipe.dropout)
    if recipe.frozen_layers:
        n_frozen = model.config.n_layers if recipe.frozen_layers == -1 else recipe.frozen_layers
        for frozen in (model.encoder.embeddings, *model.encoder.layers[:n_frozen]):
            frozen.requires_grad_(False)
    return model.eval()


def rate_shares(experiment: Experiment, trial: Trial, model: Bert) -> Callable[[str], float]:
    """Return what says, by the name of a parameter, at what share of the learning rate it moves."""
    recipe, n_layers = experiment.config.recipe, model.config.n_layers
    usual = [data.task.usual_head_rate for data in experiment.data.values()]

    def share(name: str) -> float:
        if (match := _HEAD.match(name)) and not match["is_pooler"]:
            head_rate = recipe.head_lr or usual[int(match["place"] or 0)] or trial.learning_rate
            return head_rate / trial.learning_rate
        if match := _LAYER.match(name):
            return recipe.layer_decay ** (n_layers - 1 - int(match[1]))
        return recipe.layer_decay**n_layers if name.startswith("encoder.embeddings.") else 1.0

    return share


_HEAD = re.compile(r"task\.(heads\.(?P<place>\d+)\.)?(?P<is_pooler>pooler\.)?")
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")


def check_settings(experiment: Experiment) -> None:
    """Refuse settings that the model or a task cannot have, before anything is written.

    Raises:
        UsageError: too long sequences, too many frozen layers, an unknown score, a loss of probabilities for a task without.
        ArtifactError: the directory of the model to start from has no configuration of a BERT.
        MismatchError: its tokenizer has tokens that its model lacks.
    """
    config = experiment.config
    check_model(config.model, experiment.tokenizer, {name: data.task for name, data in experiment.data.items()})
    n_layers = read_shape(config.model).n_layers
    if config.recipe.frozen_layers > n_layers:
        raise UsageError(
            f"--frozen-layers {config.recipe.frozen_layers}: the model has {n_layers} layers; -1 freezes all of them"
        )
    for name, data in experiment.data.items():
        if data.task.metric or experiment.loss.needs_probabilities:
            try:
                _rehearse(experiment, name)
            except UsageError as error:
                raise UsageError(f"{_whose(name)}{error}") from None


def check_model(model: Path, tokenizer: Tokenizer, tasks: Mapping[str, Task]) -> None:
    """Refuse tasks with longer sequences than the model of a directory has positions for, and a tokenizer that is not its own.

    Raises:
        UsageError: too long sequences.
        MismatchError: the tokenizer has tokens that the model lacks.
    """
    shape = read_shape(model)
    if tokenizer.vocabulary_size > shape.vocabulary_size:
        raise MismatchError(
            f"{model}: the tokenizer has {tokenizer.vocabulary_size:,} tokens and the model {shape.vocabulary_size:,}; "
            "they do not belong together"
        )
    for name, task in tasks.items():
        if task.max_length > shape.max_positions:
            raise UsageError(
                f"{_whose(name)}--max-length {task.max_length} is beyond the {shape.max_positions} positions of {model}"
            )


def _whose(name: str) -> str:
    return "" if name == ALONE else f"tasks.{name}: "


def _rehearse(experiment: Experiment, name: str) -> None:
    """Let the untrained model say something, to see whether the task has the score and the probabilities that are wanted."""
    data, model = experiment.data[name], starting_model(experiment, experiment.trials[0])
    task, head = data.task, head_of(model, name)
    if experiment.loss.needs_probabilities:
        batch = SampleBatch.collate(data.samples[:1])
        logits = model.logits(batch.inputs).task_logits
        assert logits is not None
        task.log_probabilities(logits, batch)
    examples = data.dev[:: -(-len(data.dev) // _EXAMPLES_REHEARSED)]
    predictor = Predictor(task, experiment.tokenizer, task_logits(FullPrecision(model), torch.device("cpu")), head)
    scores = task.score(examples, [prediction for _, prediction in predictor.predict(examples)])
    # Few examples may have none of what a score is of, such as relevant candidates.
    if scores and task.main_metric not in scores.keys() - LESS_IS_BETTER:
        choices = ", ".join(name for name in scores if name not in LESS_IS_BETTER)
        raise UsageError(
            f"--metric {task.main_metric}: there is no such score to choose the best model by; choose from {choices}"
        )

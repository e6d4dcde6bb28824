"""Fine-tune a model on a task: the trials of a grid, the best of them kept (Devlin et al. 2019, section 4 and appendix A.3)."""

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bertsmith.artifacts.card import finetuned_card
from bertsmith.artifacts.directory import WEIGHTS, save_model, verify_directory
from bertsmith.errors import ArtifactError, DamagedError, DivergedError, InputError, UsageError
from bertsmith.files import atomic_file, exclusive, remove_leftovers, sha256, write_json
from bertsmith.model.bert import Bert
from bertsmith.progress import SILENT, Progress
from bertsmith.randomness import key, permutation
from bertsmith.signals import interruptible
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.saved import load_task_model, task_values
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.finetune_report import results_table, write_finetune_report
from bertsmith.training.hardware import choose_device, choose_dtype, environment, keep_pages
from bertsmith.training.loggers import TensorBoardLogger
from bertsmith.training.parallel import Ranks
from bertsmith.training.precision import apply_precision, task_logits
from bertsmith.training.results import RESULT, read_result
from bertsmith.training.run import RunDirectory
from bertsmith.training.trial import Material, TrialRun, check_settings
from bertsmith.training.tuning import FinetuneConfig, Trial

log = logging.getLogger("bertsmith")


@dataclass(frozen=True, slots=True)
class Result:
    """How a trial ended."""

    trial: Trial
    dev: Mapping[str, float]
    test: Mapping[str, float] | None
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Data:
    """The labelled examples of a run, and the task with what it has learnt from those for training."""

    task: Task
    train: Sequence[Any]
    dev: Sequence[Any]
    test: Sequence[Any] | None


def finetune(config: FinetuneConfig, progress: Progress = SILENT) -> Path:
    """Run, or resume, the fine-tuning that ``config`` describes and return the directory of the best model.

    Raises:
        UsageError: settings that contradict each other, the task, the model or the machine.
        InputError: a file is not what the task reads, or has labels that the training file lacks.
        ArtifactError: the model to start from is none.
        MismatchError: an earlier part of the run had other settings or data.
        BusyError: another process works on the run.
        DivergedError: the loss became NaN.
        Interrupted: SIGINT or SIGTERM came; a checkpoint is saved and the same call resumes.
    """
    if Ranks.from_environment().world > 1:
        raise UsageError("finetune runs in one process; start it without torchrun")
    keep_pages()
    device = choose_device(config.machine.device, 0)
    with interruptible("stopped; the same command resumes from the last checkpoint there is"):
        return _finetune(config, device, progress)


def _finetune(config: FinetuneConfig, device: torch.device, progress: Progress) -> Path:
    material, data = _prepare(config, device)
    directory = RunDirectory(config.out)
    if not directory.config.exists():
        check_settings(material)
    with exclusive(config.out):
        directory.begin(config, {**environment(device, material.dtype), **_digests(config)})
        if directory.final.exists():
            log.warning("%s is finished already; begin a new run with another --out", directory.path)
            return directory.final
        remove_leftovers(directory.path)
        results, predictions = _run_trials(material, data, directory, progress)
        return _finish(data, directory, results, predictions, material)


def _prepare(config: FinetuneConfig, device: torch.device) -> tuple[Material, Data]:
    """Read everything that a run needs; nothing is written."""
    verify_directory(config.model)
    tokenizer, dtype = Tokenizer.load(config.model), choose_dtype(config.machine.precision, device)
    data = read_data(config)
    log.info("%s", _announcement(config, data))
    task, train = data.task.prepared(data.train, data.dev, config.model, tokenizer, device)
    data = dataclasses.replace(data, task=task, train=train)
    samples = data.task.samples(data.train, tokenizer, labelled=True)
    training = [sample for own in samples for sample in own]
    if not training:
        raise InputError(f"{config.train} holds nothing to train on")
    return Material(config, data.task, tokenizer, training, data.dev, device, dtype), data


def read_data(config: FinetuneConfig) -> Data:
    """Read the files of a run and fit the task to the training examples.

    Raises:
        InputError: a file is empty or not what the task reads, or dev or test have labels that training lacks.
    """
    task: Task = config.task  # type: ignore[attr-defined]
    train = list(task.read(config.train, labelled=True, format=config.format))
    dev = list(task.read(config.dev, labelled=True, format=config.format)) if config.dev else None
    test = list(task.read(config.test, labelled=True, format=config.format)) if config.test else None
    for path, examples in ((config.train, train), (config.dev, dev), (config.test, test)):
        if examples is not None and not examples:
            raise InputError(f"{path} holds no examples")
    task = task.fitted(train)
    for examples in (dev or [], test or []):
        task.check(examples)
    # Held out behind the fit, which so knows labels of which all examples are held out.
    train, dev = (train, dev) if dev is not None else _held_out(train, config)
    return Data(task, train, dev, test)


def _held_out(examples: Sequence[Any], config: FinetuneConfig) -> tuple[list[Any], list[Any]]:
    """Split the examples, the same way in every run, into those to train on and those to choose the best model by."""
    n_dev = max(1, round(config.dev_share * len(examples)))
    if n_dev >= len(examples):
        raise InputError(f"{config.train} has {len(examples)} example(s): too few to hold some out; give a --dev file")
    order = permutation(key("dev"), len(examples)).tolist()
    log.info("no --dev file: %d of the %d training examples are held out", n_dev, len(examples))
    return [examples[place] for place in sorted(order[n_dev:])], [examples[place] for place in sorted(order[:n_dev])]


def _digests(config: FinetuneConfig) -> dict[str, str]:
    named = {"training file": config.train, "dev file": config.dev, "test file": config.test}
    digests = {"model": sha256(config.model / WEIGHTS)}
    for name, path in named.items():
        if path is not None:  # what is no file is known by its name alone
            digests[name] = sha256(Path(path)) if Path(path).is_file() else path
    return {f"{name}_sha256": digest for name, digest in digests.items()}


def _announcement(config: FinetuneConfig, data: Data) -> str:
    trials = config.trials()
    test = f", {len(data.test):,} to test" if data.test else ""
    labels = f"; {len(labels)} labels" if (labels := getattr(data.task, "labels", ())) else ""
    return f"{len(data.train):,} examples to train on, {len(data.dev):,} to choose by{test}{labels}; {len(trials)} trial(s)"


def _run_trials(
    material: Material, data: Data, directory: RunDirectory, progress: Progress
) -> tuple[list[Result], list[Any] | None]:
    """Run the trials that have no result yet; of all, keep the model of the best alone. One that diverges is left out.

    Returns:
        The results of all trials, and the predictions of the best on the dev examples if it was run now.

    Raises:
        DivergedError: no trial came to an end.
    """
    results: list[Result] = []
    best_predictions = diverged = None
    metric = data.task.main_metric
    for trial in material.config.trials():
        path = directory.path / "trials" / trial.name
        predictions = None
        if not (path / RESULT).exists():
            try:
                predictions = _run_trial(material, data, trial, path, results, progress)
            except DivergedError as error:
                diverged = error
                log.warning("%s: left out, since %s", trial.name, error)
                continue
        results.append(_read_result(path, trial, metric))
        if best_of(results, metric) is results[-1]:
            best_predictions = predictions
        _tidy(path.parent, results, metric)
        write_finetune_report(directory.path, metric, None)
        if len(material.config.trials()) > 1:
            scores = "  ".join(f"{name} {value:.4f}" for name, value in results[-1].dev.items())
            log.info("%s: %s", trial.name, scores)
    if diverged is not None and not results:
        raise diverged
    return results, best_predictions


def _run_trial(
    material: Material,
    data: Data,
    trial: Trial,
    path: Path,
    earlier: Sequence[Result],
    progress: Progress,
) -> list[Any]:
    """Run a trial, write its result, and its model if it is the best so far; return its predictions on the dev examples."""
    loggers = [TensorBoardLogger(path / "tensorboard")] if material.config.record.tensorboard else []
    run = TrialRun(material, trial, path, loggers, progress)
    try:
        place = run.run()
    finally:
        for logger in loggers:
            logger.close()
    if material.config.patience is not None:
        run.load_best()
    predictions = run.dev_predictions()
    task = data.task.tuned(data.dev, predictions)
    dev = task.score(data.dev, predictions)
    test = None if data.test is None else task.score(data.test, run.predict(data.test))
    metric = data.task.main_metric
    if all(dev[metric] > result.dev[metric] for result in earlier):
        run.save_model(path / "model", task, "")
    values = dataclasses.asdict(Result(trial, dev, test, place.step, place.elapsed))
    write_json(path / RESULT, {"setting": trial.setting, **values})
    return predictions


def _read_result(path: Path, trial: Trial, metric: str) -> Result:
    values = read_result(path)
    if metric not in values["dev"]:
        raise DamagedError(f"{path / RESULT} lacks the {metric} on the dev set; remove {path} to run this trial again")
    return Result(trial, values["dev"], values["test"], values["steps"], values["seconds"])


def _tidy(trials: Path, results: Sequence[Result], metric: str) -> None:
    """Remove what finished trials need no more: all but the model of the best of them."""
    best = best_of(results, metric)
    for result in results:
        path = trials / result.trial.name
        for unneeded in ("best", "checkpoints", *(() if result is best else ("model",))):
            shutil.rmtree(path / unneeded, ignore_errors=True)


def best_of(results: Sequence[Result], metric: str) -> Result:
    """Return the result with the best dev score, the first of equal ones."""
    return max(results, key=lambda result: result.dev[metric])


def _finish(
    data: Data, directory: RunDirectory, results: Sequence[Result], predictions: list[Any] | None, material: Material
) -> Path:
    """Write the best model with its card, its predictions on the dev examples, and the report."""
    config, metric = material.config, data.task.main_metric
    best = best_of(results, metric)
    path = directory.path / "trials" / best.trial.name / "model"
    if not path.exists():
        raise ArtifactError(f"{path} is gone; remove {path.parent} to run that trial again")
    task, model = load_task_model(path, type(data.task))
    if predictions is None:
        predictions = _predict(task, model, material)
    predictions = [task.apply(prediction) for prediction in predictions]
    _write_predictions(directory.path / "dev-predictions.jsonl", task, data.dev, predictions)
    card = finetuned_card(
        title=directory.path.resolve().name,
        kind=task.kind,
        pipeline_tag=task.pipeline_tag,
        facts=_facts(config, data, best, len(results)),
        results=results_table(directory.path, metric),
        configuration=config.to_toml(),
    )
    write_finetune_report(directory.path, metric, task.review(data.dev, predictions))
    # The last of all, since a run that has it is finished.
    save_model(model, material.tokenizer, directory.final, card, task_values(task))
    shutil.rmtree(path)
    return directory.final


def _predict(task: Task, model: Bert, material: Material) -> list[Any]:
    """Return a model's predictions on the dev examples, made as those of a trial are."""
    precision = apply_precision(model.to(material.device), material.device, material.dtype)
    head = precision.compute.task
    assert head is not None
    predictor = Predictor(task, material.tokenizer, task_logits(precision, material.device), head)
    return [prediction for _, prediction in predictor.predict(material.dev)]


def _write_predictions(path: Path, task: Task, examples: Sequence[Any], predictions: Sequence[Any]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for example, prediction in zip(examples, predictions, strict=True):
            file.write(json.dumps(task.record(example, prediction), ensure_ascii=False) + "\n")


def _facts(config: FinetuneConfig, data: Data, best: Result, n_trials: int) -> dict[str, Any]:
    trial = best.trial
    dev = f"{_source(config.dev)}, " if config.dev else f"held out of {_source(config.train)}, "
    test = {"Test file": f"{_source(config.test)}, {len(data.test):,} examples"} if config.test and data.test else {}
    return {
        "Started from": config.model.resolve().name,
        "Training file": f"{_source(config.train)}, {len(data.train):,} examples",
        "Dev file": f"{dev}{len(data.dev):,} examples",
        **test,
        "Trials": n_trials,
        "Best": f"learning rate {trial.learning_rate:g}, {trial.epochs:g} epochs, batches of {trial.batch_size}",
        "Seed": trial.seed,
        "Steps": f"{best.steps:,}",
    }


def _source(path: str) -> str:
    return path if path.startswith("hub:") else Path(path).name

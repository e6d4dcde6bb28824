"""Fine-tune a model on a task: the trials of a grid, the best of them kept (Devlin et al. 2019, section 4 and appendix A.3)."""

import dataclasses
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bertsmith.artifacts.card import CardHeader, Evaluation, Origin, finetuned_card
from bertsmith.artifacts.directory import save_model, verify_directory
from bertsmith.artifacts.languages import language_of
from bertsmith.engine.engine import Engine
from bertsmith.errors import ArtifactError, DamagedError, DivergedError, InputError, UsageError
from bertsmith.files import DIGESTS, atomic_file, write_digests, write_json
from bertsmith.finetuning.data_examined import announce_data, examined
from bertsmith.finetuning.grid import ALONE, GridConfig, LabelledFiles, Trial
from bertsmith.finetuning.hints import hints
from bertsmith.finetuning.labelled import LabelledData, digests, facts, read_data, read_folds, source_name
from bertsmith.finetuning.multi import MultiConfig
from bertsmith.finetuning.objectives import Experiment, TaskData, check_settings
from bertsmith.finetuning.report import results_table, write_finetune_report
from bertsmith.finetuning.results import RESULT, Result, over_folds, read_histories, read_result
from bertsmith.finetuning.task_order import shares
from bertsmith.finetuning.trial import TaskModel, TrialRun
from bertsmith.finetuning.trial_loss import make_loss
from bertsmith.machine import choose_device, choose_dtype, environment, keep_few_kernels, keep_pages, return_pages
from bertsmith.model.bert import Bert
from bertsmith.progress import SILENT, Progress
from bertsmith.signals import interruptible
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.records import as_json, judged_record
from bertsmith.tasks.saved import load_task_model, save_task_models, task_values
from bertsmith.tasks.task import Task
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.loggers import recorder
from bertsmith.training.parallel import Ranks
from bertsmith.training.run_directory import RunDirectory

Predictions = Mapping[str, list[Any]]
"""What the model says of each task's dev examples."""

_SAMPLES_OF_LANGUAGE = 500

log = logging.getLogger("bertsmith")


def finetune(config: GridConfig, progress: Progress = SILENT) -> Path:
    """Run, or resume, the fine-tuning that ``config`` describes and return the directory of the best model.

    Of several tasks (:class:`~bertsmith.finetuning.multi.MultiConfig`) it has a model directory for each, by its name.

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
    keep_few_kernels()
    device = choose_device(config.machine.device, 0)
    with interruptible("stopped; the same command resumes from the last checkpoint there is"):
        return _finetune(config, device, progress)


def _finetune(config: GridConfig, device: torch.device, progress: Progress) -> Path:
    experiment = _prepare(config, device)
    announce_data(experiment.reports, is_strict=config.strict)
    directory = RunDirectory(config.out)
    if not directory.config.exists():
        check_settings(experiment)
    with directory.begun(config, {**environment(device, experiment.dtype), **digests(config)}, Ranks()):
        if directory.final.exists():
            log.warning("%s is finished already; begin a new run with another --out", directory.path)
            for trial in directory.path.glob("trials/*"):  # of an end that the system cut short
                _remove_work(trial, has_model=False)
            return directory.final
        results, predictions = _run_trials(experiment, directory, progress)
        return _finish(experiment, directory, results, predictions)


def _prepare(config: GridConfig, device: torch.device) -> Experiment:
    """Read everything that a run needs, and look at the data of each task; nothing is written."""
    verify_directory(config.model)
    tokenizer, dtype = Tokenizer.load(config.model), choose_dtype(config.machine.precision, device)
    folds: list[dict[str, TaskData]] = [{} for _ in range(config.folds or 1)]
    read: dict[str, LabelledData] = {}
    for name, (files, task) in config.by_task().items():
        parts = read_folds(files, task, config.folds) if config.folds else [read_data(files, task)]
        read[name] = parts[0]
        for data, own in zip(folds, parts, strict=True):
            fitted, train = own.task.prepared(own.train, own.dev, config.model, tokenizer, device)
            samples = [sample for of_example in fitted.samples(train, tokenizer, labelled=True) for sample in of_example]
            if not samples:
                raise InputError(f"{files.train} holds nothing to train on")
            data[name] = TaskData(fitted, train, own.dev, own.test, own.split, samples)
    temperature = config.temperature if isinstance(config, MultiConfig) else 1.0
    experiment = Experiment(
        config, folds[0], tokenizer, device, dtype, make_loss(config.recipe), temperature, folds=folds if config.folds else ()
    )
    _announce(experiment)
    return dataclasses.replace(experiment, reports=examined(experiment, read))


def _announce(experiment: Experiment) -> None:
    drawn, data = shares(experiment.sizes, experiment.temperature), experiment.data
    tasks = (str(own) if name == ALONE else f"{name}: {own}; {drawn[name]:.1%} of the steps" for name, own in data.items())
    log.info("%s; %d trial(s)", "\n".join(tasks), len(experiment.trials))


def _run_trials(experiment: Experiment, directory: RunDirectory, progress: Progress) -> tuple[list[Result], Predictions | None]:
    """Run the trials that have no result yet; of all, keep the model of the best alone. One that diverges is left out.

    Returns:
        The results of all trials, and the predictions of the best on the dev examples if it was run now.

    Raises:
        DivergedError: no trial came to an end.
    """
    results: list[Result] = []
    best_predictions = diverged = None
    metric = experiment.main_metric
    for trial in experiment.trials:
        return_pages()
        path = directory.path / "trials" / trial.name
        predictions = None
        if not (path / RESULT).exists():
            try:
                predictions = _run_trial(experiment, trial, path, results, progress)
            except DivergedError as error:
                diverged = error
                log.warning("%s: left out, since %s", trial.name, error)
                continue
        results.append(_finished(path, metric))
        if best_of(results, metric) is results[-1]:
            best_predictions = predictions
        _tidy(path.parent, results, metric)
        write_finetune_report(directory.path, metric, None, experiment.reports)
        if len(experiment.trials) > 1:
            scores = "  ".join(f"{name} {value:.4f}" for name, value in results[-1].dev.items())
            log.info("%s: %s", trial.name, scores)
    if diverged is not None and not results:
        raise diverged
    return results, best_predictions


def _run_trial(experiment: Experiment, trial: Trial, path: Path, earlier: Sequence[Result], progress: Progress) -> Predictions:
    """Run a trial, write its result, and its model if it is the best so far; return its predictions on the dev examples."""
    directory, experiment = RunDirectory(path), experiment.of(trial)
    with recorder(directory, experiment.config.record, Ranks()) as record:
        run = TrialRun(experiment, trial, directory, record, progress)
        state = run.run()
    if experiment.config.patience is not None:
        run.load_best()
    finished, data = run.finished(), experiment.data
    predictions, models, dev, test = {}, {}, {}, {}
    for name, (task, model) in finished.items():
        own, predictor = data[name], make_predictor(task, model, experiment)
        predictions[name] = [found for _, found in predictor.predict(own.dev)]
        tuned = task.tuned(own.dev, predictions[name])
        models[name], dev[name] = TaskModel(tuned, model), tuned.score(own.dev, predictions[name])
        if own.test is not None:
            test[name] = tuned.score(own.test, [found for _, found in predictor.predict(own.test)])
    scores, metric = experiment.scores(dev), experiment.main_metric
    if all(scores[metric] > result.dev[metric] for result in earlier):
        run.save_models(path / "model", models)
    values = dataclasses.asdict(Result(trial, scores, experiment.scores(test) if test else None, state.step, state.elapsed))
    write_json(path / RESULT, {"setting": trial.setting, **values})
    return predictions


def _finished(path: Path, metric: str) -> Result:
    """Return the result of a trial that has one; from now on its files must not change."""
    result = read_result(path)
    if metric not in result.dev:
        raise DamagedError(f"{path / RESULT} lacks the {metric} on the dev set; remove {path} to run this trial again")
    if not (path / DIGESTS).exists():
        write_digests(path, (RESULT, RunDirectory(path).metrics.name))
    return result


def _tidy(trials: Path, results: Sequence[Result], metric: str) -> None:
    """Remove what finished trials need no more: all but the model of the best of them."""
    best = best_of(results, metric)
    for result in results:
        _remove_work(trials / result.trial.name, has_model=result is best)


def _remove_work(trial: Path, has_model: bool) -> None:
    for unneeded in ("best", "checkpoints", *(() if has_model else ("model",))):
        # What the system does not remove is an error, so that the same command is run again and removes it.
        if (trial / unneeded).exists():
            shutil.rmtree(trial / unneeded)


def best_of(results: Sequence[Result], metric: str) -> Result:
    """Return the result with the best dev score, the first of equal ones."""
    return max(results, key=lambda result: result.dev[metric])


def _finish(
    experiment: Experiment, directory: RunDirectory, results: Sequence[Result], predictions: Predictions | None
) -> Path:
    """Write the best model of each task with its card, its predictions on the dev examples, and the report."""
    return_pages()
    config, metric = experiment.config, experiment.main_metric
    best = best_of(results, metric)
    experiment, reported = experiment.of(best.trial), over_folds(best, read_histories(directory.path))
    path = directory.path / "trials" / best.trial.name / "model"
    if not path.exists():
        raise ArtifactError(f"{path} is gone; remove {path.parent} to run that trial again")
    reviews = {}
    finished: dict[str, tuple[Task, Bert, str]] = {}
    for name, (files, settings) in config.by_task().items():
        own = experiment.data[name]
        task, model = load_task_model(path / name, type(settings))
        if predictions is None:
            found = [prediction for _, prediction in make_predictor(task, model, experiment).predict(own.dev)]
        else:
            found = [task.apply(prediction) for prediction in predictions[name]]
        _write_predictions(directory.path / f"dev-predictions{name and f'-{name}'}.jsonl", task, own.dev, found)
        reviews[name] = task.review(own.dev, found)
        header = _header(experiment, name, task, reported, name or directory.path.resolve().name)
        card = finetuned_card(
            header,
            kind=task.kind,
            facts=_facts(config, files, own, best, len(results)),
            results=results_table(directory.path, metric, of=name),
            configuration=config.to_toml(),
        )
        finished[name] = task, model, card
    write_finetune_report(directory.path, metric, reviews, experiment.reports)
    for hint in hints(reviews, read_histories(directory.path), metric):
        log.warning("%s", hint)
    # The last of all, since a run that has it is finished.
    if ALONE in finished:
        task, model, card = finished[ALONE]
        save_model(model, experiment.tokenizer, directory.final, card, task_values(task))
    else:
        save_task_models(finished, experiment.tokenizer, directory.final)
    shutil.rmtree(path)
    return directory.final


def make_predictor(task: Task, model: Bert, experiment: Experiment) -> Predictor:
    """Return what predicts with a trained model exactly as its directory will in the precision of training."""
    engine = Engine(model, experiment.device, "float32" if experiment.dtype == torch.float32 else "bf16")
    assert engine.model.task is not None
    return Predictor(task, experiment.tokenizer, engine.logits, engine.model.task, engine.token_budget)


def _write_predictions(path: Path, task: Task, examples: Sequence[Any], predictions: Sequence[Any]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for example, prediction in zip(examples, predictions, strict=True):
            file.write(as_json(judged_record(task, example, prediction)) + "\n")


def _header(experiment: Experiment, name: str, task: Task, best: Result, title: str) -> CardHeader:
    """Return what the hub is told of the model of a task."""
    config, files = experiment.config, experiment.config.by_task()[name][0]
    evaluations = []
    for split, source, scores in (
        ("dev" if files.dev else "held out", files.dev or files.train, best.dev),
        ("test", files.test, best.test),
    ):
        if source and scores:
            own = {score.removeprefix(f"{name}/"): value for score, value in scores.items() if score.startswith(f"{name}/")}
            evaluations.append(Evaluation(source_name(source), split, own if name else scores))
    origin, samples = Origin.of(config.model), experiment.data[name].samples[:_SAMPLES_OF_LANGUAGE]
    texts = (experiment.tokenizer.decode(window.token_ids.tolist()) for sample in samples for window in sample.windows)
    return CardHeader(
        title=title,
        pipeline_tag=task.pipeline_tag,
        base_model=origin.name,
        language=config.card.language or origin.language or language_of(texts),
        license=config.card.license or origin.license,
        datasets=[source_name(files.train)],
        evaluations=evaluations,
    )


def _facts(config: GridConfig, files: LabelledFiles, data: LabelledData, best: Result, n_trials: int) -> dict[str, Any]:
    trial = best.trial
    return {
        "Started from": Origin.of(config.model).name,
        **facts(files, data),
        "Trials": n_trials,
        "Best": f"learning rate {trial.learning_rate:g}, {trial.epochs:g} epochs, batches of {trial.batch_size}",
        "Seed": trial.seed,
        **({"Fold": f"{trial.fold} of {config.folds}, the best; its scores here are means over all"} if trial.fold else {}),
        "Steps": f"{best.steps:,}",
    }

"""The report of a fine-tuning run: one HTML file with its trials, their curves and what the best model gets wrong."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from bertsmith.charts.curves import Series
from bertsmith.charts.matrices import calibration_svg, confusion_svg
from bertsmith.charts.page import plot, section
from bertsmith.examining.data_page import DATA_STYLE, data_section
from bertsmith.examining.data_report import DataReport
from bertsmith.finetuning.results import (
    NO_SCORE,
    Column,
    History,
    Setting,
    Spread,
    baselines_of,
    best_history,
    best_mean,
    columns_of,
    is_share,
    read_histories,
    score_name,
    settings_of,
    spread_text,
)
from bertsmith.tasks.scoring.scores import calibration, expected_calibration_error
from bertsmith.tasks.task import Mistake, Review
from bertsmith.training.run_report import duration, headline, is_finite, series, write_run_page

_TRIALS_DRAWN = 6
# The confusion of more classes takes two columns of the page.
_FEW_CLASSES = 8
_SCORES_DRAWN = 6
_NO_SCORES = frozenset({"kind", "step", "epoch", "seconds"})

_STYLE = """
:root { --wrong: #a8420a; }
@media (prefers-color-scheme: dark) { :root { --wrong: #f0a030; } }
.scroll { overflow: auto; }
.grid th, .grid td { padding: 6px 7px; text-align: right; white-space: nowrap; }
.grid th:first-child, .grid td:first-child { text-align: left; padding-left: 0; }
.grid th:last-child, .grid td:last-child { padding-right: 0; }
.grid thead th { white-space: normal; vertical-align: bottom; overflow-wrap: normal; }
.grid tbody tr { border-top: 1px solid var(--border); }
.grid th.group { text-align: left; padding-bottom: 0; font-weight: 600; color: var(--ink); }
.grid .first { border-left: 1px solid var(--border); }
.grid tr.baseline { color: var(--quiet); }
.grid td.best { color: var(--right); font-weight: 600; }
.grid small { font-size: 11px; font-weight: 400; color: var(--quiet); }
.note { margin-top: 12px; }
.note strong { color: var(--ink); font-weight: 600; }
.large { overflow-x: auto; }
.large .plot { min-width: 640px; }
@media (min-width: 820px) { .large { grid-area: span 2 / span 2; } }
.classes { max-height: 326px; }
.classes td:first-child { white-space: normal; min-width: 80px; overflow-wrap: anywhere; }
.mistake { display: flex; flex-direction: column; gap: 12px; }
.mistake p { margin: 0 0 auto; color: var(--ink); white-space: pre-line; overflow: auto; overflow-wrap: anywhere;
  max-height: 13.5em; background: linear-gradient(var(--paper), var(--paper)) bottom / 100% 20px no-repeat local,
  linear-gradient(transparent, var(--border)) bottom / 100% 20px no-repeat scroll; }
.mistake dl { margin: 0; padding-top: 10px; border-top: 1px solid var(--border); display: grid; gap: 2px 12px;
  grid-template-columns: max-content minmax(0, 1fr); align-items: baseline; }
.mistake dd { margin: 0; font-size: 14px; }
.mistake dd.wrong { color: var(--wrong); }
.mistake dd.right { color: var(--right); }
@media (max-width: 600px) { .grid th, .grid td { padding: 6px 5px; } }
"""


def write_finetune_report(
    run: Path, metric: str, reviews: Mapping[str, Review] | None, data: Mapping[str, DataReport] | None = None
) -> None:
    """Write ``run/report.html`` from the files of the run and of its trials, atomically.

    ``metric`` is the score by which the best trial is chosen; ``reviews`` are of what that trial's model says of the dev set of
    each task, when all trials are finished, and ``data`` is what was found in its data. The name of a task that is alone is
    empty.

    Raises:
        ArtifactError: ``environment.json`` is missing.
        DamagedError: a trial's ``result.json`` is damaged.
        StorageError: the page cannot be written.
    """
    histories = read_histories(run)
    settings, best = settings_of(histories), best_history(histories, metric)
    body = _headline(run, histories, settings, best, metric, is_finished=reviews is not None)
    body += _trials(settings, baselines_of(histories), best, metric)
    for task, report in (data or {}).items():
        body += data_section(report, f" of {escape(task)}" if task else "")
    body += _curves(histories, best, metric)
    for task, review in (reviews or {}).items():
        whose = f" of {escape(task)}" if task else ""
        body += _dev_set(review, whose) + _mistakes(review.mistakes, whose)
    write_run_page(run, body, DATA_STYLE + _STYLE)


def results_table(run: Path, metric: str, of: str = "") -> str:
    """Return the finished trials as Markdown: a row a setting, with the mean ± standard deviation of every score over
    seeds, or over folds the mean ± how far its 95 % interval goes.

    ``metric`` comes first among the scores; of several tasks' scores there are the main ones, or all of the task ``of``.

    Raises:
        DamagedError: a trial's ``result.json`` is damaged.
    """
    histories = read_histories(run)
    settings = settings_of(histories)
    if not settings:
        return "No trial is finished yet."
    columns = columns_of(settings, metric, of)
    rows = [["setting", _repeats(settings), *(f"{column.split} {score_name(column.score)}" for column in columns)]]
    for setting in settings:
        scores = [spread_text(column.score, setting.spreads.get(column)) for column in columns]
        rows.append([setting.trial.setting, str(setting.n_seeds), *scores])
    for kind, spreads in baselines_of(histories).items():
        rows.append([kind, NO_SCORE, *(spread_text(column.score, spreads.get(column)) for column in columns)])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{_OVER_FOLDS}" if settings[0].trial.fold else table


_OVER_FOLDS = "Scores are means over the folds ± Student's 95 % interval of the mean."


def _repeats(settings: Sequence[Setting]) -> str:
    """Return what the trials of a setting differ in."""
    return "trials" if settings[0].trial.fold else "seeds"


def _headline(
    run: Path, trials: Sequence[History], settings: Sequence[Setting], best: History | None, metric: str, *, is_finished: bool
) -> str:
    if not any(one.train or one.dev or one.result for one in trials):
        return headline(run, "Fine-tuning has begun; nothing is measured yet", [])
    n_finished = sum(setting.n_seeds for setting in settings)
    state = "Finished" if is_finished else f"Under way; {n_finished:,} of {len(trials):,} begun trials finished"
    finished = f"{n_finished:,}" if is_finished else f"{n_finished:,} of {len(trials):,}"
    return headline(
        run,
        state,
        [
            *_best_figures(settings, best, metric),
            ("Trials", finished),
            ("Time", duration(sum(one.seconds for one in trials))),
        ],
    )


def _best_figures(settings: Sequence[Setting], best: History | None, metric: str) -> list[tuple[str, str]]:
    if not best:
        return []
    name, dev = escape(score_name(metric)), spread_text(metric, Spread(best.scores("dev")[metric], None))
    if not best.result:
        return [(f"Dev {name} so far", dev)]
    setting = next(one for one in settings if one.trial.setting == best.trial.setting)
    over_seeds = spread_text(metric, setting.spreads[Column("dev", metric)]) if setting.n_seeds > 1 else ""
    test = best.scores("test").get(metric)
    return [
        (f"Best dev {name}", dev),
        (f"Mean of its {setting.n_seeds} {_repeats(settings)}", over_seeds),
        (f"Its test {name}", spread_text(metric, Spread(test, None)) if is_finite(test) else ""),
    ]


def _trials(
    settings: Sequence[Setting], baselines: Mapping[str, Mapping[Column, Spread]], best: History | None, metric: str
) -> str:
    if not settings:
        return ""
    columns = columns_of(settings, metric)
    n_dev = sum(column.split == "dev" for column in columns)
    groups = "".join(
        f'<th class="group first" colspan="{n}">{title}</th>'
        for title, n in (("Dev", n_dev), ("Test", len(columns) - n_dev))
        if n
    )
    names = "".join(_cell("th", escape(score_name(column.score)), place in (0, n_dev)) for place, column in enumerate(columns))
    rows = "".join(_row(setting, settings, columns) for setting in settings)
    rows += "".join(_baseline_row(kind, spreads, columns) for kind, spreads in baselines.items())
    table = (
        f'<div class="scroll" tabindex="0"><table class="grid"><thead><tr><th colspan="4"></th>{groups}</tr>'
        f"<tr><th>learning rate</th><th>epochs</th><th>batch size</th><th>{_repeats(settings)}</th>{names}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )
    return section("Trials", [f'<div class="card">{table}{_notes(settings, best, metric, bool(baselines))}</div>'], "trials")


def _row(setting: Setting, settings: Sequence[Setting], columns: Sequence[Column]) -> str:
    trial = setting.trial
    numbers = (f"{trial.learning_rate:g}", f"{trial.epochs:g}", f"{trial.batch_size:,}", f"{setting.n_seeds:,}")
    bests = [
        column
        for column in columns
        if len(settings) > 1 and column in setting.spreads and setting.spreads[column].mean == best_mean(settings, column)
    ]
    cells = [f"<td>{number}</td>" for number in numbers]
    return f"<tr>{''.join([*cells, *_score_cells(setting.spreads, columns, bests)])}</tr>"


def _baseline_row(kind: str, spreads: Mapping[Column, Spread], columns: Sequence[Column]) -> str:
    return f'<tr class="baseline"><td colspan="4">{escape(kind)}</td>{"".join(_score_cells(spreads, columns, ()))}</tr>'


def _score_cells(spreads: Mapping[Column, Spread], columns: Sequence[Column], bests: Sequence[Column]) -> Iterator[str]:
    for place, column in enumerate(columns):
        is_first = place == 0 or column.split != columns[place - 1].split
        mean, sign, deviation = spread_text(column.score, spreads.get(column)).partition(" ± ")
        yield _cell("td", f"{mean} <small>± {deviation}</small>" if sign else mean, is_first, column in bests)


def _cell(tag: str, content: str, is_first: bool, is_best: bool = False) -> str:
    kinds = " ".join(kind for kind, holds in (("first", is_first), ("best", is_best)) if holds)
    return f'<{tag} class="{kinds}">{content}</{tag}>' if kinds else f"<{tag}>{content}</{tag}>"


def _notes(settings: Sequence[Setting], best: History | None, metric: str, has_baselines: bool) -> str:
    notes = []
    if best:
        trial = best.trial
        numbers = f"learning rate {trial.learning_rate:g}, epochs {trial.epochs:g}, batch size {trial.batch_size:,}"
        fold = f", fold {trial.fold}" if trial.fold else ""
        chosen = f"<strong>{numbers}, seed {trial.seed}{fold}</strong>, by its dev {escape(score_name(metric))}"
        notes.append(f'<p class="note">Best trial: {chosen}.</p>')
    notes.append(
        '<p class="note">The linear probe is the head alone, trained on the frozen model to start from; the constant answer is '
        "the best one for whoever has not seen the text.</p>"
        if has_baselines
        else ""
    )
    over = f"{_OVER_FOLDS} " if settings[0].trial.fold else "Scores are means ± standard deviations over seeds. "
    means = over if any(one.n_seeds > 1 for one in settings) else ""
    bold = "The best of each column is bold." if len(settings) > 1 else ""
    return "".join(notes) + (f"<p>{means}{bold}</p>" if means or bold else "")


def _curves(histories: Sequence[History], best: History | None, metric: str) -> str:
    begun = [one for one in histories if one.train or one.dev]
    if not begun:
        return ""
    ranked = sorted(begun, key=lambda one: (one is not best, -one.rank(metric)))
    first, chosen = ranked[0], ranked[:_TRIALS_DRAWN]
    # In the order of the table, so that neighbours in the legend are neighbours in their numbers.
    drawn = [one for one in begun if one in chosen]
    names = _short_names(drawn, best)
    whose = "" if len(begun) == 1 else ", best trial" if best else f", {names[drawn.index(first)]}"
    left_out = len(begun) - len(drawn)
    note = f"The {len(drawn)} trials with the best dev scores are drawn; {left_out:,} more are left out." if left_out else ""
    return section("Curves", [*_of_all(drawn, names, metric), *_of_one(first, whose)], note=note)


def _short_names(histories: Sequence[History], best: History | None) -> list[str]:
    """Return the parts of each trial's name that are not the same for all; of a trial with another name, that name."""
    all_parts = [one.parts.items() for one in histories]
    shared = set(all_parts[0]).intersection(*all_parts[1:]) if len(histories) > 1 else set()
    names = []
    for history, parts in zip(histories, all_parts, strict=True):
        short = ", ".join(f"{key} {value}" for key, value in parts if (key, value) not in shared) or history.name
        names.append(f"{short} (best)" if history is best and len(histories) > 1 else short)
    return names


def _of_all(histories: Sequence[History], names: Sequence[str], metric: str) -> list[str]:
    """Return the plots in which trials are compared."""
    dev = [series(name, one.dev, "epoch", metric) for one, name in zip(histories, names, strict=True)]
    loss = [series(name, one.train, "epoch", "loss", True) for one, name in zip(histories, names, strict=True)]
    score = score_name(metric)
    return [
        plot(dev, f"Dev {score}", "epochs", score, percent=is_share(metric)),
        plot(loss, "Training loss", "epochs", "loss of a batch"),
    ]


def _of_one(history: History, whose: str) -> list[str]:
    """Return the plots of one trial; those of each task where there are several, of all its dev scores where there are more."""
    names = list(dict.fromkeys(name for record in history.dev for name in record if name not in _NO_SCORES))
    scores = [name for name in names if is_share(name) and "/" not in name][:_SCORES_DRAWN]
    dev = [series(score_name(name), history.dev, "epoch", name) for name in scores]
    main = {task: name for name in reversed(names) if (task := name.rpartition("/")[0])}

    def trained(field: str, smooth: bool) -> list[Series]:
        return [series(field, history.train, "epoch", field, smooth)]

    return [
        plot(dev, f"Dev scores{whose}", "epochs", "score", percent=True) if len(dev) > 1 else "",
        *(_of_task(history, task, main[task], whose) for task in reversed(main)),
        plot(trained("learning_rate", False), f"Learning rate{whose}", "epochs", "rate"),
        plot(trained("gradient_norm", True), f"Gradient norm{whose}", "epochs", "norm before clipping"),
        plot(trained("tokens_per_second", True), f"Speed{whose}", "epochs", "tokens a second"),
    ]


def _of_task(history: History, task: str, metric: str, whose: str) -> str:
    """Return the plots of one task of several."""
    name, percent = score_name(metric), is_share(metric)
    trained = [record for record in history.train if record.get("task") == task]
    return plot([series(name, history.dev, "epoch", metric)], f"Dev {name}{whose}", "epochs", name, percent=percent) + plot(
        [series("loss", trained, "epoch", "loss", True)], f"Training loss of {task}{whose}", "epochs", "loss of a batch"
    )


def _dev_set(review: Review, whose: str) -> str:
    parts = []
    if review.confusion is not None and len(review.labels):
        is_small = len(review.labels) <= _FEW_CLASSES
        picture = confusion_svg(review.confusion, review.labels, (400, 340) if is_small else (720, 640))
        parts.append(picture if is_small else f'<div class="large" tabindex="0">{picture}</div>')
    curve, note = _calibration(review)
    return section(f"Dev set{whose}", [*parts, curve, _classes(review.table)], note=note)


def _calibration(review: Review) -> tuple[str, str]:
    """Return the calibration curve and a sentence on its error; nothing where confidences are unknown."""
    confidence, is_right = review.confidence, review.is_right
    if confidence is None or is_right is None or not len(confidence) or not np.isfinite(confidence).all():
        return "", ""
    bins = calibration(confidence, is_right)
    error = expected_calibration_error(bins)
    sentence = "that is how far, on average, the model’s confidence is from the share that it gets right."
    return calibration_svg(bins, (400, 340)), f"Expected calibration error: {error:.1%}; {sentence}"


def _classes(table: Sequence[Sequence[Any]]) -> str:
    if not table:
        return ""
    heading = "".join(f"<th>{escape(str(name))}</th>" for name in table[0])
    rows = "".join(f"<tr>{''.join(f'<td>{_figure(cell)}</td>' for cell in row)}</tr>" for row in table[1:])
    return (
        '<div class="card"><div class="scroll classes" tabindex="0"><table class="grid">'
        f"<thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table></div></div>"
    )


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if is_finite(value) else NO_SCORE
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _mistakes(mistakes: Sequence[Mistake], whose: str) -> str:
    return section(f"The worst errors{whose}", map(_mistake, mistakes))


def _mistake(mistake: Mistake) -> str:
    return (
        f'<article class="card mistake"><p dir="auto" tabindex="0">{escape(mistake.text)}</p>'
        f'<dl><dt>Expected</dt><dd class="right" dir="auto">{escape(mistake.expected) or NO_SCORE}</dd>'
        f'<dt>Predicted</dt><dd class="wrong" dir="auto">{escape(mistake.predicted) or NO_SCORE}</dd></dl></article>'
    )

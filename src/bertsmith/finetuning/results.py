"""What the trials of a fine-tuning run have written down, and their scores over seeds."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple, Self

from bertsmith.errors import DamagedError
from bertsmith.files import check_digests, read_json
from bertsmith.finetuning.grid import Trial
from bertsmith.training.run_report import MetricsRecord, is_finite, read_records

# All scores are shares of 1, written as percentages, but these. In a run of several tasks a score is TASK/SCORE.
_NOT_SHARES = frozenset({"mcc", "pearson", "spearman", "mse"})
LESS_IS_BETTER = frozenset({"mse"})
_WORDS = {"f1": "F1", "mcc": "MCC", "mse": "MSE", "pearson": "Pearson", "spearman": "Spearman"}
_WORDS |= {name: name.upper() for name in ("map", "mrr", "p@1", "ndcg@1", "ndcg@3", "ndcg@5", "ndcg@10")}
NO_SCORE = "–"
RESULT = "result.json"
CONSTANT, PROBE = "constant answer", "linear probe"
"""The baselines of a trial."""
# 97.5 % quantiles of Student's distribution with 1, 2, … degrees of freedom.
_STUDENT_975: tuple[float, ...] = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
_STUDENT_975 += (2.120, 2.110, 2.101, 2.093, 2.086)


class Spread(NamedTuple):
    """The mean of a score over seeds, and its standard deviation where there are several; see also :func:`over_trials`."""

    mean: float
    deviation: float | None


class Column(NamedTuple):
    """A score on the "dev" or the "test" set."""

    split: str
    score: str


@dataclass(frozen=True, slots=True)
class Result:
    """How a trial ended: ``result.json``."""

    trial: Trial
    dev: Mapping[str, float]
    test: Mapping[str, float] | None
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """One trial's directory: its name, its metrics, and its result once the trial is finished.

    Each of the ``baselines`` has the dev scores "of" something that was not fine-tuned.
    """

    name: str
    train: list[MetricsRecord]
    dev: list[MetricsRecord]
    baselines: list[MetricsRecord]
    result: Result | None

    @property
    def trial(self) -> Trial:
        """The numbers of a finished trial."""
        assert self.result is not None
        return self.result.trial

    @property
    def parts(self) -> dict[str, str]:
        """The trial's name taken apart: "lr", "epochs", "batch", "seed" and perhaps "fold", and the number of each."""
        return dict(re.findall(r"(lr|epochs|batch|seed|fold)-(\d[\d.]*(?:e[+-]?\d+)?)(?=-|$)", self.name))

    @property
    def seconds(self) -> float:
        """The time it has taken so far."""
        return self.result.seconds if self.result else float((self.train or [{}])[-1].get("seconds") or 0)

    def scores(self, split: str) -> MetricsRecord:
        """Return the scores of a finished trial; on the dev set, of one under way those of its last measurement."""
        if self.result:
            return (self.result.dev if split == "dev" else self.result.test) or {}
        return self.dev[-1] if split == "dev" and self.dev else {}

    def rank(self, metric: str) -> float:
        """Return the score to choose by; the lowest of all where there is none."""
        score = self.scores("dev").get(metric)
        return score if is_finite(score) else -math.inf


@dataclass(frozen=True, slots=True)
class Setting:
    """Finished trials that differ in their seed alone, and the spread of their scores."""

    trial: Trial
    n_seeds: int
    spreads: dict[Column, Spread]

    @classmethod
    def of(cls, histories: Sequence[History]) -> Self:
        """Aggregate the scores over those seeds that have them as finite numbers."""
        values: dict[Column, dict[int | None, list[float]]] = {}
        for split in ("dev", "test"):
            for history in histories:
                for name, score in history.scores(split).items():
                    if is_finite(score):
                        values.setdefault(Column(split, name), {}).setdefault(history.trial.fold, []).append(score)
        spreads = {column: over_trials(by_fold) for column, by_fold in values.items()}
        return cls(histories[0].trial, len(histories), spreads)


def over_trials(by_fold: Mapping[int | None, Sequence[float]]) -> Spread:
    """Return the mean and the deviation of a score over seeds; of folds, how far the 95 % interval of the mean goes.

    That is Student's, of the folds' means over seeds. Folds share most of their training examples, so that it is somewhat too
    narrow (Bengio and Grandvalet 2004).
    """
    if None in by_fold:
        scores = by_fold[None]
        return Spread(mean(scores), stdev(scores) if len(scores) > 1 else None)
    means = [mean(scores) for scores in by_fold.values()]
    if len(means) < 2:
        return Spread(means[0], None)
    degrees = len(means) - 1
    # Beyond the table, to within a thousandth.
    quantile = _STUDENT_975[degrees - 1] if degrees <= len(_STUDENT_975) else 1.96 + 2.4 / degrees
    return Spread(mean(means), quantile * stdev(means) / math.sqrt(len(means)))


def over_folds(best: Result, histories: "Sequence[History]") -> Result:
    """Return the best result; of a run with folds, with the means of its setting in place of the scores of its fold."""
    if best.trial.fold is None:
        return best
    setting = next(one for one in settings_of(histories) if one.trial.setting == best.trial.setting)

    def means(split: str) -> dict[str, float]:
        return {column.score: spread.mean for column, spread in setting.spreads.items() if column.split == split}

    return replace(best, dev=means("dev"), test=means("test") or None)


def read_histories(run: Path) -> list[History]:
    """Read all trials of a run, in the order of their numbers.

    Raises:
        DamagedError: a ``result.json`` is damaged or lacks something.
    """
    directories = [path for path in (run / "trials").glob("*") if path.is_dir() and not path.name.startswith(".")]
    return sorted(map(_history, directories), key=lambda one: ([float(part) for part in one.parts.values()], one.name))


def _history(path: Path) -> History:
    records = read_records(path / "metrics.jsonl", ["dev", "baseline"])
    return History(
        path.name,
        records["train"],
        records["dev"],
        records["baseline"],
        read_result(path) if (path / RESULT).exists() else None,
    )


def read_result(path: Path) -> Result:
    """Read the ``result.json`` in the directory of a finished trial.

    Raises:
        DamagedError: it, or the metrics beside it, is damaged, or it lacks something.
    """
    remedy = f"remove {path} and run the same command again, to have this trial run again"
    try:
        check_digests(path)
        result = read_json(path / RESULT)
    except DamagedError as error:
        raise DamagedError(f"{error}; {remedy}") from None
    if missing := [field.name for field in fields(Result) if field.name not in result]:
        raise DamagedError(f"{path / RESULT} lacks {', '.join(missing)}; {remedy}")
    trial, dev = result["trial"], result["dev"]
    if (
        not isinstance(trial, dict)
        or trial.keys() | {"fold"} != {field.name for field in fields(Trial)}
        or not isinstance(dev, dict)
    ):
        raise DamagedError(f"{path / RESULT} is not what bertsmith writes there; {remedy}")
    return Result(Trial(**trial), dev, result["test"], result["steps"], result["seconds"])


def best_history(histories: Sequence[History], metric: str) -> History | None:
    """Return the finished trial with the best dev score; before one is finished, that of those under way."""
    candidates = [one for one in histories if one.result] or histories
    best = max(candidates, key=lambda one: one.rank(metric), default=None)
    return best if best and best.rank(metric) > -math.inf else None


def settings_of(histories: Sequence[History]) -> list[Setting]:
    """Return the settings of the finished trials."""
    finished = [one for one in histories if one.result]
    return [Setting.of(list(group)) for _, group in groupby(finished, key=lambda one: one.trial.setting)]


def baselines_of(histories: Sequence[History]) -> dict[str, dict[Column, Spread]]:
    """Return the spread of the dev scores over the trials of each baseline, by what it is."""
    by_kind: dict[str, dict[Column, dict[int | None, list[float]]]] = {}
    for history in histories:
        fold = int(history.parts["fold"]) if "fold" in history.parts else None
        for record in history.baselines:
            scores = by_kind.setdefault(str(record.get("of")), {})
            for name, score in record.items():
                if is_finite(score) and name not in ("step", "seconds"):
                    scores.setdefault(Column("dev", name), {}).setdefault(fold, []).append(score)
    return {kind: {column: _that_differs(of) for column, of in scores.items()} for kind, scores in by_kind.items()}


def _that_differs(by_fold: Mapping[int | None, Sequence[float]]) -> Spread:
    """Return the spread without a deviation where all scores are equal, as those of a constant answer are."""
    spread = over_trials(by_fold)
    return spread._replace(deviation=spread.deviation or None)


def columns_of(settings: Sequence[Setting], metric: str, of: str = "") -> list[Column]:
    """Return the scores that any setting has, dev before test and the metric first of each.

    Of several tasks they are the mean and the main score of each, or all of the task ``of``.
    """
    columns = dict.fromkeys(column for setting in settings for column in setting.spreads)
    tasks = {column: column.score.rpartition("/")[0] for column in columns}
    main = {(column.split, task, task or column.score): column for column, task in reversed(tasks.items())}
    shown = [column for column, task in tasks.items() if (task == of if of else column in main.values())]
    return sorted(shown, key=lambda column: (column.split, column.score != metric))


def best_mean(settings: Sequence[Setting], column: Column) -> float:
    """Return the best mean in a column that some setting has."""
    means = [setting.spreads[column].mean for setting in settings if column in setting.spreads]
    return min(means) if column.score.rpartition("/")[2] in LESS_IS_BETTER else max(means)


def is_share(name: str) -> bool:
    """Say whether a score is a share of 1."""
    return name.rpartition("/")[2] not in _NOT_SHARES


def score_name(name: str) -> str:
    """Return the name of a score as it is written, "macro F1" for "macro_f1", behind that of its task if it has one."""
    task, _, score = name.rpartition("/")
    return f"{task} {' '.join(_WORDS.get(word, word) for word in score.split('_'))}".strip()


def spread_text(name: str, spread: Spread | None) -> str:
    """Return "84.31 ± 0.42%", without ± where there was one seed; a dash for a score that there is none of."""
    if spread is None:
        return NO_SCORE
    factor, decimals, unit = (100, 2, "%") if is_share(name) else (1, 4, "")
    deviation = "" if spread.deviation is None else f" ± {spread.deviation * factor:.{decimals}f}"
    return f"{spread.mean * factor:.{decimals}f}{deviation}{unit}"

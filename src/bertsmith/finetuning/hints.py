"""What finished training looks wrong by, in a sentence each, with what to try."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bertsmith.finetuning.results import CONSTANT, Column, History, Spread, baselines_of, best_history, score_name, spread_text
from bertsmith.tasks.task import Review
from bertsmith.training.run_report import is_finite

_FEWEST_RECORDS = 8
_MOST_SHOWN = 8


def hints(reviews: Mapping[str, Review], histories: Sequence[History], metric: str) -> list[str]:
    """Return what is suspicious about a run: a loss that did not fall, a score that is no better than a baseline's, one label
    for everything, labels never predicted.

    ``reviews`` are those of the best model's predictions on the dev examples, by the name of the task.
    """
    of_labels = ((name, hint) for name, review in reviews.items() for hint in _of_labels(review))
    # From a linear probe the loss begins low, and need not fall.
    of_loss = () if _beats_constant(histories, metric) else _of_loss(histories)
    return [
        *of_loss,
        *_of_baselines(histories, metric),
        *(f"{name}: {hint}" if name else hint for name, hint in of_labels),
    ]


def _of_loss(histories: Sequence[History]) -> Iterator[str]:
    """Compare the first quarter of each trial's records with the last."""
    changes = []
    for history in histories:
        losses = [loss for record in history.train if is_finite(loss := record.get("loss"))]
        quarter = len(losses) // 4
        if len(losses) < _FEWEST_RECORDS:
            return
        changes.append((float(np.mean(losses[:quarter])), float(np.mean(losses[-quarter:]))))
    if changes and all(last >= first for first, last in changes):
        first, last = changes[0]
        trials = "any trial" if len(changes) > 1 else "training"
        yield (
            f"the loss did not fall in {trials} (from {first:.3f} to {last:.3f}): try another --lr and more --epochs, "
            "and look whether the labels fit the texts"
        )


def _beats_constant(histories: Sequence[History], metric: str) -> bool:
    best = best_history(histories, metric)
    spreads = {} if best is None else baselines_of([best]).get(CONSTANT, {})
    return best is not None and Column("dev", metric) in spreads and best.rank(metric) > spreads[Column("dev", metric)].mean


def _of_baselines(histories: Sequence[History], metric: str) -> Iterator[str]:
    best = best_history(histories, metric)
    if best is None:
        return
    score = best.rank(metric)
    for kind, spreads in baselines_of([best]).items():
        baseline = spreads.get(Column("dev", metric))
        if baseline is not None and baseline.mean >= score:
            texts = [spread_text(metric, Spread(value, None)) for value in (score, baseline.mean)]
            yield (
                f"the best dev {score_name(metric)}, {texts[0]}, is no better than that of the {kind}, {texts[1]}: "
                "try another --lr, more --epochs or more examples"
            )
            return


def _of_labels(review: Review) -> Iterator[str]:
    predicted = [label for label, (_, n_predictions) in review.used.items() if n_predictions]
    unused = {label: n_examples for label, (n_examples, _) in review.used.items() if n_examples and label not in predicted}
    if not unused:
        return
    remedy = "try more --epochs or a higher --lr, and more examples of what is rare"
    if not predicted:
        yield f"the best model finds nothing in the dev examples; {remedy}"
    elif len(predicted) == 1:
        yield f"the best model predicts {predicted[0]!r} for every dev example; {remedy}"
    else:
        listed = ", ".join(
            f"{label!r} ({n_examples:,} in the dev examples)" for label, n_examples in list(unused.items())[:_MOST_SHOWN]
        )
        more = f" and {len(unused) - _MOST_SHOWN} more" if len(unused) > _MOST_SHOWN else ""
        yield f"the best model never predicts {listed}{more}; {remedy}"

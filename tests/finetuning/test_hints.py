"""What finished training looks wrong by."""

import pytest

from bertsmith.finetuning.hints import hints
from bertsmith.finetuning.results import History
from bertsmith.tasks.task import Review

FALLING, LEVEL, SHORT = [4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0], [0.7, 0.6, 0.7, 0.6, 0.7, 0.6, 0.8, 0.6], [1.0, 1.0]


def _history(losses: list[float]) -> History:
    return History("lr-1", [{"step": step, "loss": loss} for step, loss in enumerate(losses)], [], [], None)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([FALLING], []),
        ([LEVEL], ["the loss did not fall in training (from 0.650 to 0.700)"]),
        ([LEVEL, LEVEL], ["the loss did not fall in any trial (from 0.650 to 0.700)"]),
        ([LEVEL, FALLING], []),
        ([SHORT], []),
        ([], []),
    ],
)
def test_a_loss_that_never_fell(trials: list[list[float]], expected: list[str]) -> None:
    found = hints({"": Review()}, [_history(losses) for losses in trials], "accuracy")
    assert [hint.partition(": try")[0] for hint in found] == expected


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ({"no": (5, 4), "yes": (3, 4)}, []),
        ({"no": (5, 8), "yes": (3, 0)}, ["the best model predicts 'no' for every dev example"]),
        ({"no": (5, 8), "yes": (0, 0)}, []),  # nothing else was there to be predicted
        ({"a": (5, 6), "b": (3, 5), "c": (3, 0)}, ["the best model never predicts 'c' (3 in the dev examples)"]),
        ({"LOC": (5, 0), "PER": (3, 0)}, ["the best model finds nothing in the dev examples"]),
        (
            {"right": (1, 11), "left": (1, 1), **{str(number): (2, 0) for number in range(10)}},
            [
                "the best model never predicts "
                + ", ".join(f"{name!r} (2 in the dev examples)" for name in "01234567")
                + " and 2 more"
            ],
        ),
    ],
)
def test_labels_that_are_never_predicted(used: dict[str, tuple[int, int]], expected: list[str]) -> None:
    assert [hint.partition("; try")[0] for hint in hints({"": Review(used=used)}, [], "accuracy")] == expected


def test_of_several_tasks_the_name_stands_in_front() -> None:
    (found,) = hints({"mood": Review(used={"no": (5, 8), "yes": (3, 0)}), "topic": Review()}, [], "accuracy")
    assert found.startswith("mood: the best model predicts 'no' for every dev example")


@pytest.mark.parametrize(
    ("score", "probe", "expected"),
    [
        (0.8, 0.9, "the best dev accuracy, 80.00%, is no better than that of the linear probe, 90.00%: try another --lr"),
        (0.8, 0.8, "the best dev accuracy, 80.00%, is no better than that of the linear probe, 80.00%: try another --lr"),
        (0.9, 0.8, None),
    ],
)
def test_a_score_that_is_no_better_than_a_baseline_s(score: float, probe: float, expected: str | None) -> None:
    baselines = [{"of": "linear probe", "step": 0, "accuracy": probe}]
    found = hints({}, [History("lr-1", [], [{"step": 1, "accuracy": score}], baselines, None)], "accuracy")
    assert len(found) == (expected is not None)
    assert expected is None or found[0].startswith(expected)


def test_a_loss_that_begins_low_need_not_fall_where_the_score_beats_the_constant_answer_s() -> None:
    train, dev = [{"step": step, "loss": loss} for step, loss in enumerate(LEVEL)], [{"step": 1, "accuracy": 0.9}]
    for constant, n_expected in ((0.5, 0), (0.9, 2)):
        baselines = [{"of": "constant answer", "step": 0, "accuracy": constant}]
        assert len(hints({}, [History("lr-1", train, dev, baselines, None)], "accuracy")) == n_expected

"""What finished training looks wrong by."""

import pytest

from bertsmith.finetuning.hints import hints
from bertsmith.finetuning.results import History
from bertsmith.tasks.task import Review

FALLING, LEVEL, SHORT = [4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0], [0.7, 0.6, 0.7, 0.6, 0.7, 0.6, 0.8, 0.6], [1.0, 1.0]


def _history(losses: list[float]) -> History:
    return History("lr-1", [{"step": step, "loss": loss} for step, loss in enumerate(losses)], [], None)


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
    found = hints({"": Review()}, [_history(losses) for losses in trials])
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
    assert [hint.partition("; try")[0] for hint in hints({"": Review(used=used)}, [])] == expected


def test_of_several_tasks_the_name_stands_in_front() -> None:
    (found,) = hints({"mood": Review(used={"no": (5, 8), "yes": (3, 0)}), "topic": Review()}, [])
    assert found.startswith("mood: the best model predicts 'no' for every dev example")

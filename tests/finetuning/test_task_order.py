"""The task and the samples of every step."""

import itertools

import pytest

from bertsmith.finetuning.task_order import TaskOrder, epoch_batches, shares

SIZES = {"large": 8000, "middle": 1000, "small": 125}


def test_shares_by_size_and_by_temperature() -> None:
    assert shares(SIZES, 1.0) == pytest.approx({"large": 64 / 73, "middle": 8 / 73, "small": 1 / 73})
    assert shares(SIZES, 3.0) == pytest.approx({"large": 4 / 7, "middle": 2 / 7, "small": 1 / 7})
    assert shares(SIZES, 1e9) == pytest.approx(dict.fromkeys(SIZES, 1 / 3))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_tasks_are_drawn_by_their_shares(temperature: float) -> None:
    order = TaskOrder(SIZES, 4, seed=1, epochs=5, temperature=temperature)
    n = order.total_steps
    assert n == 5 * order.epoch_steps == 5 * (2000 + 250 + 32)
    drawn = [batch.task for batch in order.batches_from(0)]
    assert len(drawn) == n
    for task, share in shares(SIZES, temperature).items():
        deviation = (n * share * (1 - share)) ** 0.5
        assert abs(drawn.count(task) - n * share) < 4 * deviation
    # No task is due: whether one is drawn does not depend on whether it was the time before.
    again = sum(one == other == "large" for one, other in itertools.pairwise(drawn))
    assert again / drawn.count("large") == pytest.approx(shares(SIZES, temperature)["large"], abs=0.02)


def test_the_order_depends_on_the_seed_and_the_step_alone() -> None:
    order = list(TaskOrder(SIZES, 4, seed=1, epochs=0.1, temperature=2).batches_from(0))
    for step in (1, 57, len(order) - 1, len(order)):
        assert list(TaskOrder(SIZES, 4, seed=1, epochs=0.1, temperature=2).batches_from(step)) == order[step:]
    assert list(TaskOrder(SIZES, 4, seed=2, epochs=0.1, temperature=2).batches_from(0)) != order


def test_the_samples_of_a_task_come_once_before_any_comes_again() -> None:
    order = TaskOrder({"a": 10, "b": 3}, 4, seed=0, epochs=40)
    for task, n_batches, n_samples in (("a", 3, 10), ("b", 1, 3)):
        own = [batch for batch in order.batches_from(0) if batch.task == task]
        assert [batch.number for batch in own] == list(range(len(own)))
        passes = [own[at : at + n_batches] for at in range(0, len(own) - n_batches + 1, n_batches)]
        assert len(passes) > 10
        orders = [[place for batch in one for place in batch.samples] for one in passes]
        assert all(sorted(places) == list(range(n_samples)) for places in orders)
        assert len({tuple(places) for places in orders}) > 3


def test_a_task_alone_has_its_epochs_batches_in_order() -> None:
    order = TaskOrder({"": 10}, 4, seed=3, epochs=1.5)
    assert [batch.samples for batch in order.batches_from(0)] == [*epoch_batches(10, 4, 3, 0), *epoch_batches(10, 4, 3, 1)[:2]]

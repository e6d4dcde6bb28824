"""One trial of fine-tuning: its batches, what a step does to the weights, and which weights are kept."""

import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bertsmith.artifacts.directory import load_model
from bertsmith.errors import DivergedError, UsageError
from bertsmith.finetuning.grid import ALONE, Usual, config_of
from bertsmith.finetuning.objectives import Experiment, TaskData, check_settings
from bertsmith.finetuning.task_order import epoch_batches
from bertsmith.finetuning.trial import TrialRun
from bertsmith.finetuning.trial_loss import make_loss
from bertsmith.model.bert import Bert, Heads, set_dropout
from bertsmith.progress import SILENT
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.task import SampleBatch
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.run_directory import RunDirectory
from bertsmith.training.used_embedding import UsedEmbedding

CPU = torch.device("cpu")
TOKEN_EMBEDDING = "encoder.embeddings.token.weight"
WORDS = ["cat", "dog", "bird", "king", "sees", "likes", "finds", "song", "moon", "letter"]
MakeExperiment = Callable[..., Experiment]
MakeRun = Callable[..., TrialRun]


def examples(n: int, seed: int = 0) -> list[TextExample]:
    """Texts of 2 to 12 words, half of them labelled 1."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(2, 12))) for _ in range(n)]
    return [TextExample(text, None, str(place % 2), str(place), f"toy:{place}") for place, text in enumerate(texts)]


@pytest.fixture
def experiment(toy_directory: Path, toy_tokenizer: Tokenizer, tmp_path: Path) -> MakeExperiment:
    """Make what a trial on 8 examples needs: one step without warm-up, dropout or clipping unless told otherwise."""

    def make(kind: Any = Classify, n: int = 8, dtype: torch.dtype = torch.float32, **changes: Any) -> Experiment:
        values: dict[str, Any] = {
            "model": str(toy_directory / "model"),
            "train": "toy",
            "out": str(tmp_path / "run"),
            "lr": [1e-3],
            "epochs": [1],
            "batch_size": [n],
            "task": {"max_length": 32},
            "recipe": {"head_start": "random", "dropout": 0.0, "warmup": 0.0, "max_gradient_norm": 1e9},
            "record": {"log_every": 1},
        }
        for name, value in changes.items():
            values[name] = {**values[name], **value} if isinstance(value, dict) else value
        config = config_of(kind).from_values(values, "test")
        train = examples(n)
        task = config.task.fitted(train)
        samples = [sample for own in task.samples(train, toy_tokenizer, labelled=True) for sample in own]
        return Experiment(
            config,
            {ALONE: TaskData(task, train, train, None, samples=samples)},
            toy_tokenizer,
            CPU,
            dtype,
            make_loss(config.recipe),
        )

    return make


@pytest.fixture
def run(experiment: MakeExperiment, tmp_path: Path) -> MakeRun:
    """Make a trial in a directory of its own."""
    numbers = itertools.count()

    def make(**changes: Any) -> TrialRun:
        made = experiment(**changes)
        directory = RunDirectory(tmp_path / f"trial-{next(numbers)}")
        return TrialRun(made, made.config.trials(Usual(32, (1000,)))[0], directory, directory.record, SILENT)

    return make


def gradients(run: TrialRun) -> dict[str, Tensor]:
    """Return the gradients of the trial's one step, which is not made."""
    run.stepper.update = lambda rate: None  # type: ignore[method-assign]  # noqa: ARG005
    run.run()
    model = run.stepper.master
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    embedding = model.encoder.embeddings.get_submodule("token")
    if isinstance(embedding, UsedEmbedding) and (gradient := found.get(TOKEN_EMBEDDING)) is not None:
        rows = embedding.get_buffer("rows")
        found[TOKEN_EMBEDDING] = torch.cat([gradient, torch.zeros_like(embedding.others)])[rows]
    return found


def weights(run: TrialRun) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in run.stepper.master.state_dict().items()}


def train_records(run: TrialRun) -> list[dict[str, Any]]:
    lines = (run.directory.path / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "train"]


def loss_by_hand(model: Bert, experiment: Experiment, weight: Sequence[float] = (1.0, 1.0)) -> Tensor:
    """Return the mean loss of the examples, each put through the model alone."""
    losses = []
    for sample in experiment.data[ALONE].samples:
        batch = SampleBatch.collate([sample])
        logits = model(batch.inputs).task_logits
        losses.append(weight[sample.target] * F.cross_entropy(logits, torch.tensor([sample.target])))
    return torch.stack(losses).mean()


def starting_model(experiment: Experiment) -> Bert:
    model = load_model(experiment.config.model, Heads(task=experiment.data[ALONE].task.head()), seed=0)
    set_dropout(model, 0.0)
    return model.train()


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    assert max(value.abs().max() for value in expected.values()) > 100 * tolerance
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=tolerance, msg=name)


# Batches.


def test_every_sample_comes_once_an_epoch() -> None:
    batches = epoch_batches(301, 4, seed=3, epoch=0)
    assert sorted(place for batch in batches for place in batch) == list(range(301))
    assert [len(batch) for batch in batches] == [4] * 75 + [1]


def test_epochs_and_seeds_have_orders_of_their_own_which_come_again() -> None:
    orders = [epoch_batches(100, 8, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(one != other for one, other in itertools.combinations(orders, 2))
    assert epoch_batches(100, 8, 0, 1) == orders[1]


def test_a_trial_ends_behind_its_share_of_an_epoch(run: MakeRun) -> None:
    assert run(n=10, batch_size=[4], epochs=[2.5]).run().step == 8  # 2.5 of 3 batches
    assert run(n=10, batch_size=[4], epochs=[0.01]).run().step == 1


# A step.


def test_a_step_is_adamw_on_the_mean_loss(run: MakeRun) -> None:
    trial = run(recipe={"weight_decay": 0.1, "max_gradient_norm": 0.002})
    model = starting_model(trial.experiment)
    loss = loss_by_hand(model, trial.experiment)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.002)
    assert norm > 0.003
    trial.run()
    (record,) = train_records(trial)
    assert record["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert record["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
    assert record["learning_rate"] == pytest.approx(5e-4)  # half-way between 1e-3 and 0
    n_compared = 0
    for name, found in weights(trial).items():
        start = model.get_parameter(name)
        assert start.grad is not None
        decay = 0.1 if start.ndim > 1 else 0.0
        # Adam's first step, with its means freed of their bias, is the gradient by its own size.
        expected = start - 5e-4 * (start.grad / (start.grad.abs() + 1e-6) + decay * start)
        large = (start.grad.abs() > 1e-6) | (start.grad == 0)
        n_compared += int(large.sum())
        torch.testing.assert_close(found[large], expected[large], rtol=0, atol=2e-6, msg=name)
    assert n_compared > 4000


def test_class_weights_reach_the_loss(run: MakeRun) -> None:
    trial = run(task={"weights": [0.5, 3.0]})
    model = starting_model(trial.experiment)
    loss_by_hand(model, trial.experiment, (0.5, 3.0)).backward()  # type: ignore[no-untyped-call]
    by_hand = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert_close(gradients(trial), by_hand)


@pytest.mark.parametrize("recipe", [{}, {"fgm": 0.5}])
def test_a_batch_in_parts_has_the_same_gradients(run: MakeRun, recipe: dict[str, Any]) -> None:
    whole, parts = run(recipe=recipe), run(recipe={**recipe, "batch_tokens": 16})
    passes: list[int] = []
    accumulate = parts.stepper.accumulate
    parts.stepper.accumulate = lambda *given: passes.append(1) or accumulate(*given)  # type: ignore[method-assign,func-returns-value]
    assert_close(gradients(parts), gradients(whole))
    assert len(passes) > 3
    assert train_records(parts)[0]["loss"] == pytest.approx(train_records(whole)[0]["loss"], rel=1e-5)


def test_adversarial_training_by_hand(run: MakeRun) -> None:
    trial = run(recipe={"fgm": 0.7})
    model = starting_model(trial.experiment)
    loss_by_hand(model, trial.experiment).backward()  # type: ignore[no-untyped-call]
    weight = model.encoder.embeddings.token.weight
    assert weight.grad is not None
    with torch.no_grad():
        weight += 0.7 * weight.grad / weight.grad.norm()
    loss_by_hand(model, trial.experiment).backward()  # type: ignore[no-untyped-call]
    before = weights(trial)
    assert_close(
        gradients(trial), {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(trial).items())


# What moves, and how fast.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_the_rows_in_use_is_training_the_whole_embedding(
    run: MakeRun, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    settings: dict[str, Any] = {"dtype": dtype, "epochs": [3], "batch_size": [2], "recipe": {"weight_decay": 0.3}}
    parted = run(**settings)
    before = weights(parted)
    parted.run()
    monkeypatch.setattr("bertsmith.finetuning.trial.train_used_rows", lambda _model, _token_ids: None)
    whole = run(**settings)
    whole.run()
    assert_close(weights(parted), weights(whole))
    assert (weights(parted)[TOKEN_EMBEDDING] != before[TOKEN_EMBEDDING]).all()
    assert parted.stepper.master.get_parameter(TOKEN_EMBEDDING).shape[0] < len(before[TOKEN_EMBEDDING])


@pytest.mark.parametrize(("frozen", "still"), [(1, ("embeddings.", "layers.0.")), (-1, ("embeddings.", "layers."))])
def test_frozen_layers_stay_and_all_else_moves(run: MakeRun, frozen: int, still: tuple[str, ...]) -> None:
    trial = run(recipe={"frozen_layers": frozen})
    before = weights(trial)
    trial.run()
    for name, tensor in weights(trial).items():
        is_still = name.startswith(tuple(f"encoder.{part}" for part in still))
        assert torch.equal(tensor, before[name]) == is_still, name


def rates(run: TrialRun) -> dict[str, float]:
    """Return the share of the learning rate at which each parameter moves."""
    names = {id(parameter): name for name, parameter in run.stepper.master.named_parameters()}
    groups = run.stepper.optimiser.param_groups
    return {names[id(parameter)]: group["share"] for group in groups for parameter in group["params"]}


def test_layers_learn_slower_the_lower_they_are_and_the_head_at_its_own_rate(run: MakeRun) -> None:
    shares = rates(run(recipe={"layer_decay": 0.5, "head_lr": 4e-3}))
    assert {share for name, share in shares.items() if name.startswith("encoder.layers.1.")} == {1.0}
    assert {share for name, share in shares.items() if name.startswith("encoder.layers.0.")} == {0.5}
    assert {share for name, share in shares.items() if name.startswith("encoder.embeddings.")} == {0.25}
    assert {share for name, share in shares.items() if name.startswith("task.pooler.")} == {1.0}
    head = {share for name, share in shares.items() if name.startswith("task.") and "pooler" not in name}
    assert head == {4.0}
    assert set(rates(run()).values()) == {1.0}


def test_the_optimiser_and_the_schedule_have_the_recipe_s_settings(run: MakeRun) -> None:
    trial = run(
        n=16,
        batch_size=[4],
        lr=[2e-3],
        recipe={"warmup": 0.5, "adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-4, "weight_decay": 0.2},
    )
    assert {(group["betas"], group["eps"]) for group in trial.stepper.optimiser.param_groups} == {((0.8, 0.95), 1e-4)}
    assert {group["weight_decay"] for group in trial.stepper.optimiser.param_groups} == {0.2, 0.0}
    trial.run()
    rates = [record["learning_rate"] for record in train_records(trial)]
    assert rates == pytest.approx([0.5e-3, 1.5e-3, 1.5e-3, 0.5e-3])


def test_only_matrices_decay(run: MakeRun) -> None:
    for group in run(recipe={"weight_decay": 0.3}).stepper.optimiser.param_groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] == 0.3}


# Whole trials.


def test_sixteen_examples_are_learnt_by_heart(run: MakeRun) -> None:
    trial = run(n=16, batch_size=[8], epochs=[40], lr=[2e-3], record={"evaluate_every": 1000})
    state = trial.run()
    assert state.best_score == 1.0
    losses = [record["loss"] for record in train_records(trial)]
    assert losses[0] > 0.5 and losses[-1] < 0.2


def test_half_precision_is_close_to_single(run: MakeRun) -> None:
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        trial = run(dtype=dtype, n=16, batch_size=[8], epochs=[6], lr=[1e-3])
        trial.run()
        losses.append([record["loss"] for record in train_records(trial)])
    assert losses[1] == pytest.approx(losses[0], abs=0.03)
    assert losses[1] != losses[0]


@pytest.mark.parametrize("of_test", [False, True])
def test_what_cannot_be_scored_fails_before_the_first_step(
    run: MakeRun, monkeypatch: pytest.MonkeyPatch, of_test: bool
) -> None:
    trial = run()
    data = trial.experiment.data[ALONE]
    odd = replace(data.train[0], label="of no class")
    held = replace(data, test=[odd]) if of_test else replace(data, dev=[odd])
    monkeypatch.setattr(trial, "experiment", replace(trial.experiment, data={ALONE: held}))
    before = {name: tensor.clone() for name, tensor in weights(trial).items()}
    with pytest.raises((KeyError, ValueError)):
        trial.run()
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(trial).items())


def test_early_stopping_keeps_the_best_weights(run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = run(batch_size=[4], epochs=[10], patience=2)
    scores, seen = iter([0.0, 0.0, 0.0, 0.5, 0.7, 0.6, 0.7, 0.9]), []  # the first three are of the rehearsal and the baselines

    def score(*_: object) -> dict[str, float]:
        seen.append(weights(trial))
        return {"accuracy": next(scores)}

    monkeypatch.setattr(Classify, "score", score)
    state = trial.run()
    assert (state.step, state.best_step, state.best_score, state.stale) == (8, 4, 0.7, 2)
    trial.load_best()
    assert all(torch.equal(tensor, seen[4][name]) for name, tensor in weights(trial).items())
    assert any(not torch.equal(tensor, seen[4][name]) for name, tensor in seen[6].items())


def test_without_patience_the_last_weights_are_kept_and_none_written(run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = run(batch_size=[4], epochs=[3])
    scores = iter([0.0, 0.0, 0.0, 0.9, 0.1, 0.0])  # the first three are of the rehearsal and the baselines
    monkeypatch.setattr(Classify, "score", lambda *_: {"accuracy": next(scores)})
    assert trial.run().step == 6
    assert not trial.best.exists()


def test_a_weight_that_is_no_number_stops_the_trial(run: MakeRun) -> None:
    trial = run()
    with torch.no_grad():
        trial.stepper.master.encoder.embeddings.norm.bias[3] = torch.nan
    with pytest.raises(DivergedError, match=r"the loss at step 1 of lr-0\.001-epochs-1-batch-8-seed-0 is nan"):
        trial.run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {"max_length": 65}}, "--max-length 65 is beyond the 64 positions of"),
        ({"recipe": {"frozen_layers": 3}}, "--frozen-layers 3: the model has 2 layers; -1 freezes all of them"),
        ({"task": {"metric": "f2"}}, "--metric f2: there is no such score .*; choose from accuracy, macro_f1, .*f1"),
        (
            {"kind": Regress, "task": {"metric": "mse"}},
            "--metric mse: there is no such score .*; choose from pearson, spearman$",
        ),
        ({"kind": Regress, "recipe": {"r_drop": 1.0}}, "--r-drop compares probabilities, and regress predicts none"),
    ],
)
def test_settings_that_do_not_fit_the_model_or_the_task(
    experiment: MakeExperiment, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_settings(experiment(**changes))


def test_settings_that_fit(experiment: MakeExperiment) -> None:
    check_settings(experiment(task={"metric": "mcc", "max_length": 64}, recipe={"r_drop": 1.0, "frozen_layers": 2}))

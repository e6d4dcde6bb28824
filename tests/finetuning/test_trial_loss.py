"""The losses of a trial against their formulas, computed by hand."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.finetuning.grid import Recipe
from bertsmith.finetuning.trial_loss import AdversarialLoss, Loss, PlainLoss, RDropLoss, StepBatch, make_loss
from bertsmith.model.bert import Bert, Heads, set_dropout, uninitialised
from bertsmith.randomness import key
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.task import Sample, SampleBatch
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.parallel import Ranks
from bertsmith.training.settings import Optimisation
from bertsmith.training.stepper import Stepper

SEED, STEP = 5, 3
TEXTS = ("the cat sees a song", "my teacher likes the old house by the sea", "a bird", "the king asks again", "the moon")
TASK = Classify(labels=("0", "1"), max_length=32)
MakeStepper = Callable[..., Stepper]


@pytest.fixture
def samples(toy_tokenizer: Tokenizer) -> list[Sample]:
    examples = [TextExample(text, None, str(place % 2), str(place), "toy") for place, text in enumerate(TEXTS)]
    return [sample for own in TASK.samples(examples, toy_tokenizer, labelled=True) for sample in own]


@pytest.fixture
def stepper(toy_model: Callable[..., Bert]) -> MakeStepper:
    """Make a stepper of a classifier whose weights are all random, so that it is sure of something."""

    def make(dropout: float = 0.4, dtype: torch.dtype = torch.float32) -> Stepper:
        model = uninitialised(toy_model().config, Heads(task=TASK.head()))
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        set_dropout(model, dropout)
        cpu = torch.device("cpu")
        return Stepper(model, Optimisation(), SEED, Ranks(), cpu, dtype, compiled=False)

    return make


def step_batch(stepper: Stepper, samples: list[Sample], token_budget: int = 1000) -> StepBatch:
    assert stepper.compute.task is not None
    return StepBatch.of(TASK, stepper.compute.task, samples, token_budget)


def log_probabilities(model: Bert, part: SampleBatch) -> Tensor:
    logits = model.logits(part.inputs).task_logits
    assert logits is not None
    return F.log_softmax(logits, -1)


def plain(model: Bert, part: SampleBatch) -> Tensor:
    labels = torch.tensor([sample.target for sample in part.samples])
    return F.nll_loss(log_probabilities(model, part), labels, reduction="sum")


def r_drop(weight: float) -> Callable[[Bert, SampleBatch], Tensor]:
    """Return what gives equation 3 of Liang et al. (2021), but for the mean of the two passes' losses instead of their sum."""

    def of(model: Bert, part: SampleBatch) -> Tensor:
        labels = torch.tensor([sample.target for sample in part.samples])
        p, q = log_probabilities(model, part), log_probabilities(model, part)
        losses = [F.nll_loss(one, labels, reduction="sum") for one in (p, q)]
        divergences = [F.kl_div(q, p, reduction="sum", log_target=True), F.kl_div(p, q, reduction="sum", log_target=True)]
        assert sum(divergences).item() > 0.01
        return (losses[0] + losses[1]) / 2 + weight * (divergences[0] + divergences[1]) / 2

    return of


def by_hand(model: Bert, batch: StepBatch, formula: Callable[[Bert, SampleBatch], Tensor]) -> Tensor:
    """Return a batch's mean loss, with the dropout that the step and a part's place determine, and add its gradients."""
    losses = []
    for place, samples in enumerate(batch.parts):
        torch.manual_seed(key(SEED, "dropout", STEP, place))
        losses.append(formula(model, SampleBatch.collate(samples)) / len(TEXTS))
        losses[-1].backward()  # type: ignore[no-untyped-call]
    return torch.stack(losses).sum().detach()


def assert_same_gradients(found: Bert, expected: Bert) -> None:
    for (name, ours), theirs in zip(found.named_parameters(), expected.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("token_budget", [1000, 12])
@pytest.mark.parametrize(
    ("loss", "formula"), [(PlainLoss(), plain), (RDropLoss(0.3), r_drop(0.3)), (RDropLoss(4.0), r_drop(4.0))]
)
def test_a_loss_is_its_formula(
    stepper: MakeStepper,
    samples: list[Sample],
    loss: Loss,
    formula: Callable[[Bert, SampleBatch], Tensor],
    token_budget: int,
) -> None:
    ours = stepper()
    theirs, batch = copy.deepcopy(ours.master), step_batch(ours, samples, token_budget)
    assert (len(batch.parts) > 1) == (token_budget == 12)
    value = loss.accumulate(STEP, ours, batch)
    assert value.item() == pytest.approx(by_hand(theirs, batch, formula).item(), rel=1e-5)
    assert_same_gradients(ours.master, theirs)


@pytest.mark.parametrize(("loss", "formula"), [(PlainLoss(), plain), (RDropLoss(2.0), r_drop(2.0))])
def test_an_adversarial_loss_adds_the_gradients_at_the_moved_embeddings(
    stepper: MakeStepper, samples: list[Sample], loss: Loss, formula: Callable[[Bert, SampleBatch], Tensor]
) -> None:
    ours = stepper()
    theirs, batch = copy.deepcopy(ours.master), step_batch(ours, samples)
    value = AdversarialLoss(loss, 0.7).accumulate(STEP, ours, batch)
    assert value.item() == pytest.approx(by_hand(theirs, batch, formula).item(), rel=1e-5)
    weight = theirs.encoder.embeddings.token.weight
    assert weight.grad is not None
    with torch.no_grad():
        weight += 0.7 * weight.grad / weight.grad.square().sum().sqrt()
    by_hand(theirs, batch, formula)
    assert_same_gradients(ours.master, theirs)


class Spy:
    """A loss that gives the token embeddings a gradient and remembers what they are."""

    needs_probabilities = False

    def __init__(self, gradient: float, fails_at: int = 0) -> None:
        self.gradient, self.fails_at, self.seen = gradient, fails_at, list[Tensor]()

    def accumulate(self, step: int, stepper: Stepper, batch: StepBatch) -> Tensor:  # noqa: ARG002
        weight = stepper.master.encoder.embeddings.token.weight
        self.seen.append(weight.detach().clone())
        weight.grad = torch.full_like(weight, self.gradient)
        if len(self.seen) == self.fails_at:
            raise ArithmeticError
        return torch.tensor(float(len(self.seen)))


@pytest.mark.parametrize("size", [0.25, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_embeddings_move_by_the_size_and_are_restored_bit_for_bit(
    stepper: MakeStepper, samples: list[Sample], size: float, dtype: torch.dtype
) -> None:
    ours, spy = stepper(dtype=dtype), Spy(gradient=-3.0)
    value = AdversarialLoss(spy, size).accumulate(STEP, ours, step_batch(ours, samples))
    before, moved = spy.seen
    torch.testing.assert_close((moved - before).norm(), torch.tensor(size), rtol=1e-4, atol=0)
    assert (moved < before).all()
    assert torch.equal(ours.master.encoder.embeddings.token.weight, before)
    assert value == 1


def test_embeddings_are_restored_when_the_second_pass_fails(stepper: MakeStepper, samples: list[Sample]) -> None:
    ours, spy = stepper(), Spy(gradient=1.0, fails_at=2)
    with pytest.raises(ArithmeticError):
        AdversarialLoss(spy, 1.0).accumulate(STEP, ours, step_batch(ours, samples))
    assert torch.equal(ours.master.encoder.embeddings.token.weight, spy.seen[0])


def test_embeddings_without_a_gradient_stay(stepper: MakeStepper, samples: list[Sample]) -> None:
    ours, spy = stepper(), Spy(gradient=0.0)
    AdversarialLoss(spy, 1.0).accumulate(STEP, ours, step_batch(ours, samples))
    assert torch.equal(spy.seen[1], spy.seen[0])


def test_half_precision_sees_the_moved_embeddings(stepper: MakeStepper, samples: list[Sample]) -> None:
    gradients = []
    for loss in (PlainLoss(), AdversarialLoss(PlainLoss(), 0.7)):
        ours = stepper(0.0, torch.bfloat16)
        loss.accumulate(STEP, ours, step_batch(ours, samples))
        gradients.append([parameter.grad for parameter in ours.master.parameters() if parameter.grad is not None])
    assert any(not torch.allclose(both, 2 * plain, atol=1e-4) for plain, both in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("recipe", "kinds", "needs_probabilities"),
    [
        ({}, [PlainLoss], False),
        ({"r_drop": 0.5}, [RDropLoss], True),
        ({"fgm": 0.25}, [AdversarialLoss, PlainLoss], False),
        ({"fgm": 0.25, "r_drop": 0.5}, [AdversarialLoss, RDropLoss], True),
    ],
)
def test_the_loss_that_a_recipe_asks_for(recipe: dict[str, float], kinds: list[type], needs_probabilities: bool) -> None:
    loss: Any = make_loss(Recipe(**recipe))
    found = [loss, loss.loss] if isinstance(loss, AdversarialLoss) else [loss]
    assert [type(one) for one in found] == kinds
    assert loss.needs_probabilities == needs_probabilities
    assert getattr(found[0], "size", 0.0) == recipe.get("fgm", 0.0)
    assert getattr(found[-1], "weight", 0.0) == recipe.get("r_drop", 0.0)


def test_a_batch_whose_samples_are_compared_is_not_divided(samples: list[Sample]) -> None:
    batch = StepBatch.of(Embed(), nn.Identity(), samples, token_budget=1)
    assert batch.parts == [samples]

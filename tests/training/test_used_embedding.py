"""A token embedding in two parts is the whole one, to whoever looks tokens up, saves it or loads it."""

import pytest
import torch
from torch import nn

from bertsmith.model.bert import Heads
from bertsmith.training.optimiser import make_optimiser
from bertsmith.training.settings import Optimisation
from bertsmith.training.used_embedding import UsedEmbedding, train_used_rows

V, D = 11, 3
USED = torch.tensor([7, 2, 2, 0, 10])


@pytest.fixture
def whole() -> torch.Tensor:
    return torch.arange(V * D, dtype=torch.float32).view(V, D) + 1


def test_tokens_are_looked_up_as_in_the_whole(whole: torch.Tensor) -> None:
    parted, every = UsedEmbedding(whole, USED).eval(), torch.randperm(V)
    assert torch.equal(parted(every), whole[every])
    assert torch.equal(parted.train()(USED), whole[USED])
    assert parted.weight.shape == (4, D)


def test_gradients_reach_the_tokens_in_use(whole: torch.Tensor) -> None:
    parted, reference = UsedEmbedding(whole, USED), nn.Embedding.from_pretrained(whole, freeze=False)
    for embedding in (parted, reference):
        (embedding(USED) * torch.arange(5.0)[:, None]).sum().backward()
    assert torch.equal(parted.weight.grad, reference.weight.grad[[0, 2, 7, 10]])
    assert parted.others.grad is None


def test_others_decay(whole: torch.Tensor) -> None:
    parted = UsedEmbedding(whole, USED)
    optimiser = make_optimiser(parted, Optimisation(weight_decay=0.5), lambda _name: 1.0)
    optimiser.param_groups[0]["lr"] = 0.5
    parted.decay_with(optimiser)
    parted.weight.grad = torch.zeros_like(parted.weight)
    optimiser.step()
    assert torch.equal(parted.state_dict()["weight"], 0.75 * whole)


def test_it_is_saved_and_loaded_as_the_whole(whole: torch.Tensor) -> None:
    parted = UsedEmbedding(whole, USED)
    assert parted.state_dict().keys() == {"weight"}
    assert torch.equal(parted.state_dict()["weight"], whole)
    parted.load_state_dict({"weight": -whole})
    assert torch.equal(parted.state_dict()["weight"], -whole)
    assert torch.equal(parted.eval()(USED), -whole[USED])


def test_an_embedding_that_is_frozen_or_wholly_in_use_stays_as_it_is(random_model) -> None:
    model = random_model(Heads())
    vocabulary = torch.arange(model.config.vocabulary_size)
    assert train_used_rows(model, vocabulary) is None
    model.encoder.embeddings.requires_grad_(False)
    assert train_used_rows(model, vocabulary[:5]) is None
    model.encoder.embeddings.requires_grad_(True)
    assert train_used_rows(model, vocabulary[:5]) is model.encoder.embeddings.token

"""The losses of sentence vectors beside those of sentence-transformers."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from bertsmith.batches.windows import Window
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.task import Sample, SampleBatch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries about each other
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")


def batch_of(n_samples: int, n_texts: int, targets: list[float] | None = None) -> tuple[SampleBatch, torch.Tensor]:
    tokens = iter(range(10, 10_000))
    samples = [
        Sample(
            tuple(Window(np.array([2, next(tokens), 3]), np.zeros(3, np.int64), 0, 1, 1, (0, 1)) for _ in range(n_texts)),
            None if targets is None else targets[number],
        )
        for number in range(n_samples)
    ]
    vectors = torch.randn(n_samples * n_texts, 12, generator=torch.Generator().manual_seed(5), requires_grad=True)
    return SampleBatch.collate(samples), vectors


@pytest.mark.parametrize(
    ("name", "kind", "n_texts"),
    [
        ("MultipleNegativesRankingLoss", "ranking", 2),
        ("MultipleNegativesRankingLoss", "ranking", 4),
        ("CosineSimilarityLoss", "cosine", 2),
        ("CoSENTLoss", "cosent", 2),
    ],
)
def test_value_and_gradient(name: str, kind: str, n_texts: int) -> None:
    targets = None if kind == "ranking" else [0.1, 0.9, 0.5, 0.5, 0.0, 1.0]
    batch, vectors = batch_of(6, n_texts, targets)
    ours = Embed(loss_kind=kind).loss(vectors, batch, nn.Identity()) / 6
    (our_gradient,) = torch.autograd.grad(ours, vectors)
    columns = [vectors[place::n_texts] for place in range(n_texts)]
    theirs = getattr(losses, name)(nn.Identity()).compute_loss_from_embeddings(columns, torch.tensor(targets or [0.0] * 6))
    (their_gradient,) = torch.autograd.grad(theirs, vectors)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-4, atol=1e-6)

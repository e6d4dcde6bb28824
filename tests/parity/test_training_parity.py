"""Side by side with transformers from the same weights on the same batches: the same loss at every optimiser step."""

from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np
import torch
import transformers
from torch.nn import functional as F

from bertsmith.artifacts.directory import load_model
from bertsmith.model.bert import Bert, set_dropout
from bertsmith.types import PackedBatch, PretrainingBatch

N_STEPS = 50
N_BATCHES = 5
VOCABULARY_SIZE = 200
IGNORED = -100


def _batches() -> Iterator[PretrainingBatch]:
    """Uneven random batches with 15 % of the tokens to predict.

    Id 0 stays out: transformers gives the embedding of its padding token no gradient.
    """
    random = np.random.default_rng(0)
    for _ in range(N_BATCHES):
        lengths = random.integers(3, 30, size=8)
        token_ids = random.integers(1, VOCABULARY_SIZE, lengths.sum())
        segment_ids = np.concatenate([np.arange(length) >= length // 2 for length in lengths])
        positions = torch.from_numpy(np.flatnonzero(random.random(len(token_ids)) < 0.15))
        yield PretrainingBatch(
            inputs=PackedBatch.from_arrays(token_ids, segment_ids, lengths),
            masked_positions=positions,
            masked_token_ids=torch.from_numpy(random.integers(1, VOCABULARY_SIZE, len(positions))),
            next_sentence_labels=torch.from_numpy(random.integers(0, 2, len(lengths))),
        )


def _our_loss(model: Bert, batch: PretrainingBatch) -> torch.Tensor:
    out = model(batch.inputs, positions=batch.masked_positions)
    assert batch.next_sentence_labels is not None
    masked_token_loss = F.cross_entropy(out.token_logits, batch.masked_token_ids)
    return masked_token_loss + F.cross_entropy(out.next_sentence_logits, batch.next_sentence_labels)


def test_losses_of_fifty_steps(tmp_path, padded):
    config = transformers.BertConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    theirs = transformers.BertForPreTraining(config).train()
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path).train()
    set_dropout(ours, 0.0)

    def their_loss(batch: PretrainingBatch) -> torch.Tensor:
        view = padded(batch.inputs)
        row_labels = torch.full_like(batch.inputs.token_ids, IGNORED)
        row_labels[batch.masked_positions] = batch.masked_token_ids
        labels = torch.full(view.mask.shape, IGNORED)
        labels[view.mask] = row_labels
        return theirs(**view.inputs, labels=labels, next_sentence_label=batch.next_sentence_labels).loss

    optimisers = [torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01) for model in (ours, theirs)]
    losses = np.empty((N_STEPS, 2))
    for step, batch in enumerate(islice(cycle(_batches()), N_STEPS)):
        for column, (optimiser, loss) in enumerate(zip(optimisers, (_our_loss(ours, batch), their_loss(batch)), strict=True)):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses[step, column] = loss.item()
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=0, atol=1e-4)
    assert losses[-N_BATCHES:, 0].mean() < losses[:N_BATCHES, 0].mean() - 1, "nothing was learned, so the steps show little"

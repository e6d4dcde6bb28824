"""What is summed up over batches, against counting by hand."""

import math

import torch

from bertsmith.model.bert import BertOutput
from bertsmith.pretraining.losses import Tally, n_pairs, pretraining_loss
from bertsmith.types import PackedBatch, PretrainingBatch

VOCABULARY = 11


def batch_of(n_masked: int, n_sequences: int, seed: int, has_pairs: bool = True) -> tuple[BertOutput, PretrainingBatch]:
    """Random scores and labels for ``n_sequences`` sequences of five tokens."""
    generator = torch.Generator().manual_seed(seed)
    inputs = PackedBatch(
        token_ids=torch.zeros(5 * n_sequences, dtype=torch.int64),
        segment_ids=torch.zeros(5 * n_sequences, dtype=torch.int64),
        position_ids=torch.arange(5).repeat(n_sequences),
        cu_seqlens=torch.arange(0, 5 * n_sequences + 1, 5, dtype=torch.int32),
        max_seqlen=5,
    )
    batch = PretrainingBatch(
        inputs,
        masked_positions=torch.arange(n_masked),
        masked_token_ids=torch.randint(VOCABULARY, (n_masked,), generator=generator),
        next_sentence_labels=torch.randint(2, (n_sequences,), generator=generator) if has_pairs else None,
    )
    output = BertOutput(
        hidden=torch.zeros(5 * n_sequences, 4),
        token_logits=torch.randn(n_masked, VOCABULARY, generator=generator),
        next_sentence_logits=torch.randn(n_sequences, 2, generator=generator),
    )
    return output, batch


def by_hand(logits: torch.Tensor | None, labels: torch.Tensor | None) -> tuple[list[float], int]:
    """Return the loss of each prediction and how many are right, one after the other in plain Python."""
    assert logits is not None and labels is not None
    losses, right = [], 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        losses.append(math.log(sum(math.exp(score) for score in row)) - row[label])
        right += max(range(len(row)), key=row.__getitem__) == label
    return losses, right


def test_losses_and_accuracies_over_uneven_batches() -> None:
    made = [batch_of(9, 4, seed=0), batch_of(2, 3, seed=1), batch_of(0, 1, seed=2)]
    masked = sum(len(batch.masked_positions) for _, batch in made)
    pairs = sum(n_pairs(batch) for _, batch in made)
    tally = Tally(torch.device("cpu"))
    loss = sum(pretraining_loss(output, batch, masked, pairs, tally).item() for output, batch in made)

    tokens = [by_hand(output.token_logits, batch.masked_token_ids) for output, batch in made]
    sentences = [by_hand(output.next_sentence_logits, batch.next_sentence_labels) for output, batch in made]
    expected = {
        "mlm_loss": sum(sum(losses) for losses, _ in tokens) / 11,
        "mlm_accuracy": sum(right for _, right in tokens) / 11,
        "nsp_loss": sum(sum(losses) for losses, _ in sentences) / 8,
        "nsp_accuracy": sum(right for _, right in sentences) / 8,
    }
    means = tally.means()
    assert means.keys() == expected.keys()
    for name, value in expected.items():
        assert math.isclose(means[name], value, rel_tol=1e-6), name
    assert math.isclose(loss, expected["mlm_loss"] + expected["nsp_loss"], rel_tol=1e-6)
    assert tally.tokens == 40


def test_without_pairs_there_is_no_next_sentence_score() -> None:
    output, batch = batch_of(3, 2, seed=0, has_pairs=False)
    tally = Tally(torch.device("cpu"))
    loss = pretraining_loss(output, batch, 3, n_pairs(batch), tally)
    assert tally.means().keys() == {"mlm_loss", "mlm_accuracy"}
    assert math.isclose(loss.item(), tally.means()["mlm_loss"], rel_tol=1e-6)


def test_nothing_to_predict_is_a_loss_of_zero_with_gradients() -> None:
    output, batch = batch_of(0, 2, seed=0, has_pairs=False)
    assert output.token_logits is not None
    output.token_logits.requires_grad_()
    loss = pretraining_loss(output, batch, 0, 0, Tally(torch.device("cpu")))
    loss.backward()
    assert loss.item() == 0.0

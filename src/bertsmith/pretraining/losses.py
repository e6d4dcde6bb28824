"""The pre-training loss and the counts that go with it.

Dimensions: M positions to predict, B sequences, V vocabulary.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from bertsmith.model.bert import BertOutput
from bertsmith.types import PretrainingBatch


class Tally:
    """Sums over batches from which mean losses and accuracies follow; two tallies add up by adding ``sums``."""

    _NAMES = ("mlm_loss", "mlm_correct", "masked", "nsp_loss", "nsp_correct", "pairs", "tokens")

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(len(self._NAMES), dtype=torch.float64, device=device)

    def add(self, values: Iterable[Tensor | float]) -> None:
        """Add one batch's values, in the order of the names."""
        # Numbers are not copied to a GPU, which would wait for all that is under way there, but written there.
        self.sums += torch.stack(
            [value.double() if isinstance(value, Tensor) else self.sums.new_full((), value) for value in values]
        )

    def means(self) -> dict[str, float]:
        """Return mean losses and accuracies; those of the next sentence only where there were pairs."""
        sums = dict(zip(self._NAMES, self.sums.tolist(), strict=True))
        masked, pairs = max(sums["masked"], 1.0), sums["pairs"]
        means = {"mlm_loss": sums["mlm_loss"] / masked, "mlm_accuracy": sums["mlm_correct"] / masked}
        if pairs:
            means |= {"nsp_loss": sums["nsp_loss"] / pairs, "nsp_accuracy": sums["nsp_correct"] / pairs}
        return means

    @property
    def tokens(self) -> int:
        """Tokens seen."""
        return int(self.sums[-1].item())


def n_pairs(batch: PretrainingBatch) -> int:
    """Return how many next-sentence labels the batch has."""
    return 0 if batch.next_sentence_labels is None else len(batch.next_sentence_labels)


def pretraining_loss(output: BertOutput, batch: PretrainingBatch, masked: float, pairs: float, tally: Tally) -> Tensor:
    """Return the batch's share of the loss, mean masked-token loss plus mean next-sentence loss, and count it in ``tally``.

    ``masked`` and ``pairs`` are the numbers of predictions of the whole optimiser step, over all its batches and ranks, so
    that every prediction weighs the same however the step is divided (Devlin et al. 2019, appendix A.2).
    """
    assert output.token_logits is not None
    logits_MV = output.token_logits.float()
    mlm_loss = F.cross_entropy(logits_MV, batch.masked_token_ids, reduction="sum")
    mlm_correct = (logits_MV.detach().argmax(dim=-1) == batch.masked_token_ids).sum()
    loss = mlm_loss / max(masked, 1.0)
    nsp_loss: Tensor | float = 0.0
    nsp_correct: Tensor | float = 0.0
    if batch.next_sentence_labels is not None and output.next_sentence_logits is not None:
        logits_B2 = output.next_sentence_logits.float()
        nsp_loss = F.cross_entropy(logits_B2, batch.next_sentence_labels, reduction="sum")
        nsp_correct = (logits_B2.detach().argmax(dim=-1) == batch.next_sentence_labels).sum()
        loss = loss + nsp_loss / pairs
        nsp_loss = nsp_loss.detach()
    tally.add((mlm_loss.detach(), mlm_correct, len(logits_MV), nsp_loss, nsp_correct, n_pairs(batch), batch.inputs.n_tokens))
    return loss

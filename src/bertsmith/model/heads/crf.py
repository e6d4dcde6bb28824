"""A linear-chain conditional random field: scores whole sequences of labels (Lafferty et al. 2001; Lample et al. 2016).

Dimensions: M words of all sequences laid end to end, B sequences, A those of them that have a word at a step, C labels,
L steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

# Finite, so that gradients stay finite where a label cannot be reached at all.
_FORBIDDEN = -1e4


class ConditionalRandomField(nn.Module):
    """Scores a sequence of labels by each word's emissions, each move from label to label, its start and its end.

    All sequences of a batch advance together, word by word, and leave as they end. Everything is computed in float32.

    Args:
        allowed_CC: which label may follow which, from row to column; what is not allowed is never learnt nor returned
            as long as the sequence has an allowed labelling.
        starts_C: which labels may come first.
        ends_C: which labels may come last.
    """

    def __init__(self, allowed_CC: Bool[Tensor, "C C"], starts_C: Bool[Tensor, " C"], ends_C: Bool[Tensor, " C"]) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(allowed_CC.shape))
        self.starts = nn.Parameter(torch.zeros(starts_C.shape))
        self.ends = nn.Parameter(torch.zeros(ends_C.shape))
        # No buffers, since those of a model that is built without memory lose their values.
        self.allowed_moves, self.allowed_starts, self.allowed_ends = allowed_CC, starts_C, ends_C

    def negative_log_likelihood(
        self,
        emissions_MC: Float[Tensor, "M C"],
        labels_M: Int[Tensor, " M"],
        lengths: Sequence[int],
        begins_B: Bool[Tensor, " B"] | None = None,
        ends_B: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, " B"]:
        """Return, for each sequence, minus the natural logarithm of the probability of its labels; 0 for an empty one.

        ``begins_B`` and ``ends_B`` say which sequences begin and end with their sentence, all unless given. Where one is cut
        out of its sentence, any label may stand, and none has a score of starting or ending.
        """
        emissions_MC = _normalised(emissions_MC)
        scores = self._scores(len(lengths), begins_B, ends_B)
        return _log_partition(emissions_MC, lengths, scores) - _path_scores(emissions_MC, labels_M, lengths, scores)

    @torch.no_grad()
    def viterbi(self, emissions_MC: Float[Tensor, "M C"], lengths: Sequence[int]) -> list[list[int]]:
        """Return the likeliest labels of each sequence."""
        lockstep = _lockstep(lengths)
        came_from: list[Tensor] = []  # (A, C) for each step but the first

        def best(candidates_ACC: Tensor) -> Tensor:
            scores_AC, labels_AC = candidates_ACC.max(1)
            came_from.append(labels_AC)
            return scores_AC

        last_labels_A = _final_scores(_normalised(emissions_MC), lockstep, self._scores(len(lengths)), best).argmax(1)
        labels_A = last_labels_A[: lockstep.alive[-1]]
        backwards = [labels_A]
        for alive, step_came_from_AC in zip(lockstep.alive[-2::-1], reversed(came_from), strict=True):
            labels_A = step_came_from_AC.gather(1, labels_A[:, None])[:, 0]
            labels_A = torch.cat([labels_A, last_labels_A[len(labels_A) : alive]])
            backwards.append(labels_A)
        labels_M = torch.empty_like(lockstep.rows)
        labels_M[lockstep.rows] = torch.cat(backwards[::-1]).cpu()
        return [labels.tolist() for labels in torch.split(labels_M, list(lengths))]

    def marginals(self, emissions_MC: Float[Tensor, "M C"], lengths: Sequence[int]) -> Float[Tensor, "M C"]:
        """Return the probability of each label at each word, summed over all labellings of its sequence."""
        # The log-partition function's gradient: forward-backward is back-propagation through the forward algorithm.
        with torch.inference_mode(False), torch.enable_grad():
            leaf_MC = _normalised(emissions_MC.detach().clone()).requires_grad_()
            log_partition_B = _log_partition(leaf_MC, lengths, self._scores(len(lengths)))
            (marginals_MC,) = torch.autograd.grad(log_partition_B.sum(), leaf_MC)
        return marginals_MC

    def _scores(self, n_sequences: int, begins_B: Tensor | None = None, ends_B: Tensor | None = None) -> "_Scores":
        """Return the scores of moves, starts and ends, those not allowed far below all others."""
        moves_CC, starts_C, ends_C = (
            learnt.float().masked_fill(~allowed.to(learnt.device), _FORBIDDEN)
            for learnt, allowed in (
                (self.transitions, self.allowed_moves),
                (self.starts, self.allowed_starts),
                (self.ends, self.allowed_ends),
            )
        )
        every_B = torch.ones(n_sequences, dtype=torch.bool, device=starts_C.device)
        starts_BC, ends_BC = (
            torch.where((every_B if applies_B is None else applies_B)[:, None], scores_C, 0.0)
            for applies_B, scores_C in ((begins_B, starts_C), (ends_B, ends_C))
        )
        return _Scores(moves_CC, starts_BC, ends_BC)


class _Scores(NamedTuple):
    """The scores of moves from row to column (C, C), and of the starts and ends of each sequence (B, C)."""

    moves: Tensor
    starts: Tensor
    ends: Tensor


def _normalised(emissions_MC: Tensor) -> Tensor:
    """Shift the scores of each word, which changes no probability, so that those of long sequences keep their digits."""
    return emissions_MC.float().log_softmax(1)


@dataclass(frozen=True, slots=True)
class _Lockstep:
    """The words of a batch by step: the first words of all sequences, longest sequence first, then the second words...

    longest_first  (A,)  sequences that have words; those with a word at a given step are always the first few
    alive                how many have a word at each step, at least one step
    rows           (M,)  which word stands where in this order
    """

    longest_first: Tensor
    alive: list[int]
    rows: Tensor


def _lockstep(lengths: Sequence[int]) -> _Lockstep:
    lengths_B = torch.tensor(lengths, dtype=torch.long)
    longest_first_B = lengths_B.argsort(descending=True, stable=True)
    first_rows_B = (lengths_B.cumsum(0) - lengths_B)[longest_first_B]
    steps_L = torch.arange(max([1, *lengths]))
    is_alive_LB = steps_L[:, None] < lengths_B[longest_first_B]
    alive = is_alive_LB.sum(1).tolist()
    return _Lockstep(longest_first_B[: alive[0]], alive, (steps_L[:, None] + first_rows_B)[is_alive_LB])


def _log_partition(emissions_MC: Tensor, lengths: Sequence[int], scores: _Scores) -> Tensor:
    """Return the logarithm of the sum over all labellings of each sequence (B,)."""
    lockstep = _lockstep(lengths)
    final_AC = _final_scores(emissions_MC, lockstep, scores, lambda candidates_ACC: candidates_ACC.logsumexp(1))
    empty_B = final_AC.new_zeros(len(lengths))
    return empty_B.index_copy(0, lockstep.longest_first.to(empty_B.device), final_AC.logsumexp(1))


def _final_scores(emissions_MC: Tensor, lockstep: _Lockstep, scores: _Scores, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Return scores by last label (A, C) of the sequences that have words, the longest first.

    ``reduce`` takes scores of coming to each label from each other, (A, from, to), to scores of being there, (A, to).
    """
    longest_first_A = lockstep.longest_first.to(emissions_MC.device)
    stepwise_MC = emissions_MC[lockstep.rows.to(emissions_MC.device)]
    first_AC, *later = torch.split(stepwise_MC, lockstep.alive)
    scores_AC = scores.starts[longest_first_A] + first_AC
    ended = []
    for emissions_AC in later:
        alive = len(emissions_AC)
        ended.append(scores_AC[alive:])
        scores_AC = reduce(scores_AC[:alive, :, None] + scores.moves) + emissions_AC
    return torch.cat([scores_AC, *reversed(ended)]) + scores.ends[longest_first_A]


def _path_scores(emissions_MC: Tensor, labels_M: Tensor, lengths: Sequence[int], scores: _Scores) -> Tensor:
    """Return the score of the given labels of each sequence (B,)."""
    labels_M = labels_M.long()
    sequence_M = torch.repeat_interleave(torch.tensor(lengths, dtype=torch.long)).to(labels_M.device)
    continues_M = sequence_M == sequence_M.roll(1)
    continues_M[:1] = False
    moves_M, starts_M = scores.moves[labels_M.roll(1), labels_M], scores.starts[sequence_M, labels_M]
    entering_M = torch.where(continues_M, moves_M, starts_M)
    leaving_M = torch.where(continues_M.roll(-1), 0.0, scores.ends[sequence_M, labels_M])
    words_M = emissions_MC.gather(1, labels_M[:, None])[:, 0] + entering_M + leaving_M
    return words_M.new_zeros(len(lengths)).index_add(0, sequence_M, words_M)

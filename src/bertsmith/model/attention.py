"""Scaled dot-product attention over packed sequences: one interface, several backends.

A backend is a class whose instance is planned for one batch, once, and then attends in every layer. No backend ever
lets a token see another sequence.

Dimensions: T tokens of the batch laid end to end, N heads, H head width, S tokens of a sequence; G sequences of a group.
"""

from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from bertsmith.model.attention_plan import Attended, AttentionPlan
from bertsmith.model.block_attention import BlockAttention
from bertsmith.types import PackedBatch


def plan_attention(batch: PackedBatch, dtype: torch.dtype, dropout: float, want_probabilities: bool) -> AttentionPlan:
    """Choose the backend for this batch, where it lies and what is asked of it, and plan it."""
    if want_probabilities:
        return EagerAttention(batch)
    if torch.is_autocast_enabled(batch.token_ids.device.type):
        dtype = torch.get_autocast_dtype(batch.token_ids.device.type)
    # The flash kernels have no float32.
    if batch.token_ids.is_cuda and dtype in (torch.float16, torch.bfloat16):
        return VarlenAttention(batch)
    # On a CPU the fused kernel has no dropout, and in bf16 it is slow with many sequences and in its backward pass.
    is_one_to_read = batch.n_sequences == 1 and not torch.is_grad_enabled()
    if batch.token_ids.device.type == "cpu" and (dropout > 0.0 or (dtype == torch.bfloat16 and not is_one_to_read)):
        return BlockAttention(batch)
    return GroupedAttention(batch)


class EagerAttention:
    """One sequence at a time, in plain operations, with the probabilities: what the other backends are tested against."""

    def __init__(self, batch: PackedBatch) -> None:
        self._lengths = batch.cu_seqlens.diff().tolist()

    def attend(self, query_key_value: Float[Tensor, "T 3 N H"], dropout: float) -> Attended:
        """Return the context vectors (T, N, H) and the probabilities of each sequence."""
        contexts, probabilities = [], []
        for sequence_S3NH in torch.split(query_key_value, self._lengths):
            query_NSH, key_NSH, value_NSH = sequence_S3NH.permute(1, 2, 0, 3)
            scores_NSS = query_NSH @ key_NSH.transpose(1, 2) * query_NSH.shape[-1] ** -0.5
            probabilities_NSS = scores_NSS.softmax(dim=-1)
            contexts.append((F.dropout(probabilities_NSS, dropout) @ value_NSH).transpose(0, 1))
            probabilities.append(probabilities_NSS)
        return Attended(torch.cat(contexts), tuple(probabilities))


class GroupedAttention:
    """Neighbouring sequences of equal length attend together in PyTorch's fused kernel, without padding.

    The loader lays the sequences of a batch in order of length, so that groups are few.
    """

    def __init__(self, batch: PackedBatch) -> None:
        lengths = batch.cu_seqlens.diff().tolist()
        self._groups = [(length, len(list(group))) for length, group in groupby(lengths)]

    def attend(self, query_key_value: Float[Tensor, "T 3 N H"], dropout: float) -> Attended:
        """Return the context vectors (T, N, H)."""
        contexts = []
        groups = torch.split(query_key_value, [length * count for length, count in self._groups])
        for (length, count), group in zip(self._groups, groups, strict=True):
            query_GNSH, key_GNSH, value_GNSH = group.view(count, length, *group.shape[1:]).permute(2, 0, 3, 1, 4)
            context_GNSH = F.scaled_dot_product_attention(query_GNSH, key_GNSH, value_GNSH, dropout_p=dropout)
            contexts.append(context_GNSH.transpose(1, 2).flatten(0, 1))
        return Attended(torch.cat(contexts))


class VarlenAttention:
    """CUDA flash attention over all sequences in one kernel."""

    def __init__(self, batch: PackedBatch) -> None:
        self._cu_seqlens, self._max_seqlen = batch.cu_seqlens, batch.max_seqlen

    def attend(self, query_key_value: Float[Tensor, "T 3 N H"], dropout: float) -> Attended:
        """Return the context vectors (T, N, H)."""
        query_TNH, key_TNH, value_TNH = query_key_value.unbind(1)
        ends, longest = self._cu_seqlens, self._max_seqlen
        if dropout:
            # The kernel behind varlen_attn, which has no dropout itself.
            flash = torch.ops.aten._flash_attention_forward
            return Attended(flash(query_TNH, key_TNH, value_TNH, ends, ends, longest, longest, dropout, False, False)[0])
        from torch.nn.attention.varlen import varlen_attn

        context_TNH = varlen_attn(query_TNH, key_TNH, value_TNH, ends, ends, longest, longest)
        assert isinstance(context_TNH, Tensor)  # a tuple only when the log-sum-exp is asked for
        return Attended(context_TNH)

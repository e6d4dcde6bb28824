"""Scaled dot-product attention over packed sequences: one interface, several backends.

A backend is a class whose instance is planned for one batch, once, and then attends in every layer. No backend ever
lets a token see another sequence.

Dimensions: T tokens of the batch laid end to end, N heads, H head width; G sequences of a block, S the longest of them, W at
least S; C sequences and heads computed at a time.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from bertsmith.model.dropout import keep_mask, keep_scale, masked
from bertsmith.types import PackedBatch


@dataclass(frozen=True, slots=True)
class Attended:
    """Attended tokens, and where wanted the attention probabilities of each sequence, each (N, S, S)."""

    context: Tensor
    probabilities: tuple[Tensor, ...] | None = None


@runtime_checkable
class AttentionPlan(Protocol):
    """A backend planned for one batch."""

    def attend(self, query_key_value: Float[Tensor, "T 3 N H"], dropout: float) -> Attended:
        """Return the context vectors (T, N, H)."""


def plan_attention(batch: PackedBatch, dtype: torch.dtype, dropout: float, want_probabilities: bool) -> AttentionPlan:
    """Choose the backend for this batch, where it lies and what is asked of it, and plan it."""
    if want_probabilities:
        return EagerAttention(batch)
    if torch.is_autocast_enabled(batch.token_ids.device.type):
        dtype = torch.get_autocast_dtype(batch.token_ids.device.type)
    # The flash kernels have no float32.
    if batch.token_ids.is_cuda and dtype in (torch.float16, torch.bfloat16):
        return VarlenAttention(batch)
    # On a CPU the fused kernel has no dropout, and in bf16 its backward pass is slow.
    if batch.token_ids.device.type == "cpu" and (dropout > 0.0 or dtype == torch.bfloat16):
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


class BlockAttention:
    """Neighbouring sequences of similar length attend together on a CPU, a cache's worth of scores at a time.

    Only within the blocks are they brought to one length; what is scored for nothing is less work than more, smaller
    products. The backward pass is written out, so that scores are neither copied nor kept where they are not needed.
    """

    def __init__(self, batch: PackedBatch) -> None:
        self._blocks: list[_Block] = []
        start = 0
        for _, group in groupby(batch.cu_seqlens.diff().tolist(), key=lambda length: -(-length // _WIDTH_STEP)):
            block = _Block.of(start, list(group))
            self._blocks.append(block)
            start = block.stop

    def attend(self, query_key_value: Float[Tensor, "T 3 N H"], dropout: float) -> Attended:
        """Return the context vectors (T, N, H)."""
        return Attended(_Attention.apply(query_key_value, self._blocks, dropout))  # type: ignore[no-untyped-call]


# Softmax over rows whose length is no multiple of this is up to six times slower.
_WIDTH_STEP = 32
# Scores that are computed at a time, so that they and what is made of them stay in the cache.
_SCORES_AT_A_TIME = 1 << 20


@dataclass(frozen=True, slots=True)
class _Block:
    """Sequences that attend together: rows ``start`` to ``stop`` of the batch.

    places       (rows,)    where each row stands among G sequences of W places, laid end to end
    is_padding   (G, 1, W)  whether a place holds no token
    """

    start: int
    stop: int
    n_sequences: int
    longest: int
    width: int
    places: Tensor
    is_padding: Tensor

    @classmethod
    def of(cls, start: int, lengths: list[int]) -> "_Block":
        """Plan for sequences of these lengths, the first of which begins at row ``start``."""
        longest = max(lengths)
        width = -(-longest // _WIDTH_STEP) * _WIDTH_STEP
        is_token_GW = torch.arange(width) < torch.tensor(lengths)[:, None]
        places = is_token_GW.flatten().nonzero().flatten()
        return cls(start, start + len(places), len(lengths), longest, width, places, ~is_token_GW[:, None])

    def spread(self, rows: Tensor) -> Tensor:
        """Lay rows of the batch, each (K, N, H), out as (K, G N, W, H), 0 where no token is."""
        laid = rows.new_zeros(self.n_sequences * self.width, *rows.shape[1:])
        laid.index_copy_(0, self.places, rows[self.start : self.stop])
        laid = laid.view(self.n_sequences, self.width, *rows.shape[1:]).permute(2, 0, 3, 1, 4).contiguous()
        return laid.flatten(1, 2)

    def gather(self, laid: Tensor, n_heads: int) -> Tensor:
        """Return the rows (rows, K, N, H) of what is laid out as (K, G N, W, H)."""
        laid = laid.view(len(laid), self.n_sequences, n_heads, *laid.shape[2:])
        rows = laid.permute(1, 3, 0, 2, 4).flatten(0, 1)
        return rows.index_select(0, self.places)

    def biases(self, n_heads: int, dtype: torch.dtype) -> Tensor:
        """Return what is added to scores, (G N, 1, W): 0, and minus infinity where no token is."""
        bias_G1W = torch.zeros(self.is_padding.shape, dtype=dtype).masked_fill_(self.is_padding, -torch.inf)
        return bias_G1W.repeat_interleave(n_heads, dim=0)

    def parts(self, n_heads: int) -> list[slice]:
        """Return the stretches of sequences and heads that are computed at a time."""
        size = max(1, _SCORES_AT_A_TIME // (self.longest * self.width))
        total = self.n_sequences * n_heads
        return [slice(first, min(first + size, total)) for first in range(0, total, size)]


class _Attention(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, query_key_value: Tensor, blocks: list[_Block], dropout: float) -> Tensor:
        n_heads, head_width = query_key_value.shape[2:]
        context_TNH = query_key_value.new_empty(len(query_key_value), n_heads, head_width)
        saved: list[Tensor] = []
        for block in blocks:
            query, key, value = block.spread(query_key_value)
            bias = block.biases(n_heads, query.dtype)
            laid = torch.empty_like(query)
            for part in block.parts(n_heads):
                query_CSH = query[part, : block.longest]
                scores_CSW = torch.baddbmm(bias[part], query_CSH, key[part].transpose(1, 2), alpha=head_width**-0.5)
                probabilities_CSW = torch.softmax(scores_CSW, dim=-1, out=scores_CSW)
                saved.append(probabilities_CSW)
                if dropout:
                    saved.append(keep_mask(probabilities_CSW.shape, dropout))
                    probabilities_CSW = masked(probabilities_CSW, saved[-1])
                laid[part, : block.longest] = probabilities_CSW @ value[part]
            context_TNH[block.start : block.stop] = block.gather(laid[None], n_heads)[:, 0]
        ctx.save_for_backward(query_key_value, *saved)
        ctx.blocks, ctx.dropout = blocks, dropout  # type: ignore[attr-defined]
        return context_TNH.mul_(keep_scale(dropout))

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient_TNH: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        query_key_value, *saved = ctx.saved_tensors
        n_heads, head_width = query_key_value.shape[2:]
        gradient = torch.empty_like(query_key_value)
        remaining = iter(saved)
        for block in ctx.blocks:
            laid = block.spread(query_key_value)
            query, key, value = laid
            context = block.spread(gradient_TNH[:, None])[0].mul_(keep_scale(ctx.dropout))
            changes = torch.zeros_like(laid)
            for part in block.parts(n_heads):
                probabilities_CSW = next(remaining)
                kept_CSW = next(remaining) if ctx.dropout else None
                context_CSH, query_CSH = (one[part, : block.longest] for one in (context, query))
                weights_CSW = probabilities_CSW if kept_CSW is None else masked(probabilities_CSW, kept_CSW)
                changes[2, part] = weights_CSW.transpose(1, 2) @ context_CSH
                weights_CSW = context_CSH @ value[part].transpose(1, 2)
                if kept_CSW is not None:
                    weights_CSW = masked(weights_CSW, kept_CSW)
                scores_CSW = torch._softmax_backward_data(weights_CSW, probabilities_CSW, -1, weights_CSW.dtype)
                changes[0, part, : block.longest] = scores_CSW @ key[part]
                changes[1, part] = scores_CSW.transpose(1, 2) @ query_CSH
            changes[:2] *= head_width**-0.5
            gradient[block.start : block.stop] = block.gather(changes, n_heads)
        return gradient, None, None


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

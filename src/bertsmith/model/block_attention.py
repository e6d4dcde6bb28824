"""Attention on a CPU in blocks of sequences of similar length, with its backward pass written out.

For the queries Q, keys K and values V of one head and one sequence, with rows of width H, and a random D whose elements are 0
where dropout drops a probability and 1 / (1 - rate) where it keeps it::

    S = Q K^T / sqrt(H)        dV = (P ∘ D)^T dO
    P = softmax(S)             dP = (dO V^T) ∘ D
    O = (P ∘ D) V              dS = P ∘ (dP - rowsum(P ∘ dP))
                               dQ = dS K / sqrt(H)
                               dK = dS^T Q / sqrt(H)

``∘`` multiplies element by element, the softmax is over each row, and dX is the gradient of the loss with respect to X
(Vaswani et al. 2017, section 3.2.1). D is kept as a mask: its factor 1 / (1 - rate) multiplies O and dO. The factor
1 / sqrt(H) of dQ and dK comes last.

Dimensions: T tokens of the batch laid end to end, N heads, H head width; G sequences of a block, L the longest of them, W at
least L; C sequences and heads computed at a time.
"""

from functools import cached_property
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable

from bertsmith.model.attention_plan import Attended
from bertsmith.model.dropout import keep_mask, keep_scale, masked
from bertsmith.types import PackedBatch

# Softmax over rows whose length is no multiple of this is up to six times slower.
_WIDTH_STEP = 32
# How many scores are computed at a time, so that they and what is made of them stay in the cache.
_SCORES_AT_A_TIME = 1 << 20


class BlockAttention:
    """Neighbouring sequences of similar length attend together on a CPU, a cache's worth of scores at a time.

    The sequences of a block are brought to one length: scores of places without a token are less work than more, smaller
    products. The backward pass is written out, so that scores are neither copied nor kept where they are not needed.
    """

    def __init__(self, batch: PackedBatch) -> None:
        self._blocks: list[tuple[int, list[int]]] = []
        start = 0
        for _, group in groupby(batch.cu_seqlens.diff().tolist(), key=lambda length: -(-length // _WIDTH_STEP)):
            lengths = list(group)
            self._blocks.append((start, lengths))
            start += sum(lengths)
        self._layouts: dict[int, list[_Layout]] = {}  # by the number of heads, in which layers may differ

    def attend(self, query_key_value: Float[Tensor, "T 3 N H"], dropout: float) -> Attended:
        """Return the context vectors (T, N, H)."""
        n_heads = query_key_value.shape[2]
        if n_heads not in self._layouts:
            self._layouts[n_heads] = [_Layout(start, lengths, n_heads) for start, lengths in self._blocks]
        return Attended(_Attention.apply(query_key_value, self._layouts[n_heads], dropout))  # type: ignore[no-untyped-call]


class _Layout:
    """Where the vectors of G sequences stand that attend together, of L places for queries and W for keys and values.

    A vector is what one head has at one token; those of the batch are numbered as (T, 3, N) and as (T, N), those laid out as
    (G N, L) for queries and contexts and as (G N, W) for keys and for values. A place without a token holds the vector of its
    sequence's last one, so that nothing of another sequence comes near.
    """

    def __init__(self, start: int, lengths: list[int], n_heads: int) -> None:
        longest = max(lengths)
        width = -(-longest // _WIDTH_STEP) * _WIDTH_STEP
        self.shape_LW = (longest, width)
        self.n_rows, self._n_heads = len(lengths) * n_heads, n_heads
        stop = start + sum(lengths)
        # The batch's vectors that are theirs, of (T, N) and of (T, 3, N).
        self.heads, self.kinds = slice(start * n_heads, stop * n_heads), slice(3 * start * n_heads, 3 * stop * n_heads)
        lengths_G1 = torch.tensor(lengths)[:, None]
        starts_G1 = start + lengths_G1.cumsum(0) - lengths_G1
        places_W = torch.arange(width)
        self._is_token_GW = places_W < lengths_G1
        token_GW = starts_G1 + torch.minimum(places_W, lengths_G1 - 1)
        head_N1 = torch.arange(n_heads)[:, None]
        # Of the vectors (T, 3, N): those to lay out as queries, keys and values.
        self.taken = torch.cat(
            [
                ((token_GS[:, None] * 3 + kind) * n_heads + head_N1).flatten()
                for kind, token_GS in enumerate((token_GW[:, :longest], token_GW, token_GW))
            ]
        )
        # Of the vectors (T, N): those to lay out as contexts.
        self.attended = (token_GW[:, None, :longest] * n_heads + head_N1).flatten()

    def split(self, laid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors laid out end to end as queries (G N, L, H), keys and values (G N, W, H)."""
        longest, width = self.shape_LW
        parts = torch.split(laid, [self.n_rows * places for places in (longest, width, width)])
        query, key, value = (part.view(self.n_rows, -1, part.shape[-1]) for part in parts)
        return query, key, value

    @cached_property
    def contexts(self) -> Tensor:
        """Of the contexts laid out: those of each token and head in order."""
        return self._places(self.shape_LW[0])

    @cached_property
    def gradients(self) -> Tensor:
        """Of queries, keys and values laid out end to end: those of each token, kind and head in order."""
        longest, width = self.shape_LW
        key = self.n_rows * longest + self._places(width)
        every = [self._places(longest), key, key + self.n_rows * width]
        return torch.stack([one.view(-1, self._n_heads) for one in every], dim=1).flatten()

    @cached_property
    def vacant(self) -> Tensor:
        """Of the contexts laid out: those where no token is."""
        is_vacant_GL = ~self._is_token_GW[:, : self.shape_LW[0]]
        return is_vacant_GL.repeat_interleave(self._n_heads, dim=0).flatten().nonzero().flatten()

    def biases(self, dtype: torch.dtype) -> Tensor:
        """Return what is added to scores, (G N, 1, W): 0, and minus infinity where no token is."""
        bias_GW = torch.zeros(self._is_token_GW.shape, dtype=dtype).masked_fill_(~self._is_token_GW, -torch.inf)
        return bias_GW.repeat_interleave(self._n_heads, dim=0)[:, None]

    def parts(self) -> list[slice]:
        """Return the stretches of sequences and heads that are computed at a time."""
        longest, width = self.shape_LW
        size = max(1, _SCORES_AT_A_TIME // (longest * width))
        return [slice(first, min(first + size, self.n_rows)) for first in range(0, self.n_rows, size)]

    def _places(self, width: int) -> Tensor:
        """Return where, among (G N, width) places, the vector of each token and head in order stands."""
        sequence_T1, place_T1 = (one[:, None] for one in self._is_token_GW.nonzero(as_tuple=True))
        return ((sequence_T1 * self._n_heads + torch.arange(self._n_heads)) * width + place_T1).flatten()


class _Attention(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, query_key_value: Tensor, layouts: list[_Layout], dropout: float) -> Tensor:
        n_heads, head_width = query_key_value.shape[2:]
        vectors = query_key_value.reshape(-1, head_width)
        contexts = vectors.new_empty(len(query_key_value) * n_heads, head_width)
        saved: list[Tensor] = []
        for layout in layouts:
            query, key, value = layout.split(vectors.index_select(0, layout.taken))
            bias = layout.biases(query.dtype)
            context = torch.empty_like(query)
            for part in layout.parts():
                scores_CLW = torch.baddbmm(bias[part], query[part], key[part].transpose(1, 2), alpha=head_width**-0.5)
                probabilities_CLW = torch.softmax(scores_CLW, dim=-1, out=scores_CLW)
                saved.append(probabilities_CLW)
                if dropout:
                    saved.append(keep_mask(probabilities_CLW.shape, dropout))
                    probabilities_CLW = masked(probabilities_CLW, saved[-1])
                torch.bmm(probabilities_CLW, value[part], out=context[part])
            torch.index_select(context.view(-1, head_width), 0, layout.contexts, out=contexts[layout.heads])
        ctx.save_for_backward(vectors, *saved)
        ctx.layouts, ctx.dropout, ctx.shape = layouts, dropout, query_key_value.shape  # type: ignore[attr-defined]
        if dropout:
            contexts.mul_(keep_scale(dropout))
        return contexts.view(-1, n_heads, head_width)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient_TNH: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        vectors, *saved = ctx.saved_tensors
        head_width = ctx.shape[-1]
        gradient = torch.empty_like(vectors)
        contexts = gradient_TNH.reshape(-1, head_width)
        remaining = iter(saved)
        for layout in ctx.layouts:
            laid = vectors.index_select(0, layout.taken)
            query, key, value = layout.split(laid)
            changes = torch.empty_like(laid)
            query_change, key_change, value_change = layout.split(changes)
            context = contexts.index_select(0, layout.attended).index_fill_(0, layout.vacant, 0.0).view_as(query)
            if ctx.dropout:
                context.mul_(keep_scale(ctx.dropout))
            for part in layout.parts():
                probabilities_CLW = next(remaining)
                kept_CLW = next(remaining) if ctx.dropout else None
                weights_CLW = probabilities_CLW if kept_CLW is None else masked(probabilities_CLW, kept_CLW)
                torch.bmm(weights_CLW.transpose(1, 2), context[part], out=value_change[part])
                weights_CLW = context[part] @ value[part].transpose(1, 2)
                if kept_CLW is not None:
                    weights_CLW = masked(weights_CLW, kept_CLW)
                scores_CLW = torch._softmax_backward_data(weights_CLW, probabilities_CLW, -1, weights_CLW.dtype)
                torch.bmm(scores_CLW, key[part], out=query_change[part])
                torch.bmm(scores_CLW.transpose(1, 2), query[part], out=key_change[part])
            torch.index_select(changes, 0, layout.gradients, out=gradient[layout.kinds])
        gradient = gradient.view(ctx.shape)
        gradient[:, :2] *= head_width**-0.5
        return gradient, None, None

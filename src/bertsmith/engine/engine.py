"""A model made ready to answer: the device and the precision it computes in, chosen outside the model.

Dimensions: T tokens of the batch laid end to end, R rows of them that are wanted, D width.
"""

import copy
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal, Protocol, cast, get_args

import torch
from torch import Tensor, nn

from bertsmith.arguments import one_of
from bertsmith.engine import avx512
from bertsmith.engine.kernels import Activation, Int8Linear, PackedLinear, PlainLinear, Precision
from bertsmith.engine.rounding import smoothing
from bertsmith.errors import UsageError
from bertsmith.machine import choose_device, has_bf16, has_int8
from bertsmith.model.attention_plan import Attended, AttentionPlan
from bertsmith.model.bert import Bert, BertOutput, check_batch, with_task
from bertsmith.model.encoder import Encoded, TextEncoder
from bertsmith.model.heads.scoring_head import ScoringHead, TaskHead
from bertsmith.model.layer import Layer
from bertsmith.tasks.predictor import TOKEN_BUDGET
from bertsmith.threads import note_use, set_up_threads, threads_beside_others
from bertsmith.types import PackedBatch

Wanted = Literal["auto", "float32", "bf16", "int8"]


class _MakeDense(Protocol):
    """Makes of a linear layer what computes it."""

    def __call__(self, linear: nn.Linear, *, activation: Activation | None = None) -> nn.Module: ...


log = logging.getLogger("bertsmith")

_GPU_TOKEN_BUDGET = 65536


def make_engine(model: Bert, device: str = "cpu", precision: Wanted = "float32") -> "Engine":
    """Return the engine of a model, which is left as it is.

    Args:
        model: The model, in float32 on the CPU.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``float32`` for what the weights say to the last digit, ``bf16`` or ``int8`` for speed, ``auto`` for bf16
            where the machine has instructions for it.

    Raises:
        UsageError: there is no such device or precision, or the machine has none of it.
    """
    chosen = choose_device(device, 0)
    return Engine(model, chosen, choose_precision(precision, chosen))


def choose_precision(wanted: Wanted, device: torch.device) -> Precision:
    """Return the precision for ``auto``: bf16 where the machine has instructions for it, else float32.

    Raises:
        UsageError: there is no such precision, or it is int8 on a machine without instructions for it.
    """
    one_of(wanted, get_args(Wanted), "precision")
    if wanted == "int8" and not has_int8(device):
        raise UsageError("--precision int8 needs a CPU with VNNI or AMX instructions, which is not here; use auto")
    if wanted == "auto":
        return "bf16" if has_bf16(device) else "float32"
    return wanted


class Engine:
    """Runs a model without training it; on a CPU with dense layers laid out once for its instructions.

    In float32 what comes out is the model's to rounding; in bf16 and int8 sums and norms are in float32, and the head of a task
    is too, which costs little and whose scores are what counts.

    Args:
        model: The model, in float32 on the CPU; it is left as it is.
        device: Where to compute.
        precision: Of the matrix products.
    """

    def __init__(self, model: Bert, device: torch.device, precision: Precision) -> None:
        self.device, self.precision = device, precision
        self.token_budget = TOKEN_BUDGET if device.type == "cpu" else _GPU_TOKEN_BUDGET
        self._unchecked = model if precision == "int8" else None
        note_use()
        set_up_threads()
        if device.type == "cpu":
            self.model = _rearranged(model, precision, torch.bfloat16 if has_bf16(device) else torch.float32)
        else:
            self.model = model.to(device).eval()

    @torch.inference_mode()
    def __call__(self, batch: PackedBatch) -> BertOutput:
        """Return what the model says of all tokens."""
        self._check(batch)
        with self._context(batch):
            return self.model(batch.to(self.device))  # type: ignore[no-any-return]

    @torch.inference_mode()
    def logits(self, batch: PackedBatch) -> Tensor:
        """Return the logits of the model's task, (B, C) or (T, C), and compute no more than they need."""
        self._check(batch)
        with self._context(batch):
            logits = self.model.logits(batch.to(self.device)).task_logits
        assert logits is not None
        return logits

    @torch.inference_mode()
    def token_logits(self, batch: PackedBatch, positions: Tensor) -> Tensor:
        """Return what the masked-token head says at M positions of the batch, (M, V)."""
        self._check(batch)
        with self._context(batch):
            logits = self.model.logits(batch.to(self.device), positions=positions.to(self.device)).token_logits
        assert logits is not None
        return logits

    @torch.inference_mode()
    def layers(self, batch: PackedBatch) -> tuple[Tensor, ...]:
        """Return the output of the embeddings and of every layer, L+1 tensors (T, D)."""
        self._check(batch)
        with self._context(batch):
            encoded: Encoded = self.model.encoder(batch.to(self.device), want_layers=True)
        assert encoded.layers is not None
        return encoded.layers

    def with_task(self, described: TaskHead, head: ScoringHead) -> "Engine":
        """Return an engine of the same encoder, of which there is one in memory, with another task's head."""
        other = copy.copy(self)
        other.model = with_task(self.model, described, head.to(self.device).eval())
        return other

    def _check(self, batch: PackedBatch) -> None:
        """Refuse what cannot be computed; say, at the first batch in int8, how much it changes what the model says."""
        note_use()
        check_batch(batch, self.model.config)
        exact, self._unchecked = self._unchecked, None  # at once, since another thread may come with a batch too
        if exact is None:
            return
        exact_TD, rough_TD = (model.encoder(batch).hidden.float() for model in (exact, self.model))
        cosine_T = torch.cosine_similarity(exact_TD, rough_TD, dim=1)
        log.info(
            "int8: hidden states have a cosine of %.4f to those of float32, at least %.4f, at the first %d tokens",
            cosine_T.mean(),
            cosine_T.min(),
            len(cosine_T),
        )

    def _context(self, batch: PackedBatch) -> AbstractContextManager[object]:
        if self.device.type == "cpu":
            return threads_beside_others(len(batch.token_ids))
        return torch.autocast("cuda", torch.bfloat16) if self.precision == "bf16" else nullcontext()


def _rearranged(model: Bert, precision: Precision, half: torch.dtype) -> Bert:
    """Return a model that shares the embeddings and norms of the one given and has dense layers of its own."""
    dtype = torch.float32 if precision == "float32" else half
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    exact = PackedLinear if has_onednn else PlainLinear
    packed = copy.deepcopy(model, memo={id(parameter): parameter for parameter in model.parameters()}).eval()
    encoder = packed.encoder
    if avx512.fits(encoder):
        packed.encoder = avx512.Avx512Encoder(encoder, precision)
    else:
        dense = _int8(encoder, dtype) if precision == "int8" else partial(exact, dtype=dtype)
        encoder.layers = cast(Sequence[Layer], nn.ModuleList(_InferenceLayer(layer, dense) for layer in encoder.layers))
        encoder.embeddings.register_forward_hook(partial(_converted, dtype))
    for part in (packed.pooler, packed.masked_token, packed.next_sentence):
        for parent in () if part is None else list(part.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Linear):
                    setattr(parent, name, exact(child, dtype))
    if packed.masked_token is not None:
        packed.masked_token.decoder = nn.Parameter(packed.masked_token.decoder.detach().to(dtype), requires_grad=False)
    return packed


def _converted(dtype: torch.dtype, _module: nn.Module, _inputs: object, hidden: Tensor) -> Tensor:
    return hidden.to(dtype)


def _int8(encoder: TextEncoder, dtype: torch.dtype) -> _MakeDense:
    factors = smoothing(encoder)

    def dense(linear: nn.Linear, *, activation: Activation | None = None) -> nn.Module:
        return Int8Linear(linear, dtype, activation, factors.get(linear))

    return dense


class _InferenceLayer(nn.Module):
    """A Transformer layer without dropout whose sums are made in place; takes the place of :class:`Layer`."""

    def __init__(self, layer: Layer, dense: _MakeDense) -> None:
        super().__init__()
        attention = layer.attention
        self.n_heads = attention.n_heads
        self.query_key_value, self.output = dense(attention.query_key_value), dense(attention.output)
        self.feed_forward_in = dense(layer.feed_forward_in, activation=layer.activation_name)
        self.feed_forward_out = dense(layer.feed_forward_out)
        self.attention_norm, self.feed_forward_norm = layer.attention_norm, layer.feed_forward_norm

    def forward(self, hidden_TD: Tensor, plan: AttentionPlan, rows_R: Tensor | None = None) -> Attended:
        """Return what :class:`Layer` does."""
        query_key_value_T3NH = self.query_key_value(hidden_TD).view(len(hidden_TD), 3, self.n_heads, -1)
        attended = plan.attend(query_key_value_T3NH, 0.0)
        context_RD, hidden_RD = attended.context.flatten(1), hidden_TD
        if rows_R is not None:
            context_RD, hidden_RD = context_RD[rows_R], hidden_TD[rows_R]
        hidden_RD = self.attention_norm(self.output(context_RD).add_(hidden_RD))
        transformed_RD = self.feed_forward_out(self.feed_forward_in(hidden_RD))
        return Attended(self.feed_forward_norm(transformed_RD.add_(hidden_RD)), attended.probabilities)

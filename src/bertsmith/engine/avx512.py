"""An encoder's layers in bertsmith's own code for processors with AVX512-BF16 and AVX512-VNNI (avx512.cpp).

What it makes of a sequence does not depend, to the last bit, on the sequences beside it. Where the package was built without a
C++ compiler, for another processor, or where the processor has matrix tiles (AMX), which oneDNN uses, there is none of it.

Dimensions: L layers, T tokens of the batch laid end to end, R rows of them that are wanted, D width; K columns of a dense
layer's input, M of its output.
"""

import ctypes
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor, nn

from bertsmith.engine.kernels import Activation, Precision
from bertsmith.engine.rounding import smoothing, whole_numbers
from bertsmith.errors import MismatchError
from bertsmith.machine import cpu_flags
from bertsmith.model.attention_plan import AttentionPlan
from bertsmith.model.encoder import Encoded, TextEncoder
from bertsmith.model.layer import Layer
from bertsmith.types import PackedBatch

_PANEL = 32
"""Columns that are computed at a time, and of which there are whole numbers."""
_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
# As in avx512.cpp.
_INTERFACE = 1
_KINDS: dict[Precision, int] = {"float32": 0, "bf16": 1, "int8": 2}
_ACTIVATIONS: dict[str | None, int] = {None: 0, "gelu": 1, "gelu_tanh": 2, "relu": 3}


class _Dense(ctypes.Structure):
    _fields_ = (
        ("n_inputs", ctypes.c_int64),
        ("n_outputs", ctypes.c_int64),
        ("panels", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("factors", ctypes.c_void_p),
        ("norm_weight", ctypes.c_void_p),
        ("norm_bias", ctypes.c_void_p),
        ("norm_epsilon", ctypes.c_float),
        ("activation", ctypes.c_int32),
    )


class _Layer(ctypes.Structure):
    _fields_ = tuple((name, _Dense) for name in ("query_key_value", "output", "feed_forward_in", "feed_forward_out"))


class _Encoder(ctypes.Structure):
    _fields_ = (
        ("n_layers", ctypes.c_int64),
        ("n_heads", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("feed_forward_width", ctypes.c_int64),
        ("layers", ctypes.POINTER(_Layer)),
        ("kind", ctypes.c_int32),
    )


def suits_processor() -> bool:
    """Say whether the code is for this machine's processor."""
    return {"avx512_bf16", "avx512_vnni"} <= cpu_flags() and "amx_tile" not in cpu_flags()


def is_built() -> bool:
    """Say whether the package was built with the code, and that of this version."""
    return _library() is not None


def fits(encoder: TextEncoder) -> bool:
    """Say whether this machine has the code, and all layers are of one shape whose widths are whole panels."""
    shapes = {_shape(layer) for layer in encoder.layers}
    if not (suits_processor() and is_built() and len(shapes) == 1):
        return False
    ((n_heads, width, inner_width),) = shapes
    return width == encoder.config.width and all(part % _PANEL == 0 for part in (width, width // n_heads, inner_width))


def _shape(layer: Layer) -> tuple[int, int, int]:
    """Return a layer's heads, their width together and its feed-forward's inner width."""
    return layer.attention.n_heads, layer.attention.output.in_features, layer.feed_forward_in.out_features


@cache
def _library() -> ctypes.CDLL | None:
    found = importlib.util.find_spec("bertsmith.engine._avx512")
    if found is None or found.origin is None:
        return None
    try:
        library = ctypes.CDLL(found.origin)
        if library.bertsmith_interface() != _INTERFACE:
            return None
    except (OSError, AttributeError):  # built for another system, or by another version
        return None
    pointer, count, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    library.bertsmith_scratch_bytes.argtypes = (pointer, count)
    library.bertsmith_scratch_bytes.restype = count
    library.bertsmith_encode.argtypes = (
        *(pointer, pointer, count, count, pointer, count),
        *(pointer, count, pointer, pointer, number),
    )
    library.bertsmith_encode.restype = None
    return library


class Avx512Encoder(nn.Module):
    """All layers in one call of bertsmith's own code for AVX512-BF16 and AVX512-VNNI.

    Takes the place of a model's encoder, whose embeddings and norms it shares, and keeps none of its other weights. Hidden
    states are float32 where the precision is, else bf16; sums, norms and attention's weights are float32 on the way. In int8
    weights have a scale for each column of the output, inputs one for each token, found when they come.
    """

    def __init__(self, encoder: TextEncoder, precision: Precision) -> None:
        super().__init__()
        self.config, self.embeddings = encoder.config, encoder.embeddings.eval()
        self.layers: Sequence[Layer] = ()
        self._dtype = torch.float32 if precision == "float32" else torch.bfloat16
        self._library, self._structures = cast(ctypes.CDLL, _library()), _Structures(encoder, precision)

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: all but the code."""
        return {name: value for name, value in self.__dict__.items() if name != "_library"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Put a pickled encoder back; :class:`MismatchError` on a machine that lacks the code for it."""
        if not suits_processor() or (library := _library()) is None:
            raise MismatchError(
                "this pipeline was pickled on a machine with another processor or another build of bertsmith; "
                "open the model directory here instead"
            )
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._library = library

    def forward(
        self,
        batch: PackedBatch,
        plans: Sequence[AttentionPlan] | None = None,
        *,
        token_vectors_TD: Tensor | None = None,
        want_layers: bool = False,
        want_attention: bool = False,
        rows_R: Tensor | None = None,
    ) -> Encoded:
        """Encode the batch as :class:`TextEncoder` says, with attention of its own; ValueError when asked for another."""
        if plans is not None or want_attention:
            raise ValueError("this encoder takes no attention plans and shows no attention: ask the model it was made of")
        n_tokens, width = batch.n_tokens, self.config.width
        # All layers' inputs, or two that take turns.
        n_states = self._structures.encoder.n_layers if want_layers else 2
        states_LTD = torch.empty(n_states, n_tokens, width, dtype=self._dtype)
        states_LTD[0] = self.embeddings(batch, token_vectors_TD)
        # As whole numbers from 0 on, and none beyond the last.
        rows_R = None if rows_R is None else torch.arange(n_tokens)[rows_R]
        n_rows = n_tokens if rows_R is None else len(rows_R)
        output_RD = torch.empty(n_rows, width, dtype=self._dtype)
        encoder, ends = ctypes.addressof(self._structures.encoder), batch.cu_seqlens.contiguous()
        scratch = torch.empty(self._library.bertsmith_scratch_bytes(encoder, max(n_tokens, n_rows)), dtype=torch.uint8)
        self._library.bertsmith_encode(
            *(encoder, states_LTD.data_ptr(), len(states_LTD), n_tokens, ends.data_ptr(), batch.n_sequences),
            *(None if rows_R is None else rows_R.data_ptr(), n_rows, output_RD.data_ptr(), scratch.data_ptr()),
            torch.get_num_threads(),
        )
        return Encoded(output_RD, (*states_LTD.unbind(), output_RD) if want_layers else None, None)


class _Structures:
    """Makes the structures that avx512.cpp reads, and keeps the tensors that they point to.

    Panels have one piece of memory, taken first, lest what is needed for a moment leave holes between them.
    """

    def __init__(self, encoder: TextEncoder, precision: Precision) -> None:
        self._precision = precision
        linears = [part for layer in encoder.layers for part in layer.modules() if isinstance(part, nn.Linear)]
        n_weights = sum(linear.weight.numel() for linear in linears)
        self._room, self._used = torch.empty(n_weights, dtype=_DTYPES[precision]), 0
        factors = smoothing(encoder) if precision == "int8" else {}
        self._parts = [part for layer in encoder.layers for part in self._layer(layer, factors)]
        self._shape = _shape(encoder.layers[0])
        self.encoder = self._linked()

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled: no pointers, and of tensors that are views of others their own values alone."""
        state = {name: value for name, value in self.__dict__.items() if name != "encoder"}
        return {**state, "_parts": [part.copied() for part in self._parts]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.encoder = self._linked()

    def _linked(self) -> _Encoder:
        """Return the structure that points to the tensors."""
        starts = accumulate((part.n_inputs * part.n_outputs for part in self._parts), initial=0)
        dense = [
            part.linked(self._room.data_ptr() + start * self._room.itemsize)
            for part, start in zip(self._parts, starts, strict=False)
        ]
        layers = [_Layer(*dense[first : first + 4]) for first in range(0, len(dense), 4)]
        return _Encoder(len(layers), *self._shape, (_Layer * len(layers))(*layers), _KINDS[self._precision])

    def _layer(self, layer: Layer, factors: dict[nn.Linear, Tensor]) -> Iterator["_Part"]:
        first, inner = layer.attention.query_key_value, layer.feed_forward_in
        yield self._dense(first, factor_K=factors.get(first))
        yield self._dense(layer.attention.output, norm=layer.attention_norm)
        yield self._dense(inner, factor_K=factors.get(inner), activation=layer.activation_name)
        yield self._dense(layer.feed_forward_out, norm=layer.feed_forward_norm)

    def _dense(
        self,
        linear: nn.Linear,
        *,
        factor_K: Tensor | None = None,
        activation: Activation | None = None,
        norm: nn.LayerNorm | None = None,
    ) -> "_Part":
        weight_MK = linear.weight.detach()
        tensors = {"bias": linear.bias.detach()}
        if self._precision == "int8":
            if factor_K is not None:
                tensors["factors"] = factor_K
                weight_MK = weight_MK / factor_K
            weight_MK, tensors["scales"] = whole_numbers(weight_MK)
            tensors["offsets"] = 128 * weight_MK.sum(dim=1, dtype=torch.int32)
        if norm is not None:
            tensors |= {"norm_weight": norm.weight.detach(), "norm_bias": norm.bias.detach()}
        self._lay_out(weight_MK)
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        epsilon = 0.0 if norm is None else norm.eps
        return _Part(linear.in_features, linear.out_features, tensors, epsilon, _ACTIVATIONS[activation])

    def _lay_out(self, weight_MK: Tensor) -> None:
        """Put the weights behind the last ones in the order of multiplication: panel, four bytes of a column, column."""
        n_outputs, n_inputs = weight_MK.shape
        group = 4 // self._room.itemsize
        ordered = weight_MK.reshape(n_outputs // _PANEL, _PANEL, n_inputs // group, group).permute(0, 2, 1, 3)
        start, self._used = self._used, self._used + weight_MK.numel()
        self._room[start : self._used].view(ordered.shape).copy_(ordered)


@dataclass(frozen=True, slots=True)
class _Part:
    """A dense layer without its panels."""

    n_inputs: int
    n_outputs: int
    tensors: dict[str, Tensor]
    norm_epsilon: float
    activation: int

    def linked(self, panels: int) -> _Dense:
        """Return the structure that points to the tensors, and to the panels at an address."""
        dense = _Dense(self.n_inputs, self.n_outputs, panels, norm_epsilon=self.norm_epsilon, activation=self.activation)
        for name, tensor in self.tensors.items():
            setattr(dense, name, tensor.data_ptr())
        return dense

    def copied(self) -> "_Part":
        return replace(self, tensors={name: tensor.clone() for name, tensor in self.tensors.items()})

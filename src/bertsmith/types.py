"""Value types that flow between the packages.

Dimensions: T tokens of a batch laid end to end, B sequences, M masked positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from bertsmith.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text or pair as WordPieces, ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``; all lists have one entry a token.

    ``offsets`` are character spans in the original text of the token's segment, (0, 0) for ``[CLS]`` and ``[SEP]``;
    ``word_ids`` number the words of each segment from 0, None for ``[CLS]`` and ``[SEP]``.
    """

    tokens: list[str]
    token_ids: list[int]
    segment_ids: list[int]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Sequences laid end to end.  T = tokens in all, B = sequences.

    token_ids    (T,)  int64    vocabulary ids, [CLS] a [SEP] (b [SEP])
    segment_ids  (T,)  int64    0 for sentence A, 1 for sentence B
    position_ids (T,)  int64    restart at 0 with every sequence
    cu_seqlens   (B+1,) int32   offsets: sequence i is rows cu_seqlens[i] : cu_seqlens[i+1]
    max_seqlen   int            the longest sequence
    """

    token_ids: torch.Tensor
    segment_ids: torch.Tensor
    position_ids: torch.Tensor
    cu_seqlens: torch.Tensor
    max_seqlen: int

    @classmethod
    def from_arrays(
        cls, token_ids: npt.NDArray[np.integer], segment_ids: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer]
    ) -> Self:
        """Build a batch from flat arrays (T,) and the length of each sequence (B,), each at least 1."""
        import torch

        cu_seqlens = np.zeros(len(lengths) + 1, dtype=np.int32)
        np.cumsum(lengths, out=cu_seqlens[1:])
        position_ids = np.arange(len(token_ids), dtype=np.int64) - np.repeat(cu_seqlens[:-1], lengths)
        return cls(
            token_ids=torch.from_numpy(token_ids.astype(np.int64, copy=False)),
            segment_ids=torch.from_numpy(segment_ids.astype(np.int64, copy=False)),
            position_ids=torch.from_numpy(position_ids),
            cu_seqlens=torch.from_numpy(cu_seqlens),
            max_seqlen=int(lengths.max()),
        )

    @classmethod
    def from_encodings(cls, encodings: Sequence[Encoding]) -> Self:
        """Build a batch from at least one encoding; :class:`InputError` where there is none."""
        if not encodings:
            raise InputError("encodings: there is none; a batch has one or more")
        lengths = np.array([len(encoding.token_ids) for encoding in encodings])
        token_ids = np.concatenate([np.array(encoding.token_ids) for encoding in encodings])
        segment_ids = np.concatenate([np.array(encoding.segment_ids) for encoding in encodings])
        return cls.from_arrays(token_ids, segment_ids, lengths)

    @property
    def n_tokens(self) -> int:
        """T, the number of tokens."""
        return len(self.token_ids)

    @property
    def n_sequences(self) -> int:
        """B, the number of sequences."""
        return len(self.cu_seqlens) - 1

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on ``device``."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in _TENSORS}
        return dataclasses.replace(self, **moved)

    def pin_memory(self) -> Self:
        """Return the batch in page-locked memory, from which copies to a GPU overlap with its work."""
        return dataclasses.replace(self, **{name: getattr(self, name).pin_memory() for name in _TENSORS})


_TENSORS = ("token_ids", "segment_ids", "position_ids", "cu_seqlens")


@dataclass(frozen=True, slots=True)
class PretrainingBatch:
    """A packed batch with masks applied, and what the masked-token and next-sentence heads should say.

    inputs               PackedBatch
    masked_positions     (M,) int64   rows of T to predict, ascending
    masked_token_ids     (M,) int64   the tokens that stood there
    next_sentence_labels (B,) int64   0 where B follows A, 1 where it is from elsewhere (Hugging Face's order);
                                      None for an objective without pairs
    """

    inputs: PackedBatch
    masked_positions: torch.Tensor
    masked_token_ids: torch.Tensor
    next_sentence_labels: torch.Tensor | None

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on ``device``."""
        return self._with(self.inputs.to(device), lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Return the batch in page-locked memory, from which copies to a GPU overlap with its work."""
        return self._with(self.inputs.pin_memory(), lambda tensor: tensor.pin_memory())

    def _with(self, inputs: PackedBatch, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        labels = self.next_sentence_labels
        return dataclasses.replace(
            self,
            inputs=inputs,
            masked_positions=change(self.masked_positions),
            masked_token_ids=change(self.masked_token_ids),
            next_sentence_labels=None if labels is None else change(labels),
        )

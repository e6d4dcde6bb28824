"""BERT: the encoder with the heads it was trained with.

Dimensions: T tokens, B sequences, M positions to predict, D width, V vocabulary.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Int
from torch import Tensor, nn

from bertsmith.arguments import instance
from bertsmith.errors import InputError
from bertsmith.model.dropout import Dropout
from bertsmith.model.encoder import Encoder, TextEncoder
from bertsmith.model.heads.crf import ConditionalRandomField
from bertsmith.model.heads.pooling import Pooler
from bertsmith.model.heads.pretraining import MaskedTokenHead, NextSentenceHead
from bertsmith.model.heads.scoring_head import ScoringHead, TaskHead
from bertsmith.model.layer import SelfAttention
from bertsmith.model.model_config import ModelConfig
from bertsmith.threads import note_use
from bertsmith.types import PackedBatch


@dataclass(frozen=True, slots=True)
class BertOutput:
    """What a BERT says of a batch; None for heads it does not have and for what was not wanted.

    hidden                (T, D)                          the last layer's output
    layers                L+1 tensors (T, D)              embeddings and every layer
    attention             L tuples of B tensors (N, S, S)
    pooled                (B, D)                          of a model without task heads
    token_logits          (M, V)                          scores of every vocabulary entry at the positions asked for
    next_sentence_logits  (B, 2)                          scores of "B follows A" and "B is from elsewhere"
    task_logits           (B, C) or (T, C)                what the head of a fine-tuned task says of sequences or tokens
    """

    hidden: Tensor
    layers: tuple[Tensor, ...] | None = None
    attention: tuple[tuple[Tensor, ...], ...] | None = None
    pooled: Tensor | None = None
    token_logits: Tensor | None = None
    next_sentence_logits: Tensor | None = None
    task_logits: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Heads:
    """Which heads a BERT carries."""

    pooler: bool = False
    masked_token: bool = False
    next_sentence: bool = False
    task: TaskHead | None = None


PRETRAINING = Heads(masked_token=True, next_sentence=True)
MASKED_TOKEN = Heads(masked_token=True)


class Bert(nn.Module):
    """An encoder and its heads."""

    encoder: TextEncoder

    def __init__(self, config: ModelConfig, heads: Heads) -> None:
        super().__init__()
        self.config = config
        self.heads = heads
        self.encoder = Encoder(config)
        self.pooler = Pooler(config) if heads.pooler else None
        self.masked_token = MaskedTokenHead(config) if heads.masked_token else None
        self.next_sentence = NextSentenceHead(config) if heads.next_sentence else None
        self.task = None if heads.task is None else heads.task.build(config)
        self.tie_decoder()

    def tie_decoder(self) -> None:
        """Make the masked-token head's decoder the token embedding itself."""
        if self.masked_token is not None:
            self.masked_token.decoder = self.encoder.embeddings.token.weight

    @property
    def is_tied(self) -> bool:
        """Whether the masked-token head's decoder, where there is one, is the token embedding."""
        return self.masked_token is None or self.masked_token.decoder is self.encoder.embeddings.token.weight

    def logits(self, batch: PackedBatch, *, positions: Int[Tensor, " M"] | None = None) -> BertOutput:
        """Apply the heads as :meth:`forward` does, and compute of the last layer only what they read; ``hidden`` is empty.

        With a masked-token head ``positions`` are needed.
        """
        note_use()
        n_sequences, firsts_B = batch.n_sequences, batch.cu_seqlens[:-1].long()
        reads_tokens = self.task is not None and self.task.reads == "all tokens"
        if reads_tokens or (self.masked_token is not None and positions is None):
            return self.forward(batch, positions=positions)
        rows_R = firsts_B if positions is None else torch.cat([firsts_B, positions])
        hidden_RD = self.encoder(batch, rows_R=rows_R).hidden
        hidden_BD, firsts = hidden_RD[:n_sequences], _first_tokens(batch, firsts_B)
        return BertOutput(
            hidden=hidden_RD[:0],
            token_logits=None if self.masked_token is None else self.masked_token(hidden_RD[n_sequences:]),
            next_sentence_logits=None if self.next_sentence is None else self.next_sentence(hidden_BD, firsts),
            task_logits=None if self.task is None else self.task(hidden_BD.float(), firsts),
        )

    def forward(
        self,
        batch: PackedBatch,
        *,
        positions: Int[Tensor, " M"] | None = None,
        want_layers: bool = False,
        want_attention: bool = False,
    ) -> BertOutput:
        """Encode the batch and apply the heads; the masked-token head at ``positions`` (all T when None).

        Raises:
            InputError: the model cannot read the batch: a text is too long for it, or its vocabulary has not all tokens.
            UsageError: what is given is no batch, or this process was forked from one in which a model had been at work.
        """
        note_use()
        check_batch(batch, self.config)
        if positions is not None:
            instance(positions, Tensor, "positions", "give them as torch.tensor([3, 7])")
        encoded = self.encoder(batch, want_layers=want_layers, want_attention=want_attention)
        hidden_TD = encoded.hidden
        token_logits_MV = None
        if self.masked_token is not None:
            token_logits_MV = self.masked_token(hidden_TD if positions is None else hidden_TD[positions])
        return BertOutput(
            hidden=hidden_TD,
            layers=encoded.layers,
            attention=encoded.attention,
            pooled=None if self.pooler is None else self.pooler(hidden_TD, batch),
            token_logits=token_logits_MV,
            next_sentence_logits=None if self.next_sentence is None else self.next_sentence(hidden_TD, batch),
            task_logits=None if self.task is None else self.task(hidden_TD.float(), batch),
        )


def check_batch(batch: PackedBatch, config: ModelConfig) -> None:
    """Raise an error for what a model of this shape cannot read; of a batch on a GPU token ids are not looked at.

    Raises:
        InputError: a sequence has more tokens than the model has positions, or there is a token that it does not know.
        UsageError: it is no batch.
    """
    instance(batch, PackedBatch, "the model's input", "write model(tok.pack(texts))")
    if batch.max_seqlen > config.max_positions:
        raise InputError(f"a text has {batch.max_seqlen} tokens, and this model reads at most {config.max_positions}")
    if batch.token_ids.device.type != "cpu":  # to look at them would make the GPU wait
        return
    least, most = (int(bound) for bound in batch.token_ids.aminmax())
    if least < 0 or most >= config.vocabulary_size:
        wrong = least if least < 0 else most
        raise InputError(f"there is no token {wrong} in this model's vocabulary of {config.vocabulary_size:,} tokens")


def _first_tokens(batch: PackedBatch, firsts_B: Tensor) -> PackedBatch:
    """Return the batch of every sequence's first token alone, for heads that read nothing else."""
    return PackedBatch(
        token_ids=batch.token_ids[firsts_B],
        segment_ids=batch.segment_ids[firsts_B],
        position_ids=batch.position_ids[firsts_B],
        cu_seqlens=torch.arange(len(firsts_B) + 1, dtype=torch.int32, device=firsts_B.device),
        max_seqlen=1,
    )


def uninitialised(config: ModelConfig, heads: Heads) -> Bert:
    """Return a model on the CPU whose weights hold no values yet."""
    with torch.device("meta"):
        model = Bert(config, heads)
    allocate(model)
    return model


def allocate(model: Bert) -> None:
    """Give a model that was built without memory, on the device "meta", memory on the CPU that holds no values yet.

    :meth:`torch.nn.Module.to_empty` does it by way of symbolic algebra: a third of a second and 30 MB for its imports.
    """
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype), parameter.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))
    model.tie_decoder()


def with_task(model: Bert, described: TaskHead, head: ScoringHead) -> Bert:
    """Return a model of the same encoder, whose weights it shares, with another task's head in place of its own."""
    sibling = copy.deepcopy(model, memo={id(part): part for part in (model.encoder, model.task)})
    sibling.task, sibling.heads = head, Heads(task=described)
    return sibling


def set_dropout(model: Bert, rate: float) -> None:
    """Change the dropout of a model, on states and on attention probabilities."""
    config = model.config.model_copy(update={"dropout": rate, "attention_dropout": rate})
    model.config = model.encoder.config = config
    for module in model.modules():
        if isinstance(module, Dropout):
            module.rate = rate
        if isinstance(module, SelfAttention):
            module.dropout_rate = rate


def initialise(model: Bert, seed: int) -> None:
    """Draw every weight from a normal cut at two standard deviations; biases 0, norms 1 (the reference implementation's).

    A BiLSTM and a CRF start between -0.1 and 0.1; other modules of a task's head as their ``reset_parameters`` says.
    """
    _initialise([model], model.config.initializer_range, seed)


def initialise_heads(model: Bert, seed: int) -> None:
    """Draw the weights of all heads as :func:`initialise` does, and leave the encoder's as they are."""
    _initialise([part for name, part in model.named_children() if name != "encoder"], model.config.initializer_range, seed)


def _initialise(parts: Sequence[nn.Module], deviation: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in chain.from_iterable(part.modules() for part in parts):
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Linear | nn.LayerNorm | MaskedTokenHead):
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LSTM | ConditionalRandomField):
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -0.1, 0.1, generator=generator)
        elif not isinstance(module, nn.Embedding) and any(True for _ in module.parameters(recurse=False)):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                module.reset_parameters()  # type: ignore[operator]

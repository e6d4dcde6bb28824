"""Precision, applied to a model from outside.

A precision takes the float32 master model that the optimiser moves and that checkpoints hold, and provides the model that
computes: ``compute``. After each backward pass ``collect`` brings its gradients to the masters; after each optimiser step
``publish`` brings the masters' values back.
"""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from bertsmith.model.bert import Bert
from bertsmith.types import PackedBatch


class Precision(Protocol):
    """How a model computes."""

    compute: Bert

    def context(self) -> AbstractContextManager[object]:
        """Return the context in which forward passes run."""

    def collect(self) -> None:
        """Add the gradients of the last backward pass to the masters' gradients."""

    def publish(self) -> None:
        """Bring the masters' values to the computing model."""


def apply_precision(master: Bert, device: torch.device, dtype: torch.dtype) -> Precision:
    """Return the precision that multiplies matrices in ``dtype`` on ``device``."""
    if dtype == torch.float32:
        return FullPrecision(master)
    return AutocastPrecision(master, device, dtype) if device.type == "cuda" else HalfMatrices(master, dtype)


def task_logits(precision: Precision, device: torch.device) -> Callable[[PackedBatch], Tensor]:
    """Return what gives the logits of the model's task for a batch, without dropout."""

    def forward(batch: PackedBatch) -> Tensor:
        was_training = precision.compute.training
        precision.compute.eval()
        with torch.no_grad(), precision.context():
            logits = precision.compute.logits(batch.to(device)).task_logits
        precision.compute.train(was_training)
        assert logits is not None
        return logits

    return forward


class FullPrecision:
    """The masters compute themselves."""

    def __init__(self, master: Bert) -> None:
        self.compute = master

    def context(self) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return nullcontext()

    def collect(self) -> None:
        """Do nothing: the gradients are where they belong."""

    def publish(self) -> None:
        """Do nothing: the values are where they belong."""


class AutocastPrecision(FullPrecision):
    """The masters compute under PyTorch's autocast, which casts matrices as they are used."""

    def __init__(self, master: Bert, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(master)
        self._device, self._dtype = device, dtype

    def context(self) -> AbstractContextManager[object]:
        """Return the autocast context."""
        return torch.autocast(self._device.type, self._dtype)


class HalfMatrices:
    """A copy of the model whose dense layers are kept in half precision, so that no weight is cast when it is used.

    Embeddings and norms are the masters themselves, in float32: sums over many rows stay exact. So is the head of a task,
    which costs little and whose scores are what counts.
    """

    def __init__(self, master: Bert, dtype: torch.dtype) -> None:
        dense = {id(parameter) for parameter in _dense_parameters(master)}
        shared = {id(parameter): parameter for parameter in master.parameters() if id(parameter) not in dense}
        self.compute = copy.deepcopy(master, memo=shared)
        halves = _dense_parameters(self.compute)
        for parameter in halves:
            parameter.data = parameter.data.to(dtype)
        self._pairs = list(zip(halves, _dense_parameters(master), strict=True))
        self.compute.encoder.embeddings.register_forward_hook(lambda _module, _inputs, hidden: hidden.to(dtype))

    def context(self) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return nullcontext()

    def collect(self) -> None:
        """Add the gradients to the masters' gradients, in float32."""
        for half, master in self._pairs:
            if half.grad is None:
                continue
            if master.grad is None:
                master.grad = half.grad.to(master.dtype)
            else:
                master.grad += half.grad
            half.grad = None

    def publish(self) -> None:
        """Round the masters' values to half precision."""
        with torch.no_grad():
            for half, master in self._pairs:
                half.copy_(master)


def _dense_parameters(model: Bert) -> list[Tensor]:
    head = set() if model.task is None else set(model.task.modules())
    dense = [module for module in model.modules() if isinstance(module, nn.Linear) and module not in head]
    return [parameter for module in dense for parameter in module.parameters()]

"""Several processes that train one model together, as ``torchrun`` starts them.

Every rank holds the whole model and takes its share of each step's packed batches; gradients are summed once a step, after
accumulation.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from bertsmith.errors import BertsmithError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among its fellows; one process alone is rank 0 of 1."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> "Ranks":
        """Read the place from the variables that ``torchrun`` sets."""
        return cls(*(int(os.environ.get(name, default)) for name, default in _VARIABLES))

    @property
    def is_first(self) -> bool:
        """Whether this process writes what all have made."""
        return self.rank == 0

    def join(self, device: torch.device) -> None:
        """Meet the others: over NCCL on GPUs, gloo on CPUs."""
        if self.world > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=self.rank, world_size=self.world)

    def leave(self) -> None:
        """Part from the others."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def sum(self, values: Tensor) -> Tensor:
        """Add ``values`` up over all ranks, in place, and return them."""
        if self.world > 1:
            with _lost_fellows():
                dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add the gradients up over all ranks in one exchange."""
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.world > 1:
            with _lost_fellows():
                dist.barrier()


@contextmanager
def _lost_fellows() -> Iterator[None]:
    """Turn what PyTorch says when another process is gone into an error that says so."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise BertsmithError(
            f"another process of this run has ended, and with it this one; its message says why ({reason})"
        ) from None


_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))

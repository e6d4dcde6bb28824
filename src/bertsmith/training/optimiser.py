"""AdamW with the paper's settings (Devlin et al. 2019, appendix A.2)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bertsmith.training.settings import Optimisation


def make_optimiser(model: nn.Module, settings: Optimisation, rate_share: Callable[[str], float]) -> torch.optim.AdamW:
    """Return AdamW over the parameters that are to be trained: matrices decay, biases and norms do not.

    ``rate_share`` says by a parameter's name at what share of the learning rate it moves. Parameters are grouped by it; each
    group has it as "share". The learning rate is 0 until a step sets it.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate_share(name), decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": group, "share": share, "weight_decay": decay} for (share, decay), group in groups.items()],
        lr=0.0,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def optimiser_tensors(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors, ``<parameter>/<part>``."""
    return {
        f"{name}/{part}": value
        for name, parameter in model.named_parameters()
        for part, value in optimiser.state.get(parameter, {}).items()
    }


def restore_optimiser(model: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimiser_tensors` returned."""
    parameters = dict(model.named_parameters())
    for full_name, value in tensors.items():
        name, part = full_name.rsplit("/", 1)
        # A copy, since what safetensors reads is a view of the file.
        optimiser.state[parameters[name]][part] = value.to(parameters[name].device, copy=True)

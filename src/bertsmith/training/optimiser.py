"""AdamW with the paper's settings (Devlin et al. 2019, appendix A.2)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bertsmith.training.settings import Optimisation


def make_optimiser(
    model: nn.Module, config: Optimisation, share: Callable[[str], float] = lambda _name: 1.0
) -> torch.optim.AdamW:
    """Return AdamW over the parameters that are to be trained: matrices decay, biases and norms do not.

    ``share`` says by a parameter's name at what share of the learning rate it moves; parameters are grouped by it.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((share(name), decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": group, "share": one, "weight_decay": decay} for (one, decay), group in groups.items()],
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
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

"""AdamW with the paper's settings (Devlin et al. 2019, appendix A.2)."""

import torch
from torch import Tensor, nn

from bertsmith.training.config import Optimisation


def make_optimiser(model: nn.Module, config: Optimisation) -> torch.optim.AdamW:
    """Return AdamW over the model's parameters in two groups: matrices decay, biases and norms do not."""
    parameters = list(model.parameters())
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    betas = (config.adam_beta1, config.adam_beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, eps=config.adam_epsilon, fused=True)


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

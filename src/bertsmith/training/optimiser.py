"""AdamW with the paper's settings (Devlin et al. 2019, appendix A.2)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bertsmith.training.settings import Optimisation


class AdamW:
    """Decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2) by PyTorch's fused kernel.

    Its numbers are those of ``torch.optim.AdamW(fused=True)``, which imports PyTorch's compiler when it is made: 36 MB and 0.75
    seconds.

    param_groups  each has "params", their learning rate "lr", "weight_decay", "betas" and "eps"
    state         of each parameter that ever had a gradient: "step", "exp_avg" and "exp_avg_sq"
    after_step    what else every step does
    """

    def __init__(self, param_groups: Iterable[dict[str, Any]]) -> None:
        self.param_groups = list(param_groups)
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.after_step: list[Callable[[], None]] = []

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            states = [self.state.get(parameter) or self._begun(parameter) for parameter in moved]
            means, squares, steps = ([state[part] for state in states] for part in ("exp_avg", "exp_avg_sq", "step"))
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                *(moved, [parameter.grad for parameter in moved], means, squares, [], steps),
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
        for action in self.after_step:
            action()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _begun(self, parameter: Tensor) -> dict[str, Tensor]:
        step = torch.zeros((), device=parameter.device)
        state = {"step": step, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
        self.state[parameter] = state
        return state


def make_optimiser(model: nn.Module, settings: Optimisation, rate_share: Callable[[str], float]) -> AdamW:
    """Return AdamW over the parameters that are to be trained: matrices decay, biases and norms do not.

    ``rate_share`` says by a parameter's name at what share of the learning rate it moves. Parameters are grouped by it; each
    group has it as "share". The learning rate is 0 until a step sets it.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate_share(name), decay), []).append(parameter)
    usual = {"lr": 0.0, "betas": (settings.adam_beta1, settings.adam_beta2), "eps": settings.adam_epsilon}
    return AdamW({"params": own, "share": share, "weight_decay": decay, **usual} for (share, decay), own in groups.items())


def optimiser_tensors(model: nn.Module, optimiser: AdamW) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors, ``<parameter>/<part>``."""
    return {
        f"{name}/{part}": value
        for name, parameter in model.named_parameters()
        for part, value in optimiser.state.get(parameter, {}).items()
    }


def restore_optimiser(model: nn.Module, optimiser: AdamW, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimiser_tensors` returned."""
    parameters = dict(model.named_parameters())
    for full_name, value in tensors.items():
        name, part = full_name.rsplit("/", 1)
        # A copy, since what safetensors reads is a view of the file.
        optimiser.state.setdefault(parameters[name], {})[part] = value.to(parameters[name].device, copy=True)

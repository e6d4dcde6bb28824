"""Train of the token embeddings the rows that the training texts use; no gradient ever reaches the others.

Dimensions: T tokens, V vocabulary, U tokens that are used, D width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertsmith.model.bert import Bert
from bertsmith.training.optimiser import AdamW


class UsedEmbedding(nn.Module):
    """A token embedding whose used rows are apart from the others, so that these cost no gradient and no optimiser state.

    To a row without gradients AdamW does nothing but decay it, which is seen to by :meth:`decay_with`. In training mode only
    used tokens may be looked up, otherwise all. The state dict is that of the whole embedding.
    """

    def __init__(self, whole_VD: Tensor, used_ids_U: Tensor) -> None:
        super().__init__()
        is_used_V = torch.zeros(len(whole_VD), dtype=torch.bool)
        is_used_V[used_ids_U] = True
        self.weight = nn.Parameter(whole_VD[is_used_V])
        self.others = nn.Parameter(whole_VD[~is_used_V], requires_grad=False)
        rows_V = torch.where(is_used_V, is_used_V.cumsum(0), len(self.weight) + (~is_used_V).cumsum(0)) - 1
        self.register_buffer("rows", rows_V, persistent=False)

    def forward(self, token_ids_T: Tensor) -> Tensor:
        """Return (T, D)."""
        rows_T = self.get_buffer("rows")[token_ids_T]
        if self.training:
            return F.embedding(rows_T, self.weight)
        n_used = len(self.weight)
        used_TD = F.embedding(rows_T.clamp_max(n_used - 1), self.weight)
        other_TD = F.embedding((rows_T - n_used).clamp_min(0), self.others)
        return torch.where((rows_T < n_used)[:, None], used_TD, other_TD)

    def decay_with(self, optimiser: AdamW) -> None:
        """Let every step of the optimiser decay the rows that are not used as it decays the others."""
        (group,) = (group for group in optimiser.param_groups if any(one is self.weight for one in group["params"]))

        @torch.no_grad()
        def decay() -> None:
            self.others.mul_(1.0 - group["lr"] * group["weight_decay"])

        optimiser.after_step.append(decay)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:  # noqa: ARG002
        is_used_V = self.get_buffer("rows") < len(self.weight)
        whole_VD = self.weight.new_empty(len(is_used_V), self.weight.shape[1])
        whole_VD[is_used_V], whole_VD[~is_used_V] = self.weight.detach(), self.others.detach()
        destination[f"{prefix}weight"] = whole_VD

    @torch.no_grad()
    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        whole_VD, rows_V = state_dict[f"{prefix}weight"], self.get_buffer("rows")
        parts = torch.empty_like(whole_VD).index_copy_(0, rows_V.to(whole_VD.device), whole_VD)
        self.weight.copy_(parts[: len(self.weight)])
        self.others.copy_(parts[len(self.weight) :])


def train_used_rows(model: Bert, used_ids_U: Tensor) -> UsedEmbedding | None:
    """Put the token embedding in two parts, unless it is not trained or wholly used, and return it."""
    embeddings = model.encoder.embeddings
    whole_VD = embeddings.token.weight
    if not whole_VD.requires_grad or len(used_ids_U) == len(whole_VD):
        return None
    used = UsedEmbedding(whole_VD.detach(), used_ids_U)
    embeddings.register_module("token", used)
    return used

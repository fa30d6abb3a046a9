"""Writes to all that a model has."""

from __future__ import annotations

import torch
from torch import nn


def overwrite(model: nn.Module) -> None:
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.mul_(2) if parameter.is_sparse else parameter.fill_(0)
        if not parameter.is_sparse:
            parameter.grad = torch.ones_like(parameter)
        parameter.requires_grad_(not parameter.requires_grad)

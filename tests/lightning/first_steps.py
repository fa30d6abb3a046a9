"""First steps as the callback makes them, and as written down."""

from __future__ import annotations

import dataclasses
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from recent_prune.lightning import ReconstructionEntropyCallback
from recent_prune.probe import FirstSteps, ProbeResult, Training, probe
from tests.lightning.modules import judge, loader, new_trainer


def probed(module: pl.LightningModule, data: Any = None, **arguments: Any) -> ProbeResult:
    """What the callback finds."""
    own = {k: arguments.pop(k) for k in ("inputs", "steps", "training") if k in arguments}
    callback = ReconstructionEntropyCallback(rule=judge, **own)
    new_trainer(callback, **arguments).fit(module, loader() if data is None else data, loader())
    assert callback.result is not None
    return callback.result


def made(module: pl.LightningModule, data: Any = None, **arguments: Any) -> FirstSteps:
    steps = probed(module, data, **arguments).steps
    assert steps is not None
    return steps


def expected(network: nn.Module, **arguments: Any) -> FirstSteps:
    """The same, by a `Training` that is written down."""
    settings = {"steps": 4, "budget": 4, **arguments}
    training = Training(cross_entropy, lambda p: torch.optim.Adam(p, 1e-2), **settings)
    steps = probe(network, loader(), training=training).steps
    assert steps is not None
    return steps


def same(a: FirstSteps, b: FirstSteps) -> None:
    """All numbers but times, NaN included."""
    names = [field.name for field in dataclasses.fields(FirstSteps) if field.compare]
    assert [repr(getattr(a, name)) for name in names] == [repr(getattr(b, name)) for name in names]

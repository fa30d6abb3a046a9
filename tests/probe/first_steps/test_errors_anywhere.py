"""Whatever raises in whatever step: all is as it was."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

import recent_prune as rp
from tests.networks import Noisy
from tests.probe.first_steps.training import DATA
from tests.probe.first_steps.trials import (
    model_state,
    random_states,
    snapshot,
    train,
)


class Fuse:
    """Burns at the n-th call."""

    def __init__(self, number: int, error: type[BaseException]) -> None:
        self.left, self.error = number, error

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error("the fuse has burnt")


class Fused(Noisy):
    """Burns amid its forward pass, when batch norm has counted already."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        torch.rand(3), np.random.rand(), random.random()
        self.fuse()
        return output


class FusedAdam(torch.optim.Adam):
    """Burns when some parameters are changed already."""

    fuse: Fuse

    def step(self, closure: Any = None) -> Any:
        found = super().step(closure)
        self.fuse()
        return found


ERRORS = (RuntimeError, KeyboardInterrupt, torch.OutOfMemoryError)


@given(
    place=st.sampled_from(["forward", "loss", "step"]),
    number=st.integers(1, 6),
    error=st.sampled_from(ERRORS),
    resumed=st.booleans(),
)
def test_an_error_anywhere_leaves_everything_as_it_was(
    place: str, number: int, error: type[BaseException], resumed: bool
) -> None:
    never = Fuse(0, error)
    fuse = Fuse(number, error)
    model = Fused(never)
    optimizer = FusedAdam(model.parameters(), 1e-2)
    optimizer.fuse = never
    if resumed:
        train(model, optimizer, DATA[:2])
    if place == "forward":
        model.fuse = fuse
    elif place == "step":
        optimizer.fuse = fuse

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if place == "loss":
            fuse()
        return cross_entropy(output, target)

    before = model_state(model), snapshot(vars(optimizer)), random_states()
    raised = None
    try:
        rp.probe(model, DATA, training=rp.Training(loss, optimizer))
    except error as burnt:
        raised = str(burnt)
    assert fuse.left == number  # whoever holds it
    # What a loss says of a constant prediction, which is not its model's, is no error.
    forgiven = place == "loss" and error is not KeyboardInterrupt and raised is None
    assert forgiven or raised == "the fuse has burnt"
    assert (model_state(model), snapshot(vars(optimizer)), random_states()) == before

from __future__ import annotations

import pytest
import torch

from recent_prune import networks
from recent_prune.data import load_digits
from studies.common.training import LOSSES, Training, accuracy_reached

CPU = torch.device("cpu")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_shallow_network_trains_and_a_dead_one_does_not(loss: str) -> None:
    training = Training(epochs=10, samples=1438, learning_rate=0.1)
    accuracies = [
        accuracy_reached(
            networks.mlp(64, 10, depth=depth, width=64, weight_variance=variance),
            load_digits(),
            training,
            loss,
            CPU,
        )
        for depth, variance in ((2, 1.76), (40, 0.1))
    ]
    assert accuracies[0] > 0.4
    assert accuracies[1] < 0.2


def test_ends_when_it_is_enough() -> None:
    model = networks.mlp(64, 10, depth=1, width=64)
    training = Training(epochs=10_000, samples=1438, learning_rate=0.1, enough=0.2)
    assert accuracy_reached(model, load_digits(), training, "plain", CPU) > 0.2

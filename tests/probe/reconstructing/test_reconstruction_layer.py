from __future__ import annotations

import pytest
import torch
from torch import nn

from recent_prune.probe.reconstructing.chain import Chain
from recent_prune.probe.reconstructing.reconstruction_layer import ReconstructionLayer


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Linear(12, 5), (12,)),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh()), (3, 4)),
        (nn.Conv1d(2, 3, 3, stride=2), (2, 11)),
        (nn.Conv2d(1, 3, 3, padding=1), (1, 7, 6)),
        (nn.Conv2d(2, 4, 3, stride=2, dilation=2, groups=2), (2, 12, 11)),
        (nn.Conv2d(1, 3, 5, padding="same"), (1, 7, 7)),
        (nn.Conv3d(1, 2, 2), (1, 4, 5, 3)),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.AvgPool2d(2), nn.Flatten()), (1, 9, 8)),
        (nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3, stride=3)), (16,)),
    ],
    ids=str,
)
def test_gives_the_shape_of_what_came_before(model: nn.Module, shape: tuple[int, ...]) -> None:
    batch = torch.rand(5, *shape)
    chain = Chain(model, batch)
    (activation,) = chain.activations(batch)
    before = ReconstructionLayer(chain.layers[0])(activation)
    assert before.shape == batch.shape
    assert before.abs().max() <= 1


def test_undoes_a_convolution_it_could_learn() -> None:
    """With the right weights the inverse of an invertible convolution is exact."""
    conv = nn.Conv2d(1, 1, 1)
    batch = torch.rand(5, 1, 3, 3)
    chain = Chain(conv, batch)
    layer = ReconstructionLayer(chain.layers[0])
    layer.bounded = False
    (inverse,) = layer.inverses
    assert isinstance(inverse, nn.ConvTranspose2d)
    with torch.no_grad():
        weight, bias = conv.weight.item(), conv.bias.item()  # type: ignore[union-attr]
        inverse.weight.fill_(1 / weight)
        inverse.bias.fill_(-bias / weight)  # type: ignore[union-attr]
    torch.testing.assert_close(layer(conv(batch)), batch, rtol=1e-4, atol=1e-5)

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from studies.common.precision import convolutions, to_tf32

VALUES = torch.randn(1000) * 10.0 ** torch.randint(-20, 20, (1000,))


def rounded_by_bits(values: Tensor) -> Tensor:
    """To the nearest with the last 13 bits zero, ties to even."""
    bits = values.numpy().view(np.uint32).astype(np.uint64)
    bits += 0xFFF + ((bits >> 13) & 1)
    return torch.from_numpy((bits & 0xFFFFE000).astype(np.uint32).view(np.float32))


@pytest.mark.parametrize(
    "values", [VALUES, torch.tensor([0.0, 1.0, -1.0, 1 + 2**-11, 1 + 3 * 2**-11, 1 - 2**-12])]
)
def test_eleven_bits_are_kept(values: Tensor) -> None:
    torch.testing.assert_close(to_tf32(values), rounded_by_bits(values), rtol=0, atol=0)


def test_what_is_too_large_to_be_split_stays() -> None:
    values = torch.tensor([1e38, -1e38, torch.inf, -torch.inf, torch.nan])
    torch.testing.assert_close(to_tf32(values), values, rtol=0, atol=0, equal_nan=True)


def test_gradients_pass() -> None:
    values = torch.randn(10, requires_grad=True)
    to_tf32(values).square().sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, 2 * to_tf32(values.detach()), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_convolutions_round_only_within(kind: type[nn.Conv2d]) -> None:
    layer = kind(3, 3, 3)
    images = torch.randn(4, 3, 8, 8)
    before = layer(images)
    with convolutions(tf32=True):
        within = layer(images)
        assert torch.backends.cudnn.allow_tf32
    with convolutions(tf32=False):
        torch.testing.assert_close(layer(images), before, rtol=0, atol=0)
        assert not torch.backends.cudnn.allow_tf32
    torch.testing.assert_close(layer(images), before, rtol=0, atol=0)
    error = (within - before).abs().max() / before.abs().max()
    assert 2**-16 < error < 2**-9
    convolve = F.conv2d if kind is nn.Conv2d else F.conv_transpose2d
    expected = convolve(to_tf32(images), to_tf32(layer.weight), layer.bias)
    torch.testing.assert_close(within, expected, rtol=0, atol=0)


def test_the_innermost_decides() -> None:
    layer, images = nn.Conv2d(3, 3, 3), torch.randn(4, 3, 8, 8)
    before = layer(images)
    with convolutions(tf32=True):
        rounded = F.conv2d(input=images, weight=layer.weight, bias=layer.bias)
        with convolutions(tf32=False):
            torch.testing.assert_close(layer(images), before, rtol=0, atol=0)
        torch.testing.assert_close(layer(images), rounded, rtol=0, atol=0)
    assert not torch.equal(rounded, before)

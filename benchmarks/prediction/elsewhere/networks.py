"""The networks: eleven families, none of which is among those that anything was fitted to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.prediction.elsewhere.parts import (
    ACTIVATIONS,
    Added,
    Gated,
    Joined,
    LinearAttention,
    Outputs,
    Sine,
    Swapped,
    Taken,
    Transposed,
    UNet,
    drop,
    norm1,
    norm2,
)
from benchmarks.prediction.trials.tasks import Task

if TYPE_CHECKING:
    from benchmarks.prediction.elsewhere.specification import Specification


def _image_head(task: Task, body: list[nn.Module], extra: list[nn.Module]) -> nn.Sequential:
    """A pooled body, and a head of the size that comes out."""
    trunk = nn.Sequential(*body, nn.Flatten(), *extra)
    with torch.no_grad():
        features = trunk.eval()(task.train[0][:2]).shape[1]
    return nn.Sequential(*trunk, nn.Linear(features, task.outputs))


def vgg(s: Specification, task: Task) -> nn.Sequential:
    """Convolutions in pairs with pooling, and a large hidden layer."""
    body: list[nn.Module] = []
    channels, size = 1, task.train[0].shape[2]
    for number in range(s.depth):
        width = s.width * 2 ** min(number // 2, 2)
        body += [nn.Conv2d(channels, width, 3, padding=1), *norm2(s, width)]
        body.append(ACTIVATIONS[s.activation]())
        channels = width
        if number % 2 == 0 and size >= 4:
            body.append(nn.MaxPool2d(2))
            size //= 2
    hidden = [nn.LazyLinear(64), ACTIVATIONS[s.activation](), *drop(s)]
    return _image_head(task, [*body, nn.AdaptiveAvgPool2d(3)], hidden)


def convnext(s: Specification, task: Task) -> nn.Sequential:
    """Patches, then depthwise convolutions with wide pointwise ones behind, added."""
    body: list[nn.Module] = [nn.Conv2d(1, s.width, 2, 2)]
    for _ in range(s.depth):
        body.append(
            Added(
                nn.Conv2d(s.width, s.width, 5, padding=2, groups=s.width),
                nn.GroupNorm(1, s.width),
                nn.Conv2d(s.width, 3 * s.width, 1),
                ACTIVATIONS[s.activation](),
                nn.Conv2d(3 * s.width, s.width, 1),
                scale=s.branch_scale,
            )
        )
    return _image_head(task, [*body, nn.AdaptiveAvgPool2d(2)], drop(s))


def mixer(s: Specification, task: Task) -> nn.Sequential:
    """MLP-Mixer: over patches, then over channels."""
    act = ACTIVATIONS[s.activation]
    image = task.train[0][0]
    size = 7
    patches = (image.shape[1] // size) * (image.shape[2] // size)
    body: list[nn.Module] = [nn.Conv2d(1, s.width, size, size), nn.Flatten(2), Transposed()]
    for _ in range(s.depth):
        tokens = Swapped(nn.Linear(patches, 16), act(), nn.Linear(16, patches))
        channels = (nn.Linear(s.width, 2 * s.width), act(), nn.Linear(2 * s.width, s.width))
        body += [Added(*norm1(s, s.width), tokens), Added(*norm1(s, s.width), *channels)]
    return nn.Sequential(*body, Taken(last=False), *drop(s), nn.Linear(s.width, task.outputs))


def densenet(s: Specification, task: Task) -> nn.Sequential:
    """Each layer sees all before it."""
    body: list[nn.Module] = [nn.Conv2d(1, s.width, 3, 2, 1)]
    channels = s.width
    for number in range(s.depth):
        convolution = nn.Conv2d(channels, 8, 3, padding=1)
        norm = nn.BatchNorm2d(channels) if s.norm == "batch" else nn.Identity()
        body.append(Joined(norm, ACTIVATIONS[s.activation](), convolution))
        channels += 8
        if number == s.depth // 2:
            body += [nn.Conv2d(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
    return _image_head(task, [*body, nn.AdaptiveAvgPool2d(2)], drop(s))


def gated_mlp(s: Specification, task: Task) -> nn.Sequential:
    """Gated layers."""
    features = task.train[0][0].numel()
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(s.depth):
        layers += [Gated(features, s.width), *norm1(s, s.width), *drop(s)]
        features = s.width
    return nn.Sequential(*layers, nn.Linear(features, task.outputs))


def table_resnet(s: Specification, task: Task) -> nn.Sequential:
    """Residual blocks of two layers, normalised before."""
    act = ACTIVATIONS[s.activation]
    layers: list[nn.Module] = [nn.Linear(task.train[0][0].numel(), s.width)]
    for _ in range(s.depth):
        inner = [nn.Linear(s.width, 2 * s.width), act(), *drop(s), nn.Linear(2 * s.width, s.width)]
        norm = nn.BatchNorm1d(s.width) if s.norm == "batch" else nn.Identity()
        layers.append(Added(norm, *inner, scale=s.branch_scale))
    return nn.Sequential(*layers, act(), nn.Linear(s.width, task.outputs))


def sine_mlp(s: Specification, task: Task) -> nn.Sequential:
    """Sines all the way."""
    features = task.train[0][0].numel()
    layers: list[nn.Module] = []
    for number in range(s.depth):
        layers += [nn.Linear(features, s.width), Sine(15.0 if number == 0 else 2.0)]
        features = s.width
    return nn.Sequential(*layers, nn.Linear(features, task.outputs))


def u_net(s: Specification, task: Task) -> nn.Sequential:
    """A small U-Net."""
    del task
    return nn.Sequential(UNet(s))


def _sequence(s: Specification, task: Task, body: list[nn.Module], last: bool) -> nn.Sequential:
    first: nn.Module = nn.Linear(task.train[0].shape[-1], s.width)
    if task.vocabulary:
        first = nn.Embedding(task.vocabulary, s.width)
    with torch.no_grad():
        features = nn.Sequential(first, *body)(task.train[0][:2]).shape[-1]
    return nn.Sequential(
        first, *body, Taken(last=last), *drop(s), nn.Linear(features, task.outputs)
    )


def rnn(s: Specification, task: Task) -> nn.Sequential:
    """Elman's, by tanh."""
    depth = min(s.depth, 3)
    cell = nn.RNN(s.width, s.width, depth, batch_first=True)
    return _sequence(s, task, [Outputs(cell)], last=True)


def bidirectional_lstm(s: Specification, task: Task) -> nn.Sequential:
    """Both ways, and the mean."""
    depth = min(s.depth, 2)
    cell = nn.LSTM(s.width, s.width // 2, depth, batch_first=True, bidirectional=True)
    return _sequence(s, task, [Outputs(cell)], last=False)


def dilated_cnn(s: Specification, task: Task) -> nn.Sequential:
    """Convolutions that look twice as far each time, added."""
    body: list[nn.Module] = []
    for number in range(s.depth):
        far = 2 ** (number % 3)
        convolution = nn.Conv1d(s.width, s.width, 3, padding=far, dilation=far)
        inner = [*norm1(s, s.width), Swapped(convolution), ACTIVATIONS[s.activation]()]
        body.append(Added(*inner, scale=s.branch_scale))
    return _sequence(s, task, body, last=False)


def linear_attention(s: Specification, task: Task) -> nn.Sequential:
    """Blocks of linear attention and a gated layer."""
    body: list[nn.Module] = []
    for _ in range(s.depth):
        body.append(Added(*norm1(s, s.width), LinearAttention(s.width), scale=s.branch_scale))
        gated = [Gated(s.width, s.width), nn.Linear(s.width, s.width)]
        body.append(Added(*norm1(s, s.width), *gated, scale=s.branch_scale))
    return _sequence(s, task, body, last=False)


FAMILIES: dict[str, Callable[[Specification, Task], nn.Sequential]] = {
    "vgg": vgg,
    "convnext": convnext,
    "mixer": mixer,
    "densenet": densenet,
    "gated mlp": gated_mlp,
    "table resnet": table_resnet,
    "sine mlp": sine_mlp,
    "u-net": u_net,
    "rnn": rnn,
    "bidirectional lstm": bidirectional_lstm,
    "dilated cnn": dilated_cnn,
    "linear attention": linear_attention,
}
"""By name: from a specification and its task to the network."""


def build(s: Specification, task: Task) -> nn.Sequential:
    """The network of a trial at its initialization; the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(s.index)
        model = FAMILIES[s.family](s, task)
        weighted = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d))]
        with torch.no_grad():
            for module in weighted:
                module.weight.mul_(s.gain)
            if s.zero_head:
                weighted[-1].weight.zero_()
    return model.train()

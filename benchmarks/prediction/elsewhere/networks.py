"""The networks: eleven families, none of which is among those that anything was fitted to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.prediction.trials.tasks import Task

if TYPE_CHECKING:
    from benchmarks.prediction.elsewhere.specification import Specification


class _Sine(nn.Module):
    """Sine with the first layer's frequency of SIREN, halved."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency

    def forward(self, x: Tensor) -> Tensor:
        return (self.frequency * x).sin()


class _Gated(nn.Module):
    """A layer whose one half opens the other (SwiGLU)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.both = nn.Linear(inputs, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.both(x).chunk(2, dim=-1)
        out: Tensor = value * nn.functional.silu(gate)
        return out


class _Added(nn.Module):
    """x + scale · f(x), the scale from `scale` on."""

    def __init__(self, *inner: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)
        self.scale = nn.Parameter(torch.tensor(scale)) if scale != 1.0 else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return x + (out if self.scale is None else self.scale * out)


class _Joined(nn.Module):
    """Channels of x, and new ones."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.inner(x)], dim=1)


class _Swapped(nn.Module):
    """Something done along the other axis of [n, positions, channels]."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.transpose(1, 2))
        return out.transpose(1, 2)


class _LinearAttention(nn.Module):
    """Attention by a feature map instead of a softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
        mixed = q @ (k.transpose(1, 2) @ v) / (q @ k.sum(dim=1)[..., None])
        out: Tensor = self.out(mixed)
        return out


class _Outputs(nn.Module):
    """What a recurrent cell gives, at each position."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cell(x)[0]
        return out


class _Taken(nn.Module):
    """One of the positions, or their mean."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1] if self.last else x.mean(dim=1)


class _UNet(nn.Module):
    """Half the size and back, with one skip; one number a pixel."""

    def __init__(self, s: Specification) -> None:
        super().__init__()
        w, act = s.width, ACTIVATIONS[s.activation]
        down = [nn.Conv2d(1, w, 3, padding=1), act()]
        self.down = nn.Sequential(*down)
        inner: list[nn.Module] = [nn.MaxPool2d(2)]
        for _ in range(s.depth):
            inner += [nn.Conv2d(w, w, 3, padding=1), *_norm2(s, w), act()]
        self.inner = nn.Sequential(*inner, nn.ConvTranspose2d(w, w, 2, 2))
        self.up = nn.Sequential(nn.Conv2d(2 * w, w, 3, padding=1), act(), nn.Conv2d(w, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        out: Tensor = self.up(torch.cat([high, self.inner(high)], dim=1))
        return out.flatten(1)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "hardswish": nn.Hardswish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
}


def _norm2(s: Specification, width: int) -> list[nn.Module]:
    if s.norm == "none":
        return []
    return [nn.BatchNorm2d(width) if s.norm == "batch" else nn.GroupNorm(4, width)]


def _norm1(s: Specification, width: int) -> list[nn.Module]:
    return [] if s.norm == "none" else [nn.RMSNorm(width)]


def _drop(s: Specification) -> list[nn.Module]:
    return [nn.Dropout(s.dropout)] if s.dropout else []


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
        body += [nn.Conv2d(channels, width, 3, padding=1), *_norm2(s, width)]
        body.append(ACTIVATIONS[s.activation]())
        channels = width
        if number % 2 == 0 and size >= 4:
            body.append(nn.MaxPool2d(2))
            size //= 2
    hidden = [nn.LazyLinear(64), ACTIVATIONS[s.activation](), *_drop(s)]
    return _image_head(task, [*body, nn.AdaptiveAvgPool2d(3)], hidden)


def convnext(s: Specification, task: Task) -> nn.Sequential:
    """Patches, then depthwise convolutions with wide pointwise ones behind, added."""
    body: list[nn.Module] = [nn.Conv2d(1, s.width, 2, 2)]
    for _ in range(s.depth):
        body.append(
            _Added(
                nn.Conv2d(s.width, s.width, 5, padding=2, groups=s.width),
                nn.GroupNorm(1, s.width),
                nn.Conv2d(s.width, 3 * s.width, 1),
                ACTIVATIONS[s.activation](),
                nn.Conv2d(3 * s.width, s.width, 1),
                scale=s.branch_scale,
            )
        )
    return _image_head(task, [*body, nn.AdaptiveAvgPool2d(2)], _drop(s))


def mixer(s: Specification, task: Task) -> nn.Sequential:
    """MLP-Mixer: over patches, then over channels."""
    act = ACTIVATIONS[s.activation]
    image = task.train[0][0]
    size = 7
    patches = (image.shape[1] // size) * (image.shape[2] // size)
    body: list[nn.Module] = [nn.Conv2d(1, s.width, size, size), nn.Flatten(2), _Transposed()]
    for _ in range(s.depth):
        tokens = _Swapped(nn.Linear(patches, 16), act(), nn.Linear(16, patches))
        channels = (nn.Linear(s.width, 2 * s.width), act(), nn.Linear(2 * s.width, s.width))
        body += [_Added(*_norm1(s, s.width), tokens), _Added(*_norm1(s, s.width), *channels)]
    return nn.Sequential(*body, _Taken(last=False), *_drop(s), nn.Linear(s.width, task.outputs))


class _Transposed(nn.Module):
    """[n, channels, positions] to [n, positions, channels]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def densenet(s: Specification, task: Task) -> nn.Sequential:
    """Each layer sees all before it."""
    body: list[nn.Module] = [nn.Conv2d(1, s.width, 3, 2, 1)]
    channels = s.width
    for number in range(s.depth):
        convolution = nn.Conv2d(channels, 8, 3, padding=1)
        norm = nn.BatchNorm2d(channels) if s.norm == "batch" else nn.Identity()
        body.append(_Joined(norm, ACTIVATIONS[s.activation](), convolution))
        channels += 8
        if number == s.depth // 2:
            body += [nn.Conv2d(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
    return _image_head(task, [*body, nn.AdaptiveAvgPool2d(2)], _drop(s))


def gated_mlp(s: Specification, task: Task) -> nn.Sequential:
    """Gated layers."""
    features = task.train[0][0].numel()
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(s.depth):
        layers += [_Gated(features, s.width), *_norm1(s, s.width), *_drop(s)]
        features = s.width
    return nn.Sequential(*layers, nn.Linear(features, task.outputs))


def table_resnet(s: Specification, task: Task) -> nn.Sequential:
    """Residual blocks of two layers, normalised before."""
    act = ACTIVATIONS[s.activation]
    layers: list[nn.Module] = [nn.Linear(task.train[0][0].numel(), s.width)]
    for _ in range(s.depth):
        inner = [nn.Linear(s.width, 2 * s.width), act(), *_drop(s), nn.Linear(2 * s.width, s.width)]
        norm = nn.BatchNorm1d(s.width) if s.norm == "batch" else nn.Identity()
        layers.append(_Added(norm, *inner, scale=s.branch_scale))
    return nn.Sequential(*layers, act(), nn.Linear(s.width, task.outputs))


def sine_mlp(s: Specification, task: Task) -> nn.Sequential:
    """Sines all the way."""
    features = task.train[0][0].numel()
    layers: list[nn.Module] = []
    for number in range(s.depth):
        layers += [nn.Linear(features, s.width), _Sine(15.0 if number == 0 else 2.0)]
        features = s.width
    return nn.Sequential(*layers, nn.Linear(features, task.outputs))


def u_net(s: Specification, task: Task) -> nn.Sequential:
    """A small U-Net."""
    del task
    return nn.Sequential(_UNet(s))


def _sequence(s: Specification, task: Task, body: list[nn.Module], last: bool) -> nn.Sequential:
    first: nn.Module = nn.Linear(task.train[0].shape[-1], s.width)
    if task.vocabulary:
        first = nn.Embedding(task.vocabulary, s.width)
    with torch.no_grad():
        features = nn.Sequential(first, *body)(task.train[0][:2]).shape[-1]
    return nn.Sequential(
        first, *body, _Taken(last=last), *_drop(s), nn.Linear(features, task.outputs)
    )


def rnn(s: Specification, task: Task) -> nn.Sequential:
    """Elman's, by tanh."""
    depth = min(s.depth, 3)
    cell = nn.RNN(s.width, s.width, depth, batch_first=True)
    return _sequence(s, task, [_Outputs(cell)], last=True)


def bidirectional_lstm(s: Specification, task: Task) -> nn.Sequential:
    """Both ways, and the mean."""
    depth = min(s.depth, 2)
    cell = nn.LSTM(s.width, s.width // 2, depth, batch_first=True, bidirectional=True)
    return _sequence(s, task, [_Outputs(cell)], last=False)


def dilated_cnn(s: Specification, task: Task) -> nn.Sequential:
    """Convolutions that look twice as far each time, added."""
    body: list[nn.Module] = []
    for number in range(s.depth):
        far = 2 ** (number % 3)
        convolution = nn.Conv1d(s.width, s.width, 3, padding=far, dilation=far)
        inner = [*_norm1(s, s.width), _Swapped(convolution), ACTIVATIONS[s.activation]()]
        body.append(_Added(*inner, scale=s.branch_scale))
    return _sequence(s, task, body, last=False)


def linear_attention(s: Specification, task: Task) -> nn.Sequential:
    """Blocks of linear attention and a gated layer."""
    body: list[nn.Module] = []
    for _ in range(s.depth):
        body.append(_Added(*_norm1(s, s.width), _LinearAttention(s.width), scale=s.branch_scale))
        gated = [_Gated(s.width, s.width), nn.Linear(s.width, s.width)]
        body.append(_Added(*_norm1(s, s.width), *gated, scale=s.branch_scale))
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

"""Random small modules, most of them odd in some way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.faults.models.fuses import Burning, Fuse

CLASSES = 3

KINDS = ("vector", "vector", "image", "sequence", "tokens", "complex", "two", "mapping")
"""What goes in: [n, d], [n, c, h, w], [n, t, d], token ids [n, t], complex [n, d], two of [n, d]
or a mapping of two."""

QUIRKS = (
    *("changes its input", "replaces a parameter", "writes to a parameter", "assigns its data"),
    *("replaces a buffer", "counts in a buffer", "adds a buffer", "draws numbers", "keeps output"),
    *("tied", "frozen", "all frozen", "unfreezes", "writes gradients", "parts in evaluation"),
    *("changes its mode", "spectral norm", "weight norm", "lazy", "lazy, run", "own loss"),
    *("returns a tuple", "returns a mapping", "own hooks", "not finite weights", "zero weights"),
    *("no parameters", "needs gradients", "sparse buffer", "large", "small", "gradients given"),
    *("max norm", "alternates", "raises in evaluation", "detached"),
)


class Drawn(nn.Module):
    """A stem, a few layers and a head, with quirks; a fuse may burn in its middle.

    Args:
        draw: All that is random about it, but the values of its weights.
        kind: One of `KINDS`.
        width: Features of its input, 2 or more.
        quirks: Some of `QUIRKS`.
        fuse: Of the case.
    """

    count: Tensor

    def __init__(
        self, draw: random.Random, kind: str, width: int, quirks: frozenset[str], fuse: Fuse
    ) -> None:
        super().__init__()
        self.kind, self.quirks, self.fuse = kind, quirks, fuse
        hidden = draw.choice((4, 6, 8))
        dtype = torch.complex64 if kind == "complex" else torch.float32
        self.stem = _stem(draw, kind, width, hidden, quirks)
        self.layers = nn.ModuleList(_layers(draw, kind, hidden, draw.randint(0, 3)))
        self.head = nn.Linear(hidden, CLASSES, dtype=dtype)
        self.residual = draw.random() < 0.3
        self.register_buffer("count", torch.zeros(()))
        self.called = 0
        self.kept: Tensor | None = None
        for quirk in sorted(quirks):
            if quirk in AT_FIRST:
                AT_FIRST[quirk](self)

    def forward(self, x: Any, y: Any = None, *, second: Any = None) -> Any:
        """Outputs [n, classes], or what the quirks make of them."""
        self.called += 1
        for quirk in sorted(self.quirks):
            if quirk in IN_FORWARD:
                IN_FORWARD[quirk](self, x)
        if self.kind in ("two", "mapping"):
            other = second if self.kind == "mapping" else y
            x = x if other is None else x + other
        hidden = self.stem(x)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        hidden = hidden.mean(dim=1) if hidden.dim() == 3 else hidden
        self.fuse.raising("forward")
        counted = self.fuse.counted
        hidden = self.fuse.spoiled("forward", hidden)
        if self.fuse.place == "backward" and hidden.requires_grad:
            hidden = Burning.apply(hidden, self.fuse)
        for layer in self.layers:
            hidden = hidden + layer(hidden) if self.residual else layer(hidden)
        output = self.head(hidden)
        if bool(output.isfinite().all()):  # as behind a ReLU: nobody has seen it
            self.fuse.counted = counted
        return self._told(output, y)

    def _told(self, output: Tensor, target: Any) -> Any:
        output = output.abs() if output.is_complex() else output
        if "needs gradients" in self.quirks:
            output = output + torch.autograd.grad(output.sum(), self.head.weight)[0].sum()
        if "keeps output" in self.quirks:
            self.kept = output
        if "detached" in self.quirks:
            output = output.detach()
        if "own loss" in self.quirks and target is not None:
            return {"loss": cross_entropy(output, target), "logits": output}
        if "returns a tuple" in self.quirks:
            return output, None
        return {"logits": output} if "returns a mapping" in self.quirks else output


def _stem(
    draw: random.Random, kind: str, width: int, hidden: int, quirks: frozenset[str]
) -> nn.Module:
    if kind == "image":
        pooled = (nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        norm = [nn.BatchNorm2d(hidden)] if draw.random() < 0.5 else []
        return nn.Sequential(nn.Conv2d(width, hidden, 3, padding=1), *norm, *pooled)
    if kind == "sequence":
        attention = nn.TransformerEncoderLayer(hidden, 2, 2 * hidden, batch_first=True)
        cells: list[Callable[[], nn.Module]] = [
            lambda: nn.LSTM(width, hidden, draw.randint(1, 2), batch_first=True),
            lambda: nn.GRU(width, hidden, batch_first=True),
            lambda: nn.Sequential(nn.Linear(width, hidden), attention),
        ]
        return draw.choice(cells)()
    if kind == "tokens":
        return nn.Embedding(width, hidden, max_norm=0.5 if "max norm" in quirks else None)
    if kind == "complex":
        return nn.Linear(width, hidden, dtype=torch.complex64)
    return nn.LazyLinear(hidden) if quirks & {"lazy", "lazy, run"} else nn.Linear(width, hidden)


def _layers(draw: random.Random, kind: str, hidden: int, count: int) -> Iterator[nn.Module]:
    """Each a function from [n, hidden] to [n, hidden]."""
    dtype = torch.complex64 if kind == "complex" else torch.float32
    activations = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, lambda: nn.ReLU(inplace=True))
    others = (
        lambda: nn.BatchNorm1d(hidden),
        lambda: nn.LayerNorm(hidden),
        lambda: nn.Dropout(0.3),
        lambda: nn.GroupNorm(2, hidden),
    )
    for _ in range(count):
        yield nn.Linear(hidden, hidden, dtype=dtype)
        if kind != "complex":
            yield draw.choice(activations)()
            if draw.random() < 0.4:
                yield draw.choice(others)()


@torch.no_grad()
def _scaled(model: Drawn, factor: float) -> None:
    for parameter in model.head.parameters():
        parameter.mul_(factor)


def _tied(model: Drawn) -> None:
    linear = [m for m in model.layers if isinstance(m, nn.Linear)]
    if len(linear) > 1:
        linear[-1].weight = linear[0].weight


def _hooked(model: Drawn) -> None:
    model.head.register_forward_hook(lambda *_: None)
    model.head.register_forward_pre_hook(lambda *_: None)
    model.head.register_full_backward_hook(lambda *_: None)
    if model.head.weight.requires_grad:
        model.head.weight.register_hook(lambda gradient: gradient)


def _with_gradients(model: Drawn) -> None:
    for parameter in model.head.parameters():
        parameter.grad = torch.ones_like(parameter)


def _without_parameters(model: Drawn) -> None:
    model.stem, model.head = nn.Flatten(), nn.Identity()  # type: ignore[assignment]
    model.layers = nn.ModuleList([])


def _sparse(model: Drawn) -> None:
    model.register_buffer("graph", torch.eye(3).to_sparse())


AT_FIRST: dict[str, Callable[[Drawn], object]] = {
    "tied": _tied,
    "frozen": lambda model: model.stem.requires_grad_(False),
    "all frozen": lambda model: model.requires_grad_(False),
    "parts in evaluation": lambda model: [layer.eval() for layer in model.layers],
    "spectral norm": lambda model: nn.utils.spectral_norm(model.head),
    "weight norm": lambda model: nn.utils.parametrizations.weight_norm(model.head),
    "own hooks": _hooked,
    "not finite weights": lambda model: _scaled(model, float("nan")),
    "zero weights": lambda model: _scaled(model, 0.0),
    "large": lambda model: _scaled(model, 1e12),
    "small": lambda model: _scaled(model, 1e-12),
    "gradients given": _with_gradients,
    "no parameters": _without_parameters,
    "sparse buffer": _sparse,
}
"""Quirks of a model as it is built."""


def _replace_parameter(model: Drawn, _: Any) -> None:
    model.head.bias = nn.Parameter(model.head.bias.detach() + 0.1)


def _write_parameter(model: Drawn, _: Any) -> None:
    with torch.no_grad():
        model.head.bias.add_(0.1)


def _assign_data(model: Drawn, _: Any) -> None:
    model.head.bias.data = model.head.bias.data * 0.5


def _replace_buffer(model: Drawn, _: Any) -> None:
    model.count = model.count + 1


def _add_buffer(model: Drawn, _: Any) -> None:
    model.register_buffer("late", torch.ones(2))


def _draw_numbers(*_: object) -> None:
    torch.rand(3), np.random.rand(), random.random()


def _change_input(_: Drawn, x: Any) -> None:
    if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex()):
        x.mul_(0.5)


def _write_gradients(model: Drawn, _: Any) -> None:
    model.head.bias.grad = torch.ones_like(model.head.bias)


def _raise_in_evaluation(model: Drawn, _: Any) -> None:
    if not model.training:
        raise RuntimeError("this model cannot be evaluated")


IN_FORWARD: dict[str, Callable[[Drawn, Any], object]] = {
    "changes its input": _change_input,
    "replaces a parameter": _replace_parameter,
    "writes to a parameter": _write_parameter,
    "assigns its data": _assign_data,
    "replaces a buffer": _replace_buffer,
    "counts in a buffer": lambda model, _: model.count.add_(1),
    "adds a buffer": _add_buffer,
    "draws numbers": _draw_numbers,
    "unfreezes": lambda model, _: model.stem.requires_grad_(True),
    "writes gradients": _write_gradients,
    "changes its mode": lambda model, _: model.train(not model.training),
    "raises in evaluation": _raise_in_evaluation,
    "alternates": lambda model, _: (
        model.layers.train() if model.called % 2 else model.layers.eval()
    ),
}
"""Quirks of each forward pass."""


def drawn_quirks(draw: random.Random) -> frozenset[str]:
    """Two fifths of the models have none, few have three; some do not go together."""
    quirks = frozenset(draw.sample(QUIRKS, draw.choice((0, 0, 0, 1, 1, 2, 3))))
    if "no parameters" in quirks:
        return frozenset({"no parameters"})
    if quirks & {"lazy", "lazy, run"}:  # which have nothing yet to be frozen
        quirks -= {"frozen", "all frozen"}
    return quirks - {"weight norm"} if "spectral norm" in quirks else quirks

"""Sequences: characters, tokens that are drawn, and series."""

from __future__ import annotations

import math
import sysconfig
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.prediction.trials.tasks.task import IGNORED, Task, generator


def characters(_: Path) -> Task:
    """The next character of the standard library's own sources, at each of 24 positions."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    text = "".join(f.read_text(encoding="utf-8") for f in sorted(folder.glob("[a-h]*.py")))[
        :400_000
    ]
    common = sorted(sorted(set(text)), key=lambda c: -text.count(c))[:63]
    number = {c: i + 1 for i, c in enumerate(common)}
    tokens = torch.tensor([number.get(c, 0) for c in text])
    windows = tokens[: len(tokens) // 25 * 25].view(-1, 25)
    windows = windows[torch.randperm(len(windows), generator=generator(3))]
    x, y = windows[:, :-1], windows[:, 1:]
    families = ("gru", "lstm", "causal transformer", "causal cnn1d")
    rest, test = slice(0, 14_000), slice(14_000, 14_600)
    parts = (x[rest], y[rest]), (x[test], y[test])
    return Task("characters", "characters", "classes", *parts, 64, families, 64)


def _copying(name: str, seed: int, *, ordered: bool) -> Task:
    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(1, 11, (n, 7), generator=generator(seed))
        asked = symbols.sort(dim=1).values if ordered else symbols
        x = torch.cat([symbols, torch.zeros_like(symbols)], dim=1)
        return x, torch.cat([torch.full_like(symbols, IGNORED), asked], dim=1)

    families = ("gru", "lstm", "transformer", "cnn1d")
    parts = drawn(8000, seed), drawn(600, seed + 1)
    return Task(name, name, "classes", *parts, 11, families, 11)


def copying(_: Path) -> Task:
    """Repeat seven symbols."""
    return _copying("copying", 10, ordered=False)


def sorting(_: Path) -> Task:
    """Sort seven symbols."""
    return _copying("sorting", 20, ordered=True)


def modular_addition(_: Path) -> Task:
    """A + b mod 23, all pairs: it is fitted, not generalized, and tested on pairs seen."""
    a, b = torch.cartesian_prod(torch.arange(23), torch.arange(23)).unbind(1)
    x, y = torch.stack([a, b + 23], dim=1), (a + b) % 23
    families = ("token mlp", "token transformer")
    return Task("modular addition", "modular", "classes", (x, y), (x, y), 23, families, 46)


def parity(_: Path) -> Task:
    """Whether an odd number of three of twelve bits is set."""

    def drawn(n: int, seed: int) -> tuple[Tensor, Tensor]:
        bits = torch.randint(2, (n, 12), generator=generator(seed))
        return bits, bits[:, :3].sum(dim=1) % 2

    families = ("token mlp", "token transformer", "token gru")
    return Task("parity", "parity", "classes", drawn(6000, 30), drawn(1000, 31), 2, families, 2)


def _waves(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Series [n, 25, 1] of five kinds, and their kind."""
    g = generator(seed)
    kind = torch.randint(5, (n,), generator=g)
    frequency = 0.3 + 0.7 * torch.rand(n, 1, generator=g)
    phase = 2 * math.pi * torch.rand(n, 1, generator=g)
    angle = frequency * torch.arange(25.0) + phase
    forms = torch.stack(
        [
            angle.sin(),
            angle.sin().sign(),
            angle.remainder(2 * math.pi) / math.pi - 1,
            angle.sin() * (angle / 3).sin(),
            (angle + 2 * (angle / 2).sin()).sin(),
        ]
    )
    series = forms[kind, torch.arange(n)] + 0.1 * torch.randn(n, 25, generator=g)
    return series[..., None], kind


def wave_classes(_: Path) -> Task:
    """Of what kind is the series?"""
    (x, y), (xt, yt) = _waves(5000, 6), _waves(1000, 7)
    families = ("last gru", "last lstm", "last transformer", "mlp", "cnn1d classes")
    return Task("wave classes", "waves", "classes", (x, y), (xt, yt), 5, families)


def wave_values(_: Path) -> Task:
    """How does the series go on?"""
    (x, _y), (xt, _z) = _waves(5000, 6), _waves(1000, 7)
    families = ("last gru", "last lstm", "last transformer", "deep mlp")
    parts = (x[:, :-1], x[:, -1]), (xt[:, :-1], xt[:, -1])
    return Task("wave values", "waves", "values", *parts, 1, families)

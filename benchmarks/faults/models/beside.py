"""What another thread of the user's does while a case is probed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import recent_prune as rp
from benchmarks.faults.models.states import bits

STEPS = 20
"""Of the training beside: about as long as a probe."""


def _data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    return x, torch.arange(32) % 3


def _model() -> nn.Module:
    # Random numbers of the whole process are the probe's to put back.
    linear = partial(nn.utils.skip_init, nn.Linear)
    model = nn.Sequential(linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), linear(8, 3))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def trained() -> object:
    """A training without random numbers: the same each time, to the last bit."""
    model, (x, y) = _model(), _data()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return [bits(tensor) for tensor in model.state_dict().values()]


def probed() -> object:
    """A probe of a model of the thread's own."""
    training = rp.Training(cross_entropy, lambda p: torch.optim.SGD(p, 0.1), steps=2)
    result = rp.probe(_model(), [_data()], training=training)
    return result.relative_entropy, result.retained, result.steps


WORK: dict[str, Callable[[], object]] = {"trains": trained, "probes": probed}


@cache
def alone(what: str) -> object:
    """What comes of it where nothing is beside."""
    return WORK[what]()


@contextmanager
def beside(what: str) -> Iterator[Callable[[], str]]:
    """Run it in a thread meanwhile; the function given says how it differs from `alone`, or ""."""
    if not what:
        yield lambda: ""
        return
    expected, found = alone(what), list[object]()

    def work() -> None:
        try:
            found.append(WORK[what]())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()

    def told() -> str:
        thread.join()
        return "" if found[0] == expected else f"a thread that {what} got {found[0]!r:.200}"

    try:
        yield told
    finally:
        thread.join()

"""What a sweep is, and what is killed in it: drawn by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

Victim = Literal["trial", "probe", "node", "driver"]

SCHEDULERS = ("FIFO", "ASHA", "HyperBand", "median", "PBT")
VICTIMS: tuple[Victim, ...] = ("trial", "probe", "node", "driver")
LATEST = 12
"""Signs of life after which something is killed at the latest; a sweep gives about twenty."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL for one process, or for a node, which is replaced.

    Attributes:
        victim: What is killed.
        after: Signs of life (a model built, an iteration reported) that the sweep gives before.
    """

    victim: Victim
    after: int


@dataclass(frozen=True)
class Sweep:
    """One sweep.

    Attributes:
        number: In the benchmark.
        gated: Whether with our scheduler, or by the wrapped one alone.
        scheduler: Tune's, one of `SCHEDULERS`.
        optuna: Whether `OptunaSearch` samples; else it is done at random.
        trials: To be sampled.
        first_steps: Whether trials are judged by their first steps; else at initialization.
        keep: Share of the candidates that is started.
        probes: Seconds that building a model takes in a probe; None: one of them never ends.
        kills: In their order.
    """

    number: int
    gated: bool
    scheduler: str
    optuna: bool
    trials: int
    first_steps: bool
    keep: float
    probes: float | None
    kills: tuple[Kill, ...]

    @property
    def plain(self) -> Sweep:
        """The same without our scheduler."""
        return replace(self, gated=False)

    @property
    def seed(self) -> int:
        """Of what is sampled, and of which process is killed."""
        return self.number


def drawn(seed: int, number: int) -> Sweep:
    """The sweep of a number: schedulers take turns, all else is drawn.

    Args:
        seed: Of the benchmark.
        number: Of the sweep, from 0.
    """
    numbers = random.Random(f"{seed} {number}")
    scheduler = SCHEDULERS[number % len(SCHEDULERS)]
    first_steps = numbers.random() < 0.5
    keep = 0.5 if first_steps and numbers.random() < 0.5 else 1.0
    victims = numbers.choice([[], *([[v] for v in VICTIMS] * 2), numbers.sample(VICTIMS, 2)])
    moments = sorted(numbers.randint(1, LATEST) for _ in victims)
    return Sweep(
        number=number,
        gated=True,
        scheduler=scheduler,
        optuna=numbers.random() < 0.4 and scheduler != "PBT",  # which refuses a searcher
        trials=numbers.choice([3, 4]),
        first_steps=first_steps,
        keep=keep,
        probes=numbers.choice([0.0, 0.0, 0.0, 1.0, 1.0, None]),
        kills=tuple(Kill(v, after) for v, after in zip(victims, moments, strict=True)),
    )

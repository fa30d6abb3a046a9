"""Trials for simulated studies: what a probe would say of each, and what it would come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from benchmarks.prediction.evaluate import DEFAULT, log_odds
from benchmarks.prediction.score import NUMBERS
from recent_prune.rules.certified import Judgement

PREDICTION = Path(__file__).parent.parent / "prediction"

GOOD = 0.9
"""A trial with at least this value is good."""


@dataclass(frozen=True)
class Drawn:
    """A trial as a study would meet it.

    Attributes:
        features: Of its probe.
        parameters: Its hyperparameters.
        value: That it would reach if it ran.
    """

    features: dict[str, float]
    parameters: dict[str, Any]
    value: float


Stream = Callable[[np.random.Generator, int], Generator[Drawn, Judgement, None]]
"""From a generator of numbers and the number of trials to the trials, in order; each judgement is
sent back before the next trial is drawn."""


Score = Callable[[np.random.Generator, float, float], float]
"""From a generator, a trial's quality and the study's progress in [0, 1) to what the probe says."""


def _trial(
    numbers: np.random.Generator, quality: float, score: float, learning_rate: float
) -> Drawn:
    """Good with odds that grow with quality; the learning rate matters as well."""
    odds = 4 * quality - (math.log10(learning_rate) + 3) ** 2 + 1
    good = numbers.random() < 1 / (1 + math.exp(-odds))
    value = GOOD + 0.1 * numbers.random() if good else GOOD * numbers.random()
    return Drawn({"score": score, "depth": float(numbers.normal())}, {"lr": learning_rate}, value)


def _learning_rate(numbers: np.random.Generator) -> float:
    return float(10 ** numbers.uniform(-5, -1))


def honest(numbers: np.random.Generator, trials: int) -> Generator[Drawn, Judgement, None]:
    """The probe knows the quality, with some noise."""
    for _ in range(trials):
        quality = numbers.normal()
        score = quality + 0.3 * numbers.normal()
        yield _trial(numbers, quality, score, _learning_rate(numbers))


def useless(numbers: np.random.Generator, trials: int) -> Generator[Drawn, Judgement, None]:
    """Neither the probe nor the learning rate says anything."""
    for _ in range(trials):
        good = numbers.random() < 0.5
        value = GOOD + 0.1 * numbers.random() if good else GOOD * numbers.random()
        known = {"score": float(numbers.normal()), "depth": float(numbers.normal())}
        yield Drawn(known, {"lr": _learning_rate(numbers)}, value)


def adversarial(numbers: np.random.Generator, trials: int) -> Generator[Drawn, Judgement, None]:
    """Honest for the first half; then the probe says the opposite, and good trials look doomed."""
    for index in range(trials):
        quality = numbers.normal()
        sign = 1.0 if index < trials // 2 else -1.0
        score = sign * quality + 0.3 * numbers.normal()
        yield _trial(numbers, quality, score, _learning_rate(numbers))


def drifting(numbers: np.random.Generator, trials: int) -> Generator[Drawn, Judgement, None]:
    """A sampler that learns: better trials in time, whose scores fall all the same."""
    for index in range(trials):
        progress = index / trials
        quality = numbers.normal() + progress
        score = quality - 2 * progress + 0.3 * numbers.normal()
        yield _trial(numbers, quality, score, _learning_rate(numbers))


def trained(numbers: np.random.Generator, trials: int) -> Generator[Drawn, Judgement, None]:
    """Networks that were really trained (``benchmarks/prediction``), drawn with replacement.

    Of the samples that the score was not fitted to.
    """
    tables = [
        pd.read_csv(PREDICTION / f"trained_{name}_digits.csv").merge(
            pd.read_csv(PREDICTION / f"scores_{name}_digits.csv"), on="index"
        )
        for name in ("test", "holdout")
    ]
    table = pd.concat(tables, ignore_index=True)
    table[DEFAULT] = log_odds(table[list(NUMBERS)])
    best = table["accuracy"].max()
    for row in numbers.integers(len(table), size=trials):
        known = table.iloc[int(row)]
        score = float(np.clip(known[DEFAULT], -50, 50))
        features = {"score": score, "depth": math.log(known["depth"])}
        parameters = {
            "weight_variance": float(known["weight_variance"]),
            "depth": float(known["depth"]),
            "activation": known["activation"],
            "norm": known["norm"],
            "skip": bool(known["skip"]),
        }
        value = GOOD + 0.1 if known["accuracy"] > best - 0.1 else float(known["accuracy"]) * GOOD
        yield Drawn(features, parameters, value)


def _tpe(score: Score) -> Stream:
    """Optuna's TPE searches for the best quality and learning rate; the score knows what it may."""

    def stream(numbers: np.random.Generator, trials: int) -> Generator[Drawn, Judgement, None]:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=int(numbers.integers(2**31)))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for index in range(trials):
            trial = study.ask()
            learning_rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
            quality = trial.suggest_float("quality", -3.0, 3.0) + 0.5 * numbers.normal()
            known = score(numbers, quality, index / trials)
            drawn = _trial(numbers, quality, known, learning_rate)
            # The rule does not see the quality: as if it were that of an architecture's name.
            told = yield drawn
            trial.set_constraint("recent_prune", told.verdict.violation)
            if told.runs:
                study.tell(trial, drawn.value)
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    return stream


STREAMS: dict[str, Stream] = {
    "honest": honest,
    "useless": useless,
    "adversarial": adversarial,
    "drifting": drifting,
    "trained networks": trained,
    "honest, TPE": _tpe(lambda numbers, quality, _: quality + 0.3 * numbers.normal()),
    "useless, TPE": _tpe(lambda numbers, *_: float(numbers.normal())),
    "adversarial, TPE": _tpe(
        lambda numbers, quality, progress: (
            (quality if progress < 0.5 else -quality) + 0.3 * numbers.normal()
        )
    ),
}

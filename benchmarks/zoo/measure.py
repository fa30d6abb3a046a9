"""One architecture, measured: a row of the table."""

from __future__ import annotations

import math
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import torch
from torch import nn

import recent_prune as rp
from benchmarks.zoo.plain import forward_seconds, trained
from benchmarks.zoo.specification import BUDGET, Entry
from recent_prune.probe.watching.modules import is_weighted

LIMIT = 180.0
"""Seconds that a probe may take."""

TRAINING_LIMIT = 240.0
"""Seconds that a short real training may take; one that is cut by it tells nothing."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise a TimeoutError in what takes longer; only in the main thread of a process."""

    def late(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"It took more than {seconds:g} s.")

    was = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, was)


def described(error: BaseException) -> str:
    """Type, text, notes, and the line of ours where it was raised."""
    notes = " | ".join(getattr(error, "__notes__", ()))
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        f"{f.filename.split('/')[-1]}:{f.lineno}" for f in frames if "recent_prune" in f.filename
    ]
    text = f"{type(error).__name__}: {error} {notes}"
    return f"{' '.join(text.split())[:600]} @ {' < '.join(ours[-3:][::-1])}"


def warm_up() -> None:
    """The first optimizer of a process imports for seconds, which is no cost of a probe."""
    model = nn.Linear(4, 1)
    torch.optim.Adam(model.parameters()).step()


def measured(entry: Entry, trial_only: bool = False) -> dict[str, Any]:
    """Probe it without a training and with it."""
    row: dict[str, Any] = {
        "name": entry.name,
        "source": entry.source,
        "family": entry.family,
        "called": entry.called,
    }
    start = time.perf_counter()
    try:
        with limited(LIMIT):
            torch.manual_seed(0)
            model = entry.build()
            batches = entry.batches(0)
    except (Exception, TimeoutError) as error:
        return row | {"built": False, "error": described(error)}
    row |= {
        "built": True,
        "build_seconds": round(time.perf_counter() - start, 2),
        "parameters": sum(p.numel() for p in model.parameters()),
        "weighted": sum(is_weighted(module) for module in model.modules()),
    }
    if not trial_only:
        row |= _initialization(entry, model, batches)
    return row | _trial(entry, model, batches)


def _initialization(entry: Entry, model: nn.Module, batches: list[Any]) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        result = _probed(entry, model, batches, None)
    except (Exception, TimeoutError) as error:
        return {"answered": False, "error": described(error)}
    seconds = time.perf_counter() - start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        passes = forward_seconds(entry, model, batches, result.samples)
    verdict = rp.TrainabilityRule()(result)
    return {
        "answered": True,
        "error": "",
        "seconds": round(seconds, 3),
        "forward_seconds": round(passes, 4),
        "layers": result.depth,
        "unseen": len(result.unseen),
        "inputs": " ".join(result.inputs),
        "trainable": verdict.trainable,
        "cause": str(verdict.cause or ""),
        "reason": verdict.reason,
        "notes": " ".join(result.notes),
    }


def _trial(entry: Entry, model: nn.Module, batches: list[Any]) -> dict[str, Any]:
    model.train()
    start = time.perf_counter()
    try:
        result = _probed(entry, model, batches, entry.training)
    except (Exception, TimeoutError) as error:
        return {"trial_answered": False, "trial_error": described(error)}
    verdict = rp.TrainabilityRule()(result)
    assert result.steps is not None
    return {
        "trial_answered": True,
        "trial_error": "",
        "trial_seconds": round(time.perf_counter() - start, 3),
        "trial_trainable": verdict.trainable,
        "trial_cause": str(verdict.cause or ""),
        "trial_reason": verdict.reason,
        "trial_score": round(rp.TrainabilityRule.score(result), 3),
        "repeatable": result.steps.repeatable,
        "constant_loss": result.steps.constant_loss,
        "loss_before": result.steps.loss_before,
        "loss_after": result.steps.loss_after,
    }


def _probed(
    entry: Entry, model: nn.Module, batches: list[Any], training: rp.Training | None
) -> rp.ProbeResult:
    with limited(LIMIT), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if training is None:
            return rp.probe(model, batches, call=entry.call or entry.training.call)
        return rp.probe(model, batches, training=replace(training, budget=BUDGET))


def confirmed(entry: Entry, row: dict[str, Any]) -> dict[str, Any]:
    """What a short real training says, beside the row of the probe."""
    known = row.get("constant_loss", math.nan)
    constant = known if isinstance(known, float) else math.nan
    try:
        with limited(2 * TRAINING_LIMIT), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = trained(entry, constant, TRAINING_LIMIT)
    except (Exception, TimeoutError) as error:
        return row | {"training_error": described(error)}
    clear = found.trains(constant) or found.ended
    cut = f"cut after {found.steps} steps and {found.seconds:.0f} s"
    return row | {
        "training_error": "" if clear else cut,
        "trained_steps": found.steps,
        "trained_before": found.before,
        "trained_after": found.after,
        "trained_seconds": round(found.seconds, 1),
        "trains": found.trains(constant) if clear else "",
    }

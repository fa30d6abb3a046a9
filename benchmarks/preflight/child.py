"""What a child process does with one row."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

import recent_prune as rp
from benchmarks.preflight.memory import exact_allocator, peak
from benchmarks.preflight.models import Case, all_cases, held_out_cases, large_cases

STEPS = 2
"""The second holds the optimizer's state."""
BUDGET = 20
"""Steps of the full training whose time is predicted."""
LONGEST_S = 120
"""Of a child."""

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-4),
}


def training_of(case: Case, row: dict[str, Any], **other: Any) -> rp.Training:
    dtype = torch.bfloat16 if row["autocast"] else None
    return rp.Training(case.loss, OPTIMIZERS[row["optimizer"]], autocast=dtype, **other)


def estimated(case: Case, row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    batch = case.batch(row["batch"])
    found = rp.preflight(case.build, [batch], training_of(case, row), device=device)
    return {
        "method": found.method,
        "estimated": round(found.memory.value),
        "estimate_s": found.seconds,
        "operations": found.operations,
        **{f"estimated_{name}": size for name, size in found.parts.items()},
    }


def step_of(case: Case, row: dict[str, Any], model: nn.Module, batch: Any) -> Callable[[], float]:
    """A plain loop's step, and its seconds."""
    optimizer = OPTIMIZERS[row["optimizer"]](model.parameters())
    device = next(model.parameters()).device
    enabled = bool(row["autocast"])

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            if case.loss is None:
                loss = model(**batch).loss
            else:
                loss = case.loss(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter() - start

    return step


def placed(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, dict):
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return tuple(tensor.to(device) for tensor in batch)


def trained(case: Case, row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    exact_allocator()
    told = estimated(case, row, device)
    warm_up(row, device)
    seconds: list[float] = []

    def run() -> None:
        torch.manual_seed(0)
        model = case.build().to(device).train()
        step = step_of(case, row, model, placed(case.batch(row["batch"]), device))
        seconds.extend(step() for _ in range(STEPS))

    return {**told, "measured": peak(run, device), "step_s": min(seconds)}


def warm_up(row: dict[str, Any], device: torch.device) -> None:
    """Load what PyTorch loads once."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    )
    case = Case("", "", lambda: model, lambda _: None, (1, 1, 1))
    batch = (torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.long))
    step = step_of(case, row, model.to(device), placed(batch, device))
    for _ in range(2):
        step()
    attention = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True).to(device)
    attention(torch.randn(2, 8, 32, device=device)).sum().backward()


def timed(case: Case, row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    torch.manual_seed(0)
    model = case.build().to(device)
    batches = [case.batch(row["batch"]) for _ in range(max(4, 1 + 32 // row["batch"]))]
    training = training_of(case, row, steps=4, budget=BUDGET)
    probed = rp.probe(model, batches, training=training)
    told = rp.preflight(model, batches, training).refined(probed).training_seconds
    assert told is not None
    step = step_of(case, row, model.train(), placed(batches[0], device))
    step()
    return {
        "predicted_s": told.value,
        "predicted_low_s": told.low,
        "predicted_high_s": told.high,
        "training_s": sum(step() for _ in range(BUDGET)),
    }


def costs(case: Case, row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Of the second estimate."""
    exact_allocator()
    estimated(case, row, device)
    again: list[dict[str, Any]] = []
    start = time.process_time()
    took = peak(lambda: again.append(estimated(case, row, device)), torch.device("cpu"))
    known = {"seconds": again[0]["estimate_s"], "cpu_seconds": time.process_time() - start}
    return {**known, "took": took, "parameters": again[0]["estimated_parameters"]}


WHAT = {"trained": trained, "estimated": estimated, "timed": timed, "costs": costs}


def known_cases() -> list[Case]:
    """All that a row may be of."""
    return [*all_cases(), *large_cases(), *held_out_cases()]


def outcome(what: str, number: int, row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    signal.alarm(LONGEST_S)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        return WHAT[what](known_cases()[number], row, device)
    except Exception as error:
        return {"error": " ".join(f"{what}: {type(error).__name__}: {error}".split())[:200]}

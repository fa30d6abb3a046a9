"""Estimated against measured memory and time of a training step.

Protocol. Every model of :mod:`benchmarks.preflight.models` is measured at three batch sizes, each
with another optimizer (sizes and optimizers take turns over the models), and once more in mixed
precision (bfloat16). For each of these rows a child process

- estimates: `rp.preflight` of the function that builds the model. That also loads all code that the
  model needs;
- trains a small network, so that PyTorch's libraries are loaded, too;
- builds the model and makes two steps of a plain loop, ``loss(model(x), y).backward()``. Measured
  is the process's peak of resident memory (``VmHWM``, reset before the model is built) less what
  was resident then, so the model's own part: parameters, buffers, batch, gradients, optimizer,
  activations, all that kernels take for themselves, and the objects of Python. glibc gives freed
  memory back at once (:func:`benchmarks.preflight.memory.exact_allocator`). With ``--device cuda``
  it is the allocator's peak (``max_memory_allocated``).

Where a step in single precision takes less than ``QUICK_S``, another child, with glibc's own
settings, makes the estimate, probes with four first steps and then really trains ``BUDGET`` steps:
predicted against measured seconds of the whole. What an estimate costs (``costs_cpu.json``) is
measured for ResNet-50 and BERT-base in a child each: seconds of the second estimate, when all is
loaded, and the growth of resident memory during it.

Children are forked after all libraries are imported; the parent runs nothing (with ``--device
cuda`` they are spawned anew). One thread.

Run it: ``python -m benchmarks.preflight.measure``; it goes on where it stopped, and writes
``rows_cpu.csv`` and ``results_cpu.md`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

import recent_prune as rp
from benchmarks.preflight.memory import exact_allocator, peak
from benchmarks.preflight.models import Case, all_cases, large_cases
from benchmarks.preflight.report import report

HERE = Path(__file__).parent
STEPS = 2
"""The second holds the optimizer's state."""
BUDGET = 20
"""Steps of the full training whose time is predicted."""
QUICK_S = 0.7
LONGEST_S = 120
"""Of a child."""

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-4),
}


def rows(cases: list[Case]) -> list[dict[str, Any]]:
    """What is to be measured, the models in turn, so that a part of it is a fair sample."""
    names, found = list(OPTIMIZERS), []
    for turn, autocast in ((0, ""), (1, "bfloat16"), (1, ""), (2, "")):
        for number, case in enumerate(cases):
            row: dict[str, Any] = {
                "library": case.library,
                "model": case.name,
                "autocast": autocast,
            }
            row["batch"] = case.sizes[(number + turn) % 3]
            row["optimizer"] = names[(number // 3 + turn) % 3]
            found.append(row)
    return found


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


WHAT = {"trained": trained, "timed": timed, "costs": costs}


def in_child(what: str, number: int, row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """What a process of its own found, or the error."""
    if device.type == "cuda":
        return _spawned(what, number, row, device)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with os.fdopen(write, "w") as pipe:
            pipe.write(json.dumps(outcome(what, number, row, device)))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(told) if told else {"error": "the child was killed"}


def _spawned(what: str, number: int, row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    order = json.dumps([what, number, row, str(device)])
    command = [sys.executable, "-m", "benchmarks.preflight.measure", "--child", order]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = run.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {"error": run.stderr[-300:]}


def outcome(what: str, number: int, row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    import signal
    import warnings

    signal.alarm(LONGEST_S)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        return WHAT[what]([*all_cases(), *large_cases()][number], row, device)
    except Exception as error:
        return {"error": " ".join(f"{what}: {type(error).__name__}: {error}".split())[:200]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--seconds", type=float, default=900, help="stop after, and go on next time"
    )
    parser.add_argument("--only", help="part of a model's name")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, number, row, device = json.loads(options.child)
        print(json.dumps(outcome(what, number, row, torch.device(device))))
        return
    device = torch.device(options.device)
    measure(device, options.seconds, options.only)


def measure(device: torch.device, seconds: float, only: str | None) -> None:
    """All rows that are not on file yet, as far as the time goes; then the tables."""
    import timm  # noqa: F401
    import torchvision  # noqa: F401
    import transformers  # noqa: F401

    end, cases = time.monotonic() + seconds, all_cases()
    file = HERE / f"rows_{device.type}.csv"
    done: list[Any] = pd.read_csv(file).to_dict("records") if file.exists() else []
    place = {case.name: number for number, case in enumerate([*cases, *large_cases()])}

    def found(what: str, row: dict[str, Any]) -> dict[str, Any]:
        return in_child(what, place[row["model"]], row, device)

    known = {_key(row) for row in done}
    for row in rows(cases):
        wanted = _key(row) not in known and (only or "") in row["model"]
        if wanted and time.monotonic() < end:
            done.append(row | found("trained", row))
            save(done, file)
    for row in sorted(done, key=lambda row: row.get("step_s", math.inf)):
        wanted = not _key(row)[-1] and pd.isna(row.get("training_s", math.nan))
        if wanted and row.get("step_s", math.inf) < QUICK_S and time.monotonic() < end:
            row |= found("timed", {**row, "autocast": ""})
            save(done, file)
    row = {"batch": 16, "optimizer": "adamw", "autocast": ""}
    cost = {case.name: found("costs", row | {"model": case.name}) for case in large_cases()}
    (HERE / f"costs_{device.type}.json").write_text(json.dumps(cost, indent=1) + "\n")
    report(file, HERE / f"results_{device.type}.md")


def save(done: list[dict[str, Any]], file: Path) -> None:
    pd.DataFrame(done).convert_dtypes().to_csv(file, index=False)
    print(json.dumps(done[-1]), flush=True)


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    values = (row[name] for name in ("model", "batch", "optimizer", "autocast"))
    return tuple("" if pd.isna(value) else str(value) for value in values)


if __name__ == "__main__":
    main()

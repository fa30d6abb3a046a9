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
``rows_cpu.csv`` and ``results_cpu.md`` beside this file. What libraries keep on a CPU was fitted to
these rows; ``--held-out`` measures models that nothing was fitted to (two rows each, one in mixed
precision) into ``rows_held_out_cpu.csv``. ``--again`` estimates anew what was measured, and takes
all times anew; what was measured of memory stays.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.preflight.child import OPTIMIZERS, known_cases, outcome
from benchmarks.preflight.models import Case, all_cases, held_out_cases, large_cases
from benchmarks.preflight.report import report

HERE = Path(__file__).parent
QUICK_S = 1.5
TIMES = ("predicted_s", "predicted_low_s", "predicted_high_s", "training_s")

TURNS = ((0, ""), (1, "bfloat16"), (1, ""), (2, ""))
"""By which batch sizes and optimizers are shifted, and the type of mixed precision."""


def rows(cases: list[Case], turns: int = len(TURNS)) -> list[dict[str, Any]]:
    """What is to be measured, the models in turn, so that a part of it is a fair sample."""
    names, found = list(OPTIMIZERS), []
    for turn, autocast in TURNS[:turns]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--seconds", type=float, default=900, help="stop after, and go on next time"
    )
    parser.add_argument("--only", help="part of a model's name")
    parser.add_argument("--held-out", action="store_true", help="those that nothing was fitted to")
    parser.add_argument("--again", action="store_true", help="estimate and time anew")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, number, row, device = json.loads(options.child)
        print(json.dumps(outcome(what, number, row, torch.device(device))))
        return
    device = torch.device(options.device)
    import timm  # noqa: F401
    import torchvision  # noqa: F401
    import transformers  # noqa: F401

    wanted = rows(held_out_cases(), 2) if options.held_out else rows(all_cases())
    file = HERE / f"rows_{'held_out_' * options.held_out}{device.type}.csv"
    place = {case.name: number for number, case in enumerate(known_cases())}

    def found(what: str, row: dict[str, Any]) -> dict[str, Any]:
        return in_child(what, place[row["model"]], row, device)

    end = time.monotonic() + options.seconds
    if options.again:
        estimate_again(file, found)
    else:
        measure(wanted, file, found, end, options.only or "")
    take_times(file, found, end)
    if not (options.held_out or options.again):
        row = {"batch": 16, "optimizer": "adamw", "autocast": ""}
        cost = {case.name: found("costs", row | {"model": case.name}) for case in large_cases()}
        (HERE / f"costs_{device.type}.json").write_text(json.dumps(cost, indent=1) + "\n")
    report(HERE / f"rows_{device.type}.csv", HERE / f"results_{device.type}.md")


Found = Callable[[str, dict[str, Any]], dict[str, Any]]
"""What a child finds of a row."""


def read(file: Path) -> list[dict[str, Any]]:
    return pd.read_csv(file).to_dict("records") if file.exists() else []  # type: ignore[return-value]


def estimate_again(file: Path, found: Found) -> None:
    """With what was measured as it is, but for times, which are taken with the estimate."""
    done = read(file)
    for row in done:
        row |= dict.fromkeys(TIMES, math.nan)
        if "error" not in (told := found("estimated", {**row, "autocast": _key(row)[-1]})):
            row |= told
        save(done, file)


def measure(
    wanted_rows: list[dict[str, Any]], file: Path, found: Found, end: float, only: str
) -> None:
    """Memory of all rows that are not on file yet, as far as the time goes."""
    done = read(file)
    known = {_key(row) for row in done}
    for row in wanted_rows:
        wanted = _key(row) not in known and only in row["model"]
        if wanted and time.monotonic() < end:
            done.append(row | found("trained", row))
            save(done, file)


def take_times(file: Path, found: Found, end: float) -> None:
    """Of those that are quick and have none yet."""
    done = read(file)
    for row in sorted(done, key=lambda row: row.get("step_s", math.inf)):
        wanted = not _key(row)[-1] and pd.isna(row.get("training_s", math.nan))
        if wanted and row.get("step_s", math.inf) < QUICK_S and time.monotonic() < end:
            row |= found("timed", {**row, "autocast": ""})
            save(done, file)


def save(done: list[dict[str, Any]], file: Path) -> None:
    pd.DataFrame(done).convert_dtypes().to_csv(file, index=False)
    print(json.dumps(done[-1]), flush=True)


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    values = (row[name] for name in ("model", "batch", "optimizer", "autocast"))
    return tuple("" if pd.isna(value) else str(value) for value in values)


if __name__ == "__main__":
    main()

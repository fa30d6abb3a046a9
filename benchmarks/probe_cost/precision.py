"""What lower precision costs in truth and saves in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch

import recent_prune as rp
from benchmarks.probe_cost.networks import mlp, samples
from benchmarks.probe_cost.timing import seconds

PHASES = {"ordered, σ_w² = 0.5": 0.5, "critical, 1.76": 1.76, "chaotic, 3": 3.0}
REPEATS = 5


def precision_table(device: torch.device) -> list[dict[str, str]]:
    """One row a precision: the retained share in each phase, and the time of a probe.

    Model and inputs are of the type that the row names; Gram matrices and factorizations are in
    float32, or in float64 where that is named.
    """
    settings = [("float64", torch.float64, False), ("float32", torch.float32, False)]
    if device.type == "cuda":
        settings.append(("float32, TF32 products", torch.float32, True))
    settings.append(("bfloat16", torch.bfloat16, False))
    rows = []
    for name, dtype, tf32 in settings:
        row, times = {"precision": name}, []
        with _tf32(tf32):
            for phase, variance in PHASES.items():
                model = mlp(50, 784, weight_variance=variance).to(device, dtype)
                batch = samples(rp.Ridge().samples, (784,), device).to(dtype)
                row[phase] = f"{rp.probe(model, batch).retained[-1]:.5f}"
                run = lambda: rp.probe(model, batch)  # noqa: B023, E731
                times += [seconds(run, device) for _ in range(REPEATS)]
        rows.append({**row, "seconds": f"{median(times):.3f}"})
    return rows


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

"""What a trial of the sweeps is: a deep network for the probe, and a loop in place of training.

Workers import this module, so that nothing heavy stands at its top.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from benchmarks.faults.ray_sweeps.marks import marking

if TYPE_CHECKING:
    from torch import nn

    from recent_prune.probe import Training

ITERATIONS = 4
ITERATION_S = 0.3
DOOMED, SOUND = 0.3, 1.2
"""Gains at which 20 layers lose everything, and at which they do not."""


def space(folder: Path, probes: float | None) -> dict[str, Any]:
    """What is sampled, and what each trial is told."""
    return {
        "gain": tune.choice([DOOMED, SOUND]),
        "lr": tune.loguniform(1e-4, 1e-1),
        "folder": str(folder),
        "probes": probes,
    }


def train(config: dict[str, Any]) -> None:
    """Report and save a few iterations; go on where a checkpoint is."""
    context = tune.get_context()
    mark = marking(
        config["folder"], ray.get_runtime_context().get_node_id(), context.get_trial_id()
    )
    mark("started")
    first = 0
    if (checkpoint := tune.get_checkpoint()) is not None:
        with checkpoint.as_directory() as saved:
            first = int(Path(saved, "iteration").read_text())
    for iteration in range(first + 1, ITERATIONS + 1):
        time.sleep(ITERATION_S)
        saved = Path(config["folder"], "checkpoints", f"{context.get_trial_id()}-{iteration}")
        saved.mkdir(parents=True, exist_ok=True)
        (saved / "iteration").write_text(str(iteration))
        mark("iteration", iteration)
        score = config["gain"] * iteration + config["lr"]
        tune.report({"score": score}, checkpoint=tune.Checkpoint(str(saved)))
    mark("finished", ITERATIONS)


def build(config: dict[str, Any]) -> nn.Module:
    """A deep network; this is called by probes alone."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    mark = marking(config["folder"], ray.get_runtime_context().get_node_id())
    mark("probing")
    stuck = Path(config["folder"], "stuck")
    if config["probes"] is None:
        # The first one for ever, and when it is tried again: it is known by its learning rate.
        if not stuck.exists():
            stuck.write_text(repr(config["lr"]))
        if stuck.read_text() == repr(config["lr"]):
            time.sleep(10_000)
    else:
        time.sleep(config["probes"])
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(20):
        linear = nn.Linear(64, 64)
        nn.init.normal_(linear.weight, std=config["gain"] / 8)
        layers += [linear, nn.Tanh()]
    mark("probed")
    return nn.Sequential(*layers, nn.Linear(64, 10))


def training(model: nn.Module, config: dict[str, Any]) -> Training:
    """The first steps of a trial."""
    from torch import nn, optim

    import recent_prune as rp

    sgd = optim.SGD(model.parameters(), config["lr"])
    return rp.Training(nn.functional.cross_entropy, sgd, steps=2, budget=1000)

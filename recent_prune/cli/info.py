"""The command `recent-prune info`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from recent_prune.cli.console import answer, console, errors_in_one_line
from recent_prune.cli.options import JsonOption

if TYPE_CHECKING:  # heavy, so only loaded where needed
    import torch

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "plotly",
    "optuna",
    "ray",
    "lightning",
    "transformers",
    "torchvision",
    "scikit-learn",
)
"""What may matter for a fault; named even where it is not installed."""
SAMPLES, FEATURES, CLASSES = 256, 16, 4


def info(
    context: typer.Context,
    as_json: JsonOption = False,
) -> None:
    """Versions, devices and a small probe: what an issue should say.

    Exit status: 0, also where the small probe fails: its error is what is told.

    For example: recent-prune info
    """
    with errors_in_one_line(context.obj):
        known = collected()
        answer(lambda: known, lambda: _tell(known), as_json)


def collected() -> dict[str, Any]:
    """All of it, JSON-safe.

    Returns:
        ``versions``: also of `PACKAGES`, None where not installed; ``platform``; ``cpus``;
        ``threads`` of torch; ``probes``: one a device, each with ``device``, ``name``, and either
        the verdict (``trainable``, ``reason``) with ``retained``, ``loss_before``, ``loss_after``
        and ``seconds``, or ``error``.
    """
    import torch

    from recent_prune import __version__

    return {
        "versions": {
            "recent_prune": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,  # with what it was built for
            **{name: _version(name) for name in PACKAGES},
        },
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "probes": [{"device": str(d), "name": _name(d), **_probed(d)} for d in _devices()],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> list[torch.device]:
    import torch

    from recent_prune.probe.restoring.devices import accelerator

    found = [torch.device("cpu")]
    kind = accelerator()
    if kind is not None:
        found += [torch.device(kind.type, i) for i in range(torch.accelerator.device_count())]
    return found


def _name(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        known = torch.cuda.get_device_properties(device)
        return f"{known.name}, {known.total_memory / 2**30:.0f} GiB"
    return platform.processor() or platform.machine()


def _probed(device: torch.device) -> dict[str, Any]:
    """A small network that can train, by its first steps; samples and weights are seeded."""
    import torch

    import recent_prune as rp

    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(SAMPLES, CLASSES, generator=draw)
    x = hidden @ torch.randn(CLASSES, FEATURES, generator=draw)
    data = (x.to(device), hidden.argmax(dim=1).to(device))
    try:
        model = rp.networks.mlp(FEATURES, CLASSES, depth=3, width=32).to(device)
        training = rp.Training(
            torch.nn.functional.cross_entropy, lambda p: torch.optim.Adam(p, 1e-2), budget=300
        )
        rp.probe(model, data, training=training)  # PyTorch's first optimizer loads its compiler
        result = rp.probe(model, data, training=training)
        verdict = rp.TrainabilityRule()(result)
    except Exception as error:  # whatever it is, this is what an issue should say
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    assert result.steps is not None
    return {
        "trainable": verdict.trainable,
        "reason": verdict.reason,
        "retained": result.retained[-1],
        "loss_before": result.steps.loss_before,
        "loss_after": result.steps.loss_after,
        "seconds": result.seconds,
    }


def _tell(known: dict[str, Any]) -> None:
    lines = [f"{name} {number or 'not installed'}" for name, number in known["versions"].items()]
    lines += [known["platform"], f"{known['cpus']} CPUs, {known['threads']} threads of torch"]
    for probe in known["probes"]:
        about = f"{probe['device']} ({probe['name']}): "
        if "error" in probe:
            lines.append(f"{about}the small probe failed: {probe['error']}")
            continue
        lines.append(
            f"{about}{'can train' if probe['trainable'] else 'will not train'}, "
            f"loss {probe['loss_before']:.3f} → {probe['loss_after']:.3f}, "
            f"{probe['retained']:.1%} retained, {probe['seconds']:.3f} s"
        )
    for line in lines:
        console.print(escape(line), highlight=False, soft_wrap=True)

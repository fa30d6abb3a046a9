"""Where and when something was measured, saved beside its numbers."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch


def environment() -> dict[str, object]:
    """Machine, threads, versions and the day, JSON-safe."""
    return {
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def save_environment(path: Path) -> None:
    """Write it as JSON."""
    path.write_text(f"{json.dumps(environment(), indent=2)}\n", encoding="utf-8")


def told(*packages: str, device: torch.device | None = None) -> str:
    """The machine in a line of text: what computes, threads, versions of these packages as well."""
    on_cuda = device is not None and device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_cuda else platform.machine()
    versions = "".join(f", {package} {version(package)}" for package in packages)
    return (
        f"{name}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}{versions}"
    )

"""Where and when something was measured, saved beside its numbers."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
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

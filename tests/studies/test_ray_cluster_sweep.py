from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def sweep(*options: str) -> str:
    command = [sys.executable, "-m", "studies.ray_cluster_sweep.sweep", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_a_short_sweep(tmp_path: Path) -> None:
    printed = sweep(
        "--address",
        "local",
        "--samples",
        "8",  # of the first six the gate may reject all
        "--epochs",
        "2",
        "--storage",
        str(tmp_path),
        "--optuna",
    )
    assert "8 trials, " in printed
    assert " never started, " in printed
    assert "best: 0." in printed

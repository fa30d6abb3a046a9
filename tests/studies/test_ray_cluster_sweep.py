from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def sweep(*options: str) -> str:
    command = [sys.executable, "-m", "studies.ray_cluster_sweep.sweep", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_short_sweep(tmp_path: Path) -> None:
    printed = sweep(
        "--address",
        "local",
        "--samples",
        "6",
        "--epochs",
        "2",
        "--storage",
        str(tmp_path),
        "--optuna",
    )
    assert "6 trials, " in printed
    assert " never started, " in printed
    # What is drawn depends on who ends first; now and then all of six are rejected.
    assert "best: 0." in printed or "6 never started, " in printed
